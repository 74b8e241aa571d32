package client_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/ampctl/client"
	"ampoule/tools/ampctl/planetest"
)

// server is an HTTPS server with a certificate of an authority, that is no plane.
func server(t *testing.T, ca *mgmttest.Pair, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"web"}}).TLS()}, ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// listener serves connections with f.
func listener(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return l.Addr().String()
}

// TestHostile: whatever answers, a client ends in time with an error that says what
// is wrong, and shows nothing of what it was to send.
func TestHostile(t *testing.T) {
	ca := mgmttest.Root(t, "management")
	me := ca.Issue(t, mgmttest.Spec{Name: "alice", Unit: "ampoule-operate", Client: true})
	answer := func(status int, body string) string {
		return server(t, ca, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://192.0.2.1/")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	closed := listener(t, func(net.Conn) {})
	for _, c := range []struct {
		what, address string
		class         client.Class
		code          string
	}{
		{"a web server", answer(200, "<html>"), client.Failed, "bad-answer"},
		{"a web server without the page", answer(404, "<html>"), client.Failed, "bad-answer"},
		{"one that leads elsewhere", answer(302, ""), client.Failed, "bad-answer"},
		{"an error without a code", answer(422, `{"error":"x"}`), client.Failed, "bad-answer"},
		{"an endless answer", server(t, ca, func(w http.ResponseWriter, _ *http.Request) {
			for _, err := w.Write(make([]byte, 1<<20)); err == nil; {
				_, err = w.Write(make([]byte, 1<<20))
			}
		}), client.Unreachable, "connection-failed"},
		{"no answer", server(t, ca, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then the server sees that the client is gone
			<-r.Context().Done()
		}), client.Unreachable, "timeout"},
		{"no handshake", closed, client.Unreachable, "timeout"},
		{"no TLS", listener(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.0 400 no\r\n\r\n"); c.Close() }), client.Untrusted, "not-tls"},
		{"a connection that ends at once", listener(t, func(c net.Conn) { c.Close() }), client.Unreachable, "connection-lost"},
		{"no such host", "nowhere.invalid:1", client.Unreachable, "no-such-host"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			x := client.New(client.Config{Address: c.address, ServerName: "web", Roots: mgmttest.Pool(ca), Certificate: me.TLS(), Timeout: 5 * time.Second})
			defer x.Close()
			_, err := x.Stage(t.Context(), client.Change{Entry: client.Entry{Kind: client.Certificates, Name: "dot"}, Data: me.Bundle(t)})
			e, ok := err.(*client.Error)
			if !ok || e.Class != c.class || e.Code != c.code || !strings.Contains(e.Error(), e.Code) {
				t.Errorf("%#v, want %d %s", err, c.class, c.code)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, err), "PRIVATE") {
				t.Errorf("the error has a private key: %v", err)
			}
		})
	}
}

// TestTLS12: nothing is said to a server that can't speak TLS 1.3.
func TestTLS12(t *testing.T) {
	ca := mgmttest.Root(t, "management")
	s := ca.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"web"}})
	address := listener(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{s.TLS()}, MaxVersion: tls.VersionTLS12}).Handshake()
		c.Close()
	})
	x := client.New(client.Config{Address: address, ServerName: "web", Roots: mgmttest.Pool(ca), Certificate: s.TLS(), Timeout: 5 * time.Second})
	defer x.Close()
	if e, ok := x.Health(t.Context()).(*client.Error); !ok || e.Class != client.Untrusted || e.Code != "tls-refused" {
		t.Errorf("%v", e)
	}
}

// TestOneConnection: a client makes one handshake for many requests, as planes
// ration them.
func TestOneConnection(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	me := f.Client(t, "alice", "ampoule-read")
	x := client.New(client.Config{Address: f.Planes[0].Addr, ServerName: "ns1.example.org", Roots: mgmttest.Pool(f.CA), Certificate: me.TLS(), Timeout: 5 * time.Second})
	defer x.Close()
	for range 20 {
		if _, err := x.Certificates(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	metrics, err := x.Metrics(t.Context())
	if err != nil || !strings.Contains(string(metrics), `ampoule_management_handshakes_total{outcome="done"} 1`+"\n") {
		t.Errorf("%v\n%s", err, metrics)
	}
}

// TestVerdict: why the plane refuses a client is told however often it is asked,
// though with TLS 1.3 that comes after the request was sent.
func TestVerdict(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	stranger := mgmttest.Root(t, "strangers").Issue(t, mgmttest.Spec{Name: "mallory", Client: true})
	old := f.CA.Issue(t, mgmttest.Spec{Name: "old", Client: true, Until: time.Now().Add(-time.Minute)})
	for range 20 {
		for code, who := range map[string]*mgmttest.Pair{"client-unknown-authority": stranger, "client-expired": old} {
			x := client.New(client.Config{Address: f.Planes[0].Addr, ServerName: "ns1.example.org", Roots: mgmttest.Pool(f.CA), Certificate: who.TLS(), Timeout: 5 * time.Second})
			_, err := x.Stage(t.Context(), client.Change{Entry: client.Entry{Kind: client.Certificates, Name: "dot"}, Data: make([]byte, 60000)})
			if e, ok := err.(*client.Error); !ok || e.Class != client.Untrusted || e.Code != code {
				t.Errorf("%v, want %s", err, code)
			}
			x.Close()
		}
	}
}

// TestChangeIsSilent: no form of printing shows the content of a change.
func TestChangeIsSilent(t *testing.T) {
	key := mgmttest.Root(t, "x").KeyPEM(t)
	block, _ := pem.Decode(key)
	c := client.Change{Entry: client.Entry{Kind: client.Certificates, Name: "dot"}, Data: key}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(form, c) + fmt.Sprintf(form, &c) + fmt.Sprintf(form, []client.Change{c})
		for _, secret := range []string{"PRIVATE", fmt.Sprintf("%x", key[30:40]), fmt.Sprint(key[30:34]), fmt.Sprintf("%x", block.Bytes[:8])} {
			if strings.Contains(text, strings.Trim(secret, "[]")) {
				t.Errorf("%s shows it: %s", form, text)
			}
		}
	}
}
