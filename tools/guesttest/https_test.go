package guesttest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/guesttest/web"
)

// secure is a booted HTTP appliance with HTTPS and a certificate, and its clients.
type secure struct {
	*web.Clients
	vm *vm.VM
}

// buildSecure builds the image and removes it at the end.
func buildSecure(c *web.Clients, name, sites, goamd64 string) (image string) {
	c.T.Helper()
	image = images.Configured(c.T, "http", name, c.Config("10.0.2.15", sites), goamd64)
	c.T.Cleanup(func() { os.Remove(image) })
	return image
}

// boot boots the image and gives it a certificate.
func (s *secure) boot(c vm.Config) {
	s.T.Helper()
	c.RNG = true
	s.vm = guest.Boot(s.T, c)
	if _, err := s.vm.WaitLine(s.T.Context(), regexp.MustCompile(` info serving `)); err != nil {
		s.T.Fatal(err)
	}
	s.Commit("example.org", "*.example.org")
}

// bootForwarded boots an image with the sites of its clients behind forwarded ports of this machine.
func bootForwarded(t *testing.T, name string, v guest.Variant) *secure {
	t.Helper()
	s := &secure{Clients: web.New(t)}
	image := buildSecure(s.Clients, name, s.Sites(), v.GOAMD64)
	var forwards []vm.Forward
	for _, port := range []int{80, 443, 9443} {
		forwards = append(forwards, vm.Forward{Proto: "tcp", Port: port})
	}
	s.Addr = func(port int) string { return s.vm.Addr("tcp", port) }
	s.boot(vm.Config{Image: image, Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: 32, Net: vm.Net{Kind: vm.NetUser, Forwards: forwards}})
	return s
}

// TestHTTPS has h2spec, curl, openssl and Go's clients ask one image over HTTPS, and
// compares what HTTP/1.1 and HTTP/2 answer.
func TestHTTPS(t *testing.T) {
	s := bootForwarded(t, "https", guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"})
	t.Run("h2spec", s.H2Spec)
	t.Run("versions", func(t *testing.T) {
		status := s.Versions(t, 800)
		for _, want := range []int{0, 200, 206, 301, 304, 307, 400, 404, 405, 412, 416, 501} {
			if status[want] == 0 {
				t.Errorf("no answer is %d", want)
			}
		}
	})
	t.Run("curl", s.Curls)
	t.Run("resumption", s.resumption)
	t.Run("rotation", s.rotation)
	t.Run("hosts", s.Hosts)
}

// resumption resumes sessions with openssl, and not after a rotation.
func (s *secure) resumption(t *testing.T) {
	session := filepath.Join(s.Dir, "session")
	ask := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_client", "-connect", s.Addr(443), "-servername", "example.org",
			"-CAfile", filepath.Join(s.Dir, "root.pem"), "-verify_return_error", "-alpn", "http/1.1", "-ign_eof"}, args...)...)
		cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "<title>Home") {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		if out := ask(version, "-sess_out", session); !strings.Contains(out, "New, TLSv1") {
			t.Errorf("%s: it is no new session", version)
		}
		if out := ask(version, "-sess_in", session); !strings.Contains(out, "Reused, TLSv1") {
			t.Errorf("%s: it is not resumed", version)
		}
	}
	s.Commit("example.org", "*.example.org")
	if out := ask("-tls1_3", "-sess_in", session); strings.Contains(out, "Reused, TLSv1") {
		t.Error("a session is resumed whose certificate was replaced")
	}
}

// rotation replaces the certificate while clients keep requesting, over connections
// that stay and over new ones; no request fails.
func (s *secure) rotation(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var serial atomic.Value
	client := func(two, keep bool) func() error {
		var protocols http.Protocols
		protocols.SetHTTP1(!two)
		protocols.SetHTTP2(two)
		tr := &http.Transport{Protocols: &protocols, DisableKeepAlives: !keep, TLSClientConfig: s.TLS()}
		c := &http.Client{Transport: tr, Timeout: 30 * time.Second}
		n := 0
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			n++
			return new(net.Dialer).DialContext(ctx, "tcp", s.Addr(443))
		}
		return func() error {
			defer tr.CloseIdleConnections()
			requests := 0
			for ; ctx.Err() == nil || requests < 5; requests++ {
				r, err := c.Get("https://example.org/docs/")
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if err != nil || r.StatusCode != 200 || r.ProtoMajor == 2 != two {
					return fmt.Errorf("%s %s: %w", r.Proto, r.Status, err)
				}
				if !keep {
					serial.Store(r.TLS.PeerCertificates[0].SerialNumber.String())
				}
			}
			if keep && n != 1 || !keep && n != requests {
				return fmt.Errorf("%d requests over %d connections", requests, n)
			}
			return nil
		}
	}
	ended := make(chan error, 4)
	for _, two := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			f := client(two, keep)
			go func() { ended <- f() }()
		}
	}
	for range 3 {
		want := s.Commit("example.org", "*.example.org")
		for end := time.Now().Add(30 * time.Second); serial.Load() != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no new connection has the new certificate; the last had %v", serial.Load())
			}
		}
	}
	stop()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
