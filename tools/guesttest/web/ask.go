package web

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/httpdiff"
)

// Versions puts as many requests to the image over both versions of HTTP, fails where
// the answers are not the same, and returns how many answers had each status; 0 is a
// reset of HTTP/2.
func (c *Clients) Versions(t *testing.T, requests int) (status map[int]int) {
	t.Helper()
	one, two := httpdiff.NewDialClient(c.Dial("http/1.1")), httpdiff.NewClient2(c.Dial("h2"))
	defer one.Close()
	defer two.Close()
	status, different, err := httpdiff.Versions(one, two, httpdiff.NewGenerator(5), requests)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests: %v", requests, status)
	for _, d := range different[:min(10, len(different))] {
		t.Error(d)
	}
	return status
}

// Curls has curl ask for the site of httpdiff over both versions of HTTP and of TLS, and
// over plain HTTP, which is redirected.
func (c *Clients) Curls(t *testing.T) {
	const hsts = "strict-transport-security: max-age=31536000\r\n"
	for _, ask := range []struct {
		want []string
		args []string
	}{
		{[]string{"HTTP/2 200", hsts, "content-encoding: br\r\n", "<title>Home"}, []string{"--http2", "--compressed", "https://example.org/"}},
		{[]string{"HTTP/1.1 200 OK", "<title>Home"}, []string{"--http1.1", "--tls-max", "1.2", "https://www.example.org/"}},
		{[]string{"HTTP/2 200", "<title>Home"}, []string{"--http2", "--tls-max", "1.2", "https://example.org/"}},
		{[]string{"HTTP/2 206", "content-range: bytes 0-4/"}, []string{"--http2", "-r", "0-4", "https://example.org/docs/"}},
		{[]string{"HTTP/2 405", "allow: GET, HEAD, OPTIONS"}, []string{"--http2", "-d", "@" + filepath.Join(c.Dir, "root.pem"), "https://example.org/"}},
		{[]string{"HTTP/2 405"}, []string{"--http2", "-T", c.Write("long", make([]byte, 300<<10)), "https://example.org/index.html"}},
		{[]string{"HTTP/2 421", hsts}, []string{"--http2", "-H", "Host: example.com", "https://example.org/"}},
		{[]string{"HTTP/1.1 421"}, []string{"--http1.1", "-H", "Host: example.com", "https://example.org/"}},
		{[]string{"HTTP/2 200"}, []string{"--http2", "-H", "Host: other.example.org", "https://example.org/"}},
		{[]string{"HTTP/2 431"}, []string{"--http2", "-H", "X: " + strings.Repeat("x", 9000), "https://example.org/"}},
	} {
		out, err := c.Curl(append([]string{"-D", "-"}, ask.args...)...)
		for _, want := range ask.want {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("curl %.80v: %v, want %q:\n%.2000s", ask.args, err, want, out)
			}
		}
	}
	for target, want := range map[string]string{
		"/docs/%C3%A9?a=b&c": "301 https://example.org/docs/%C3%A9?a=b&c", "/": "301 https://example.org/", "//x/../y?": "301 https://example.org//x/../y?",
	} {
		out, err := c.Command("curl", "-sS", "--max-time", "60", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code} %header{location}", "--connect-to", "::"+c.Addr(80), "http://example.org:8080"+target)
		if err != nil || out != want {
			t.Errorf("plain %s: %v, %s, want %s", target, err, out, want)
		}
	}
	out, err := c.Command("curl", "-sS", "--max-time", "60", "-D", "-", "-X", "POST", "--connect-to", "::"+c.Addr(80), "http://example.org/x")
	if err != nil || !strings.HasPrefix(out, "HTTP/1.1 308 ") || strings.Contains(strings.ToLower(out), "strict-transport") {
		t.Errorf("plain POST: %v\n%s", err, out)
	}
	if out, err := c.Curl("-k", "--http2", "https://example.org/", "https://example.org/about.html", "https://example.org/nowhere", "-Z"); err != nil || strings.Count(out, "</p>") != 3 {
		t.Errorf("three at once: %v\n%s", err, out)
	}
}

// Hosts has each of the sites of Sites answer for its names, the second with a
// certificate of its own.
func (c *Clients) Hosts(t *testing.T) {
	own := c.CommitSlot("page", PageHost)
	for host, title := range map[string]string{"example.org": "<title>Home", "www.example.org": "<title>Home", PageHost: "<title>Page"} {
		out, err := c.Curl("https://" + host + "/")
		if err != nil || !strings.Contains(out, title) {
			t.Errorf("%s: %v\n%.500s", host, err, out)
		}
		config := c.TLS("h2")
		config.ServerName = host
		conn, err := tls.Dial("tcp", c.Addr(443), config)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0]; got.Equal(own) != (host == PageHost) {
			t.Errorf("%s has the certificate for %q", host, got.DNSNames)
		}
		conn.Close()
		out, err = c.Command("curl", "-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%header{location}", "--connect-to", "::"+c.Addr(80), "http://"+host+"/x?y")
		if err != nil || out != "https://"+host+"/x?y" {
			t.Errorf("plain %s: %v, %s", host, err, out)
		}
	}
	config := c.TLS("h2")
	config.ServerName = "example.com"
	if _, err := tls.Dial("tcp", c.Addr(443), config); err == nil || !strings.HasSuffix(err.Error(), "unrecognized name") {
		t.Errorf("a name without a certificate: %v", err)
	}
}
