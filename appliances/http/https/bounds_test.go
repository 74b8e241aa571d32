package https

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/http/httpd"
	"ampoule/libos/config/site"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/telemetry/metrics"
)

// TestRedirect sends plain requests to HTTPS, wherever that is.
func TestRedirect(t *testing.T) {
	for _, port := range []uint16{443, 8443} {
		r := start(t, func(c *httpd.Config, s *Config) { s.Port, c.Redirect, s.HSTS = port, port, "max-age=1" })
		at := map[uint16]string{443: "", 8443: ":8443"}[port]
		for _, q := range []struct {
			method, target, host string
			status               int
			location             string
		}{
			{"GET", "/", "example.org", 301, "https://example.org" + at + "/"},
			{"HEAD", "/a%20b?c=d&e?", "example.org:80", 301, "https://example.org" + at + "/a%20b?c=d&e?"},
			{"GET", "/x?", "WWW.example.org", 301, "https://WWW.example.org" + at + "/x?"},
			{"GET", "//evil.example/..", "a.example.net", 301, "https://a.example.net" + at + "//evil.example/.."},
			{"POST", "/", "example.org", 308, "https://example.org" + at + "/"},
			{"GET", "http://a.example.net/x", "example.org", 301, "https://a.example.net" + at + "/x"},
			{"GET", "/", "evil.example", 421, ""},
			{"HEAD", "/", "evil.example", 421, ""},
			{"GET", "/", "", 400, ""},
			{"GET", "/", "a b", 400, ""},
			{"OPTIONS", "*", "example.org", 204, ""},
		} {
			c, err := net.Dial("tcp", r.at[":80"])
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, q.method+" "+q.target+" HTTP/1.1\r\nHost: "+q.host+"\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: q.method})
			if err != nil {
				t.Fatalf("%v: %v", q, err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != q.status || resp.Header.Get("Location") != q.location || resp.Header.Get("Strict-Transport-Security") != "" || err != nil {
				t.Errorf("%v: %d %v, %v", q, resp.StatusCode, resp.Header, err)
			}
			c.Close()
		}
	}
}

// TestRedirectOthers sends requests for names that no site has to the first one's.
func TestRedirectOthers(t *testing.T) {
	for _, names := range [][]string{{"example.org"}, nil} {
		want := "https://evil.example/x"
		if names != nil {
			want = "https://example.org/x"
		}
		table, err := site.Compile(&site.Site{Hosts: []site.Host{{Names: names}}})
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, func(c *httpd.Config, _ *Config) {
			c.Site, c.Names, c.Redirect = table, append(names[:len(names):len(names)], "*")[:1], 443
		})
		c := r.client(false)
		if resp, _ := ask(t, c, "GET", "http://evil.example/x"); resp.Header.Get("Location") != want {
			t.Errorf("%v: %q", names, resp.Header.Get("Location"))
		}
	}
}

// TestMisdirected asks over a connection for names that it is good for, and for others.
// The connection goes on behind a refusal, so its end is where it is said to be.
func TestMisdirected(t *testing.T) {
	r := start(t, nil)
	r.commit("other", "other.example")
	for _, two := range []bool{false, true} {
		c := r.client(two)
		for host, status := range map[string]int{"example.org": 200, "example.org:8443": 200, "EXAMPLE.org.": 200, "a.example.net": 200, "other.example": 421, "a.b.example.net": 421, "127.0.0.1": 421} {
			for _, method := range []string{"HEAD", "GET"} {
				if resp, _ := ask(t, c, method, "https://example.org/", "Host", host); resp.StatusCode != status {
					t.Errorf("HTTP/%d: %s %s: %d, want %d", resp.ProtoMajor, method, host, resp.StatusCode, status)
				}
			}
		}
	}
	if n := r.metric(`ampoule_https_handshakes_total{result="made"}`); n != "2" {
		t.Errorf("%s handshakes", n)
	}
}

// TestNoHost asks as clients of HTTP/1.0 do.
func TestNoHost(t *testing.T) {
	one, err := site.Compile(&site.Site{Hosts: []site.Host{{}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := start(t, func(c *httpd.Config, _ *Config) { c.Site = one }).dialTLS("http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, " 404 ") {
		t.Errorf("%q, %v", line, err)
	}
}

// metric is the value of one of the listener's.
func (r *rig) metric(name string) string {
	r.t.Helper()
	var w metrics.Writer
	r.listener.collect(&w)
	_, after, ok := strings.Cut(string(w.Bytes()), "\n"+name+" ")
	value, _, _ := strings.Cut(after, "\n")
	if !ok {
		r.t.Errorf("no metric %s in %s", name, w.Bytes())
	}
	return value
}

// dialTLS connects and makes the handshake.
func (r *rig) dialTLS(protocols ...string) (*tls.Conn, error) {
	return tls.Dial("tcp", r.at[":443"], &tls.Config{RootCAs: mgmttest.Pool(r.root), ServerName: "example.org", NextProtos: protocols})
}

// TestBounds has more connections than may be, more handshakes in a second, one that
// is not made in time, and protocols that are not spoken.
func TestBounds(t *testing.T) {
	r := start(t, func(_ *httpd.Config, c *Config) { c.Connections, c.Handshake = 3, time.Second })
	var first *tls.Conn
	for i := range 4 {
		c, err := r.dialTLS("http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		// An answer says that the connection has its place: the handshake was over
		// earlier for the client, and the order of places is what is tested.
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("connection %d: %v, %v", i, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		if i == 0 {
			first = c
		}
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the first connection is still there")
	}
	if n := r.metric("ampoule_https_ended_total"); n != "1" {
		t.Errorf("%s were ended", n)
	}
	silent, err := net.Dial("tcp", r.at[":443"])
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a silent client: %v", err)
	}
	if _, err := r.dialTLS("spdy/3"); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("another protocol: %v", err)
	}
	r = start(t, func(_ *httpd.Config, c *Config) { c.Handshakes = 2 })
	refused := 0
	for began := time.Now(); refused == 0 && time.Since(began) < 20*time.Second; {
		for range 5 {
			if c, err := r.dialTLS("http/1.1"); err != nil {
				refused++
			} else {
				c.Close()
			}
		}
	}
	if n := r.metric(`ampoule_https_handshakes_total{result="refused"}`); refused == 0 || n == "0" {
		t.Errorf("%d were refused, the metrics say %s", refused, n)
	}
}

// TestOneVersion serves without HTTP/2, and TestServe with.
func TestOneVersion(t *testing.T) {
	r := start(t, func(_ *httpd.Config, c *Config) { c.HTTP2 = nil })
	c, err := r.dialTLS("h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("the protocol is %q", p)
	}
}

// TestNoCertificate says that the appliance is not ready.
func TestNoCertificate(t *testing.T) {
	r := start(t, nil)
	if m := r.listener.missing(); m != "" {
		t.Errorf("with a certificate: %s", m)
	}
	if _, err := httpd.New(httpd.Config{Site: sites(t), Secure: &Config{}})(r.env(nil)); err == nil {
		t.Error("it starts without a management plane")
	}
}
