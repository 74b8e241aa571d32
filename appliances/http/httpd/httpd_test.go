package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/config/site"
	"ampoule/libos/netif"
	"ampoule/libos/netif/netiftest"
)

var large = strings.Repeat("a sealed site ", 20000)

func table(t *testing.T) site.Table {
	t.Helper()
	one := func(path, body string) site.Resource {
		return site.Resource{Path: path, Status: 200, Type: "text/plain", Variants: []site.Variant{{Coding: site.Identity, Tag: "t", Body: body}}}
	}
	table, err := site.Compile(&site.Site{Hosts: []site.Host{{Names: []string{"example.org"}, Resources: []site.Resource{
		one("/", "hello"), one("/large", large), {Path: "/dir", Status: 301, Location: "/dir/", KeepQuery: true},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// start starts the appliance on one of two machines, and returns how the other dials
// it.
func start(t *testing.T, cfg Config) func() net.Conn {
	t.Helper()
	return startWith(t, cfg, &appliance.Env{})
}

// startWith starts it with what env has beside the network and the clock.
func startWith(t *testing.T, cfg Config, env *appliance.Env) func() net.Conn {
	t.Helper()
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	stack := func(dev *netiftest.Device, addr string) *netif.Stack {
		s, err := netif.New(dev, netif.Config{IPv4: netip.MustParsePrefix(addr)}, netif.Options{Limits: netif.DefaultLimits(32 << 20), Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	client, host := stack(da, "10.0.2.2/24"), stack(db, "10.0.2.15/24")
	env.Net, env.Now = host, time.Now
	a, err := New(cfg)(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not end")
		}
		client.Close()
		host.Close()
		da.Check(t)
		db.Check(t)
	})
	return func() net.Conn {
		c, err := client.DialContext(ctx, "tcp", "10.0.2.15:80")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(60 * time.Second))
		return c
	}
}

func config(t *testing.T) Config {
	return Config{Port: 80, Site: table(t), Idle: 20 * time.Second, Read: 20 * time.Second, Write: 20 * time.Second}
}

// TestServe asks with Go's client: connections are kept, bodies of any size arrive.
func TestServe(t *testing.T) {
	dial := start(t, config(t))
	dials := 0
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials++
		return dial(), nil
	}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path, field, value string
		status             int
		body               string
	}{
		{"/", "", "", 200, "hello"}, {"/large", "", "", 200, large}, {"/large", "Range", "bytes=5-70000", 206, large[5:70001]},
		{"/", "If-None-Match", `"t"`, 304, ""}, {"/dir?x=y", "", "", 301, ""},
	} {
		req, err := http.NewRequest("GET", "http://example.org"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.field != "" {
			req.Header.Set(c.field, c.value)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(c.path, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || string(body) != c.body || resp.Header.Get("Date") == "" {
			t.Errorf("%s: %d with %d bytes, %v", c.path, resp.StatusCode, len(body), err)
		}
		if to := resp.Header.Get("Location"); c.status == 301 && to != "/dir/?x=y" {
			t.Errorf("%s: to %q", c.path, to)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections, want one", dials)
	}
}

// TestRequests has what is sent over one connection, and the statuses that come back
// before the server ends it; a final "..." says that it does not.
func TestRequests(t *testing.T) {
	dial := start(t, config(t))
	const get, host = "GET / HTTP/1.1\r\n", "Host: example.org\r\n"
	for name, c := range map[string]struct {
		send string
		want string
	}{
		"pipelined":   {strings.Repeat(get+host+"\r\n", 40), strings.Repeat("200 ", 40) + "..."},
		"close":       {get + host + "Connection: close\r\n\r\n" + get + host + "\r\n", "200 "},
		"1.0":         {"GET / HTTP/1.0\r\n\r\n", "200 "},
		"no host":     {get + "\r\n", "400 "},
		"two hosts":   {get + host + host + "\r\n", "400 "},
		"bad method":  {"BREW / HTTP/1.1\r\n" + host + "\r\n", "501 ..."},
		"version":     {"GET / HTTP/2.0\r\n" + host + "\r\n", "505 "},
		"long target": {"GET /" + strings.Repeat("x", 3000) + " HTTP/1.1\r\n" + host + "\r\n", "414 "},
		"long head":   {get + host + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", "431 "},
		"many fields": {get + host + strings.Repeat("X: y\r\n", 70) + "\r\n", "431 "},
		"smuggled":    {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get + host + "\r\n", "400 "},
		"two lengths": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", "400 "},
		"body":        {"GET / HTTP/1.1\r\n" + host + "Content-Length: 40\r\n\r\nGET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "200 "},
		"expect":      {"POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 40\r\n\r\n", "405 "},
		"line feeds":  {"GET / HTTP/1.1\nHost: example.org\n\n", "400 "},
		"folded":      {get + host + "X: y\r\n z\r\n\r\n", "400 "},
		"traversal":   {"GET /../../etc/passwd HTTP/1.1\r\n" + host + "\r\n" + "GET /x/../ HTTP/1.1\r\n" + host + "\r\n", "400 200 ..."},
		"absolute":    {"GET http://example.org HTTP/1.1\r\n" + host + "\r\n", "200 ..."},
		"large":       {strings.Repeat("GET /large HTTP/1.1\r\n"+host+"\r\n", 3) + "HEAD /large HTTP/1.1\r\n" + host + "\r\n", "200 200 200 200 ..."},
	} {
		if got := talk(t, dial(), c.send); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// talk sends and returns the statuses, and "..." if the connection is still there
// behind as many requests as there are.
func talk(t *testing.T, c net.Conn, send string) string {
	t.Helper()
	defer c.Close()
	go io.WriteString(c, send)
	in := bufio.NewReader(c)
	var got strings.Builder
	for range strings.Count(send, " HTTP/") {
		method := "GET"
		if strings.Contains(send, "HEAD") && got.Len() == len("200 200 200 ") {
			method = "HEAD"
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return got.String()
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&got, "%d ", resp.StatusCode)
		if resp.Close {
			if rest, _ := io.ReadAll(in); len(rest) > 0 {
				t.Errorf("%q behind the last response", rest)
			}
			return got.String()
		}
	}
	return got.String() + "..."
}

// TestSlow has clients that take their time: they get 408 when a request has begun,
// and nothing when none has.
func TestSlow(t *testing.T) {
	cfg := config(t)
	cfg.Idle, cfg.Read = time.Second, time.Second
	dial := start(t, cfg)
	for send, want := range map[string]string{"": "", "GET / HT": "HTTP/1.1 408 Request Timeout\r\n"} {
		c := dial()
		io.WriteString(c, send)
		got, err := io.ReadAll(c)
		if err != nil || !bytes.HasPrefix(got, []byte(want)) || want == "" && len(got) > 0 {
			t.Errorf("%q: %q, %v", send, got, err)
		}
		c.Close()
	}
	// A head that comes octet by octet has its time as a whole.
	c := dial()
	defer c.Close()
	began := time.Now()
	for i := range 200 {
		if _, err := io.WriteString(c, string("GET / HTTP/1.1\r\nX: "[min(i, 18)])); err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
		if time.Since(began) > 8*time.Second {
			t.Fatal("it is still waited for")
		}
	}
}

// TestNoSite has the appliance not start without one.
func TestNoSite(t *testing.T) {
	if _, err := New(Config{Port: 80})(&appliance.Env{}); err == nil {
		t.Error("it starts")
	}
}

// TestHalfClose has clients that end their half with the last request, and get all
// responses at once.
func TestHalfClose(t *testing.T) {
	dial := start(t, config(t))
	for range 20 {
		c := dial()
		io.WriteString(c, strings.Repeat("GET /large HTTP/1.1\r\nHost: example.org\r\n\r\n", 3))
		c.(interface{ CloseWrite() error }).CloseWrite()
		began := time.Now()
		all, err := io.ReadAll(c)
		if err != nil || len(all) < 3*len(large) || strings.Count(string(all), "HTTP/1.1 200 OK\r\n") != 3 {
			t.Fatalf("%d bytes, %v", len(all), err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		c.Close()
	}
}

// TestStalled has a client that does not read: others are served, it is reset in time,
// and the responses that it did read were whole.
func TestStalled(t *testing.T) {
	cfg := config(t)
	cfg.Write = time.Second
	dial := start(t, cfg)
	c := dial()
	defer c.Close()
	io.WriteString(c, strings.Repeat("GET /large HTTP/1.1\r\nHost: example.org\r\n\r\n", 20))
	if got := talk(t, dial(), "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"); got != "200 ..." {
		t.Errorf("another client gets %q", got)
	}
	time.Sleep(4 * time.Second)
	if n, err := io.Copy(io.Discard, c); err == nil || n > int64(10*len(large)) {
		t.Errorf("%d bytes came, %v", n, err)
	}
	// One that reads slowly, but within its time, gets all.
	c = dial()
	defer c.Close()
	io.WriteString(c, "GET /large HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
	got := 0
	for b := make([]byte, 16<<10); ; time.Sleep(20 * time.Millisecond) {
		n, err := c.Read(b)
		if got += n; err != nil {
			if err != io.EOF || got < len(large) {
				t.Errorf("%d bytes came, %v", got, err)
			}
			break
		}
	}
}
