package guesttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/httpdiff"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

// secureTOML is an image with HTTPS. %[1]s is the folder of the authority, %[2]s the
// sites.
const secureTOML = `hostname = "www1"
[network]
ipv4 = "10.0.2.15/24"
gateway4 = "10.0.2.2"
[management]
client_ca = "%[1]s/ca.pem"
handshakes = 100
[https]
hsts = "8760h"
[http]
%[2]s
`

// secure is a booted HTTP appliance with HTTPS and a certificate, and what its clients
// need.
type secure struct {
	*vm.VM
	t    *testing.T
	dir  string
	root *mgmttest.Pair // of the sites' certificates
	addr func(port int) string
	run  func(cmd *exec.Cmd) error // starts a client
	at   int                       // generation
	leaf *x509.Certificate         // of it
}

// newSecure writes what clients need, builds the image and removes it at the end.
// Without sites, it is the page of TestChromium.
func newSecure(t *testing.T, name, sites, goamd64 string) (s *secure, image string) {
	t.Helper()
	s = &secure{t: t, dir: t.TempDir(), root: mgmttest.Root(t, "sites")}
	clients := mgmttest.Root(t, "clients")
	s.write("ca.pem", clients.Cert())
	s.write("root.pem", s.root.Cert())
	s.write("operate.pem", clients.Issue(t, mgmttest.Spec{Name: "operate", Unit: "ampoule-operate", Client: true}).Bundle(t, clients))
	if sites == "" {
		s.page()
		sites = fmt.Sprintf("[[http.sites]]\nfolder = %q\n", filepath.Join(s.dir, "site"))
	}
	image = images.Configured(t, "http", name, fmt.Sprintf(secureTOML, s.dir, sites), goamd64)
	t.Cleanup(func() { os.Remove(image) })
	return s, image
}

func (s *secure) write(name string, data []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// boot boots the image and gives it a certificate.
func (s *secure) boot(c vm.Config) {
	s.t.Helper()
	c.RNG = true
	s.VM = guest.Boot(s.t, c)
	if _, err := s.WaitLine(s.t.Context(), regexp.MustCompile(` info serving `)); err != nil {
		s.t.Fatal(err)
	}
	s.commit("example.org", "*.example.org")
}

// commit has the management plane use a new certificate, and returns its serial number.
func (s *secure) commit(hosts ...string) string {
	s.t.Helper()
	c := s.root.Issue(s.t, mgmttest.Spec{Name: hosts[0], Hosts: hosts})
	bundle := s.write("bundle.pem", c.Bundle(s.t, s.root))
	base := "https://" + s.addr(9443)
	for _, args := range [][]string{
		{"-T", bundle, base + "/v1/staged/certificates/web"},
		{"-X", "POST", "-H", fmt.Sprintf("If-Match: %q", strconv.Itoa(s.at)), base + "/v1/staged/commit"},
	} {
		if out, err := s.command("curl", append([]string{"-sSk", "--fail", "--max-time", "60", "--cert", filepath.Join(s.dir, "operate.pem")}, args...)...); err != nil {
			s.t.Fatalf("commit: %v\n%s", err, out)
		}
	}
	s.at++
	s.leaf = c.X
	return c.X.SerialNumber.String()
}

// command runs a client and returns all that it prints.
func (s *secure) command(name string, args ...string) (string, error) {
	s.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		s.t.Fatalf("%s is not installed: run make setup", name)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	if err := s.run(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.String(), err
}

// curl asks the appliance for URLs of its names.
func (s *secure) curl(args ...string) (string, error) {
	s.t.Helper()
	all := []string{"-sS", "--max-time", "60", "--cacert", filepath.Join(s.dir, "root.pem"), "--connect-to", "::" + s.addr(443)}
	return s.command("curl", append(all, args...)...)
}

// tls is how Go's clients are to speak TLS.
func (s *secure) tls(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: mgmttest.Pool(s.root), ServerName: "example.org", NextProtos: protocols}
}

// dial connects and makes the handshake.
func (s *secure) dial(protocol string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return tls.Dial("tcp", s.addr(443), s.tls(protocol)) }
}

// bootForwarded boots an image behind forwarded ports of this machine.
func bootForwarded(t *testing.T, name, sites string, v guest.Variant) *secure {
	t.Helper()
	s, image := newSecure(t, name, sites, v.GOAMD64)
	s.run = (*exec.Cmd).Start
	var forwards []vm.Forward
	for _, port := range []int{80, 443, 9443} {
		forwards = append(forwards, vm.Forward{Proto: "tcp", Port: port})
	}
	s.addr = func(port int) string { return s.Addr("tcp", port) }
	s.boot(vm.Config{Image: image, Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: 32, Net: vm.Net{Kind: vm.NetUser, Forwards: forwards}})
	return s
}

// TestHTTPS has h2spec, curl, openssl and Go's clients ask one image over HTTPS, and
// compares what HTTP/1.1 and HTTP/2 answer.
func TestHTTPS(t *testing.T) {
	folder := t.TempDir()
	if _, err := httpdiff.MakeSite(folder); err != nil {
		t.Fatal(err)
	}
	s := bootForwarded(t, "https", fmt.Sprintf(httpdiff.Config, folder), guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"})
	t.Run("h2spec", s.h2spec)
	t.Run("versions", s.versions)
	t.Run("curl", s.curls)
	t.Run("resumption", s.resumption)
	t.Run("rotation", s.rotation)
}

// h2spec runs all of its tests, those that go beyond what a server must do included.
func (s *secure) h2spec(t *testing.T) {
	host, port, err := net.SplitHostPort(s.addr(443))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "h2spec.xml")
	ok, err := h2spec.Run(&config.Config{Host: host, Port: number, Path: "/", Timeout: 10 * time.Second, MaxHeaderLen: 4000,
		JUnitReport: file, Strict: true, TLS: true, Insecure: true})
	if err != nil || !ok {
		t.Errorf("h2spec: %t, %v", ok, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Suites []struct {
			Tests   int `xml:"tests,attr"`
			Skipped int `xml:"skipped,attr"`
			Cases   []struct {
				Class   string `xml:"classname,attr"`
				Failure string `xml:"failure"`
				Error   string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	tests := 0
	for _, suite := range report.Suites {
		tests += suite.Tests - suite.Skipped
		for _, c := range suite.Cases {
			if c.Failure != "" || c.Error != "" {
				t.Errorf("%s: %s%s", c.Class, c.Failure, c.Error)
			}
		}
	}
	if tests != 146 {
		t.Errorf("h2spec has run %d tests, want 146", tests)
	}
}

// versions compares the answers over both versions of HTTP.
func (s *secure) versions(t *testing.T) {
	one, two := httpdiff.NewDialClient(s.dial("http/1.1")), httpdiff.NewClient2(s.dial("h2"))
	defer one.Close()
	defer two.Close()
	const requests = 800
	status, different, err := httpdiff.Versions(one, two, httpdiff.NewGenerator(5), requests)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests: %v", requests, status)
	for _, d := range different[:min(10, len(different))] {
		t.Error(d)
	}
	for _, want := range []int{0, 200, 206, 301, 304, 307, 400, 404, 405, 412, 416, 501} {
		if status[want] == 0 {
			t.Errorf("no answer is %d", want)
		}
	}
}

func (s *secure) curls(t *testing.T) {
	const hsts = "strict-transport-security: max-age=31536000\r\n"
	for _, c := range []struct {
		want []string
		args []string
	}{
		{[]string{"HTTP/2 200", hsts, "content-encoding: br\r\n", "<title>Home"}, []string{"--http2", "--compressed", "https://example.org/"}},
		{[]string{"HTTP/1.1 200 OK", "<title>Home"}, []string{"--http1.1", "--tls-max", "1.2", "https://www.example.org/"}},
		{[]string{"HTTP/2 200", "<title>Home"}, []string{"--http2", "--tls-max", "1.2", "https://example.org/"}},
		{[]string{"HTTP/2 206", "content-range: bytes 0-4/"}, []string{"--http2", "-r", "0-4", "https://example.org/docs/"}},
		{[]string{"HTTP/2 405", "allow: GET, HEAD, OPTIONS"}, []string{"--http2", "-d", "@" + filepath.Join(s.dir, "root.pem"), "https://example.org/"}},
		{[]string{"HTTP/2 405"}, []string{"--http2", "-T", s.write("long", make([]byte, 300<<10)), "https://example.org/index.html"}},
		{[]string{"HTTP/2 421", hsts}, []string{"--http2", "-H", "Host: example.com", "https://example.org/"}},
		{[]string{"HTTP/1.1 421"}, []string{"--http1.1", "-H", "Host: example.com", "https://example.org/"}},
		{[]string{"HTTP/2 200"}, []string{"--http2", "-H", "Host: other.example.org", "https://example.org/"}},
		{[]string{"HTTP/2 431"}, []string{"--http2", "-H", "X: " + strings.Repeat("x", 9000), "https://example.org/"}},
	} {
		out, err := s.curl(append([]string{"-D", "-"}, c.args...)...)
		for _, want := range c.want {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("curl %.80v: %v, want %q:\n%.2000s", c.args, err, want, out)
			}
		}
	}
	for target, want := range map[string]string{
		"/docs/%C3%A9?a=b&c": "301 https://example.org/docs/%C3%A9?a=b&c", "/": "301 https://example.org/", "//x/../y?": "301 https://example.org//x/../y?",
	} {
		out, err := s.command("curl", "-sS", "--max-time", "60", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code} %header{location}", "--connect-to", "::"+s.addr(80), "http://example.org:8080"+target)
		if err != nil || out != want {
			t.Errorf("plain %s: %v, %s, want %s", target, err, out, want)
		}
	}
	out, err := s.command("curl", "-sS", "--max-time", "60", "-D", "-", "-X", "POST", "--connect-to", "::"+s.addr(80), "http://example.org/x")
	if err != nil || !strings.HasPrefix(out, "HTTP/1.1 308 ") || strings.Contains(strings.ToLower(out), "strict-transport") {
		t.Errorf("plain POST: %v\n%s", err, out)
	}
	if out, err := s.curl("-k", "--http2", "https://example.org/", "https://example.org/about.html", "https://example.org/nowhere", "-Z"); err != nil || strings.Count(out, "</p>") != 3 {
		t.Errorf("three at once: %v\n%s", err, out)
	}
}

// resumption resumes sessions with openssl, and not after a rotation.
func (s *secure) resumption(t *testing.T) {
	session := filepath.Join(s.dir, "session")
	ask := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_client", "-connect", s.addr(443), "-servername", "example.org",
			"-CAfile", filepath.Join(s.dir, "root.pem"), "-verify_return_error", "-alpn", "http/1.1", "-ign_eof"}, args...)...)
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
	s.commit("example.org", "*.example.org")
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
		tr := &http.Transport{Protocols: &protocols, DisableKeepAlives: !keep, TLSClientConfig: s.tls()}
		c := &http.Client{Transport: tr, Timeout: 30 * time.Second}
		n := 0
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			n++
			return new(net.Dialer).DialContext(ctx, "tcp", s.addr(443))
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
		want := s.commit("example.org", "*.example.org")
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
