package load

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestHTTP: the body that is wanted is no error, anything else is.
func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Write([]byte("content"))
	}))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")
	if _, err := Probe(t.Context(), dial, addr, HTTP("/", []byte("content")), 10*time.Millisecond); err != nil {
		t.Error(err)
	}
	for what, service := range map[string]Service{"status": HTTP("/none", []byte("content")), "body": HTTP("/", []byte("another"))} {
		if err := (Streams{Requests: 2, Clients: 1}).Run(t.Context(), dial, addr, service); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
