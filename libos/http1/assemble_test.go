package http1

import (
	"bytes"
	"strings"
	"testing"
)

// TestAssemble puts requests together whose heads Parse takes, or refuses, and wants
// the same.
func TestAssemble(t *testing.T) {
	heads := []string{
		head("GET /a/b?c=d?e HTTP/1.1", "hOsT: a:8080", "X: y"),
		head("OPTIONS * HTTP/1.1", "Host: [2001:db8::1]:443"),
		head("GET http://b.example:80/x HTTP/1.1", "Host: a"),
		head("PUT /x HTTP/1.1", "Host: a", "Content-Length: 12", "Expect: 100-Continue"),
		head("GET / HTTP/1.1", "Host:"),
		head("GET / HTTP/1.1"),
		head("GET / HTTP/1.1", "Host: a b"),
		head("GET / HTTP/1.1", "Host: a", "Host: a"),
		head("GET /\" HTTP/1.1", "Host: a"),
		head("GET x HTTP/1.1", "Host: a"),
		head("GET * HTTP/1.1", "Host: a"),
		head("CONNECT a:1 HTTP/1.1", "Host: a"),
		head("GET /"+strings.Repeat("x", maxTarget)+" HTTP/1.1", "Host: a"),
		head(strings.Repeat("M", 33)+" / HTTP/1.1", "Host: a"),
		head("G(T / HTTP/1.1", "Host: a"),
		head("GET / HTTP/1.1", "Host: a", "X Y: z"),
		head("GET / HTTP/1.1", "Host: a", "X: \x01"),
		head("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 1"),
		head("GET / HTTP/1.1", "Host: a", "Expect: much"),
		head(append([]string{"GET / HTTP/1.1", "Host: a"}, strings.Split(strings.Repeat("X: y,", MaxFields), ",")[:MaxFields]...)...),
	}
	for _, h := range heads {
		var want, got Request
		_, wantErr := want.Parse([]byte(h))
		if err := assemble(&got, h); err != wantErr {
			t.Errorf("%q: %v, want %v", h, err, wantErr)
			continue
		}
		if wantErr != nil {
			continue
		}
		for _, p := range [][2][]byte{{got.Method, want.Method}, {got.Path, want.Path}, {got.Query, want.Query}, {got.Host, want.Host}} {
			if !bytes.Equal(p[0], p[1]) {
				t.Errorf("%q: %q, want %q", h, p[0], p[1])
			}
		}
		if got.Length != want.Length || got.Expect != want.Expect || got.Close || len(got.Fields()) != len(want.Fields()) {
			t.Errorf("%q: %+v", h, got)
		}
	}
	var r Request
	if err := r.Begin([]byte("GET"), nil); err != ErrTarget {
		t.Errorf("no target: %v", err)
	}
	if err := r.Begin([]byte("GET"), []byte("/")); err != nil || r.Add([]byte("x"), []byte(" y")) != ErrField {
		t.Errorf("a blank before a value: %v", err)
	}
}

// assemble takes a head apart without looking at it, and has it put together again.
func assemble(r *Request, head string) error {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	if err := r.Begin([]byte(method), []byte(strings.TrimSuffix(rest, " HTTP/1.1"))); err != nil {
		return err
	}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		if err := r.Add([]byte(name), []byte(strings.Trim(value, " "))); err != nil {
			return err
		}
	}
	return r.End()
}
