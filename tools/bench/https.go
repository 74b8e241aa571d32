package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/tools/ampctl/keys"
	"ampoule/tools/bench/peer"
)

// httpsApp is the image with HTTPS among those of a bench.
const httpsApp = "https"

// httpsPoint is what a client of HTTPS does.
type httpsPoint struct {
	point string // for -prof
	name  string
	n     int
	do    func(*httpsClient, context.Context) error
}

// httpsPoints are what is measured of HTTPS: each is done n times in a run, one after the
// other. There are no goals.
var httpsPoints = []httpsPoint{
	{"https-connect", "new connection, TLS 1.3, X25519, 1 KiB, HTTP/1.1", 100, func(c *httpsClient, ctx context.Context) error { return c.fresh(ctx, nil) }},
	{"https-resumed", "the same, resumed", 100, func(c *httpsClient, ctx context.Context) error { return c.fresh(ctx, c.sessions) }},
	{"h2-connect", "the same, not resumed, HTTP/2", 100, (*httpsClient).fresh2},
	{"https-lone", "request on an open connection, 1 KiB, HTTP/1.1", 1000, func(c *httpsClient, ctx context.Context) error { return c.kept(ctx, "/1k") }},
	{"h2-lone", "the same, HTTP/2", 1000, func(c *httpsClient, ctx context.Context) error { return c.kept2(ctx, "/1k") }},
	{"https-large", "request on an open connection, 100 KiB, HTTP/1.1", 100, func(c *httpsClient, ctx context.Context) error { return c.kept(ctx, "/100k") }},
	{"h2-large", "the same, HTTP/2", 100, func(c *httpsClient, ctx context.Context) error { return c.kept2(ctx, "/100k") }},
}

// httpsConfig is what the configuration of an image with HTTPS has besides that of one
// without. A plain request is answered, too, so that it can be asked whether it serves.
const httpsConfig = "[management]\nclient_ca = \"clients.pem\"\n[https]\nhandshakes = 10000\nredirect = false\n"

// pairs are who may manage the image, and the site's certificate.
type pairs struct{ clients, operator, authority, site *keys.Pair }

func newPairs() (p pairs, err error) {
	now := time.Now()
	if p.clients, err = keys.Authority("clients", now, 3); err != nil {
		return p, err
	}
	if p.operator, err = p.clients.Client("bench", keys.Operate, now, 2); err != nil {
		return p, err
	}
	if p.authority, err = keys.Authority("sites", now, 3); err != nil {
		return p, err
	}
	p.site, err = p.authority.Server("www.example.org", []string{"www.example.org"}, now, 2)
	return p, err
}

// bundle is the site's chain and key, as PEM.
func (p pairs) bundle() (chain, key []byte, err error) {
	key, err = p.site.Private()
	return append(p.site.Certificate(), p.authority.Certificate()...), key, err
}

// secureWeb measures HTTPS of the image and, unless plain, of nginx, and prints a table.
func (b *bench) secureWeb(ctx context.Context, w io.Writer, p pairs, plain bool) error {
	ours, err := b.httpsFigures(ctx, httpsApp, p)
	if err != nil {
		return fmt.Errorf("https: %w", err)
	}
	var theirs []Point
	if !plain {
		if theirs, err = b.httpsFigures(ctx, peer.Nginx, p); err != nil {
			return fmt.Errorf("nginx: %w", err)
		}
	}
	fmt.Fprintf(w, "%-66s %12s %12s\n", "", "https", "nginx, Linux")
	for i, p := range httpsPoints {
		other := "-"
		if theirs != nil {
			other = group(theirs[i].Plain)
		}
		fmt.Fprintf(w, "%-66s %12s %12s  spread %.1f%%\n", p.name+", instructions", group(ours[i].Plain), other, ours[i].Spread)
	}
	return nil
}

// httpsFigures measures all points of one server in one boot.
func (b *bench) httpsFigures(ctx context.Context, app string, p pairs) ([]Point, error) {
	c, err := b.startHTTPS(ctx, app, p, false)
	if err != nil {
		return nil, err
	}
	defer c.m.Close()
	var points []Point
	for _, p := range httpsPoints {
		c.forget()
		one, err := b.repeat(c.m, p.n, func() error { return p.do(c, ctx) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		points = append(points, one)
	}
	return points, nil
}

// profileHTTPS prints where the instructions of one point go.
func (b *bench) profileHTTPS(ctx context.Context, p pairs, what string, v view) error {
	at := slices.IndexFunc(httpsPoints, func(p httpsPoint) bool { return p.point == what })
	table, err := readSymbols(b.images[httpsApp])
	if err != nil {
		return err
	}
	c, err := b.startHTTPS(ctx, httpsApp, p, true)
	if err != nil {
		return err
	}
	defer c.m.Close()
	do := httpsPoints[at]
	return v.repeat(os.Stdout, table, c.m, do.n, func() error { return do.do(c, ctx) })
}

// startHTTPS boots a server and waits until it serves HTTPS. The caller must Close the
// machine.
func (b *bench) startHTTPS(ctx context.Context, app string, p pairs, blocks bool) (c *httpsClient, err error) {
	m, err := b.start(ctx, app, b.ram, true, blocks)
	if err != nil {
		return nil, err
	}
	if err = m.up(ctx, b.limit(app)); err == nil && m.seg == nil {
		err = errors.New("HTTPS is measured with a network namespace only")
	}
	if err == nil && app == httpsApp {
		err = m.explained(m.commit(ctx, p))
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return &httpsClient{m: m, sessions: tls.NewLRUClientSessionCache(1)}, nil
}

// commit gives the image its certificate.
func (m *machine) commit(ctx context.Context, p pairs) error {
	chain, key, err := p.bundle()
	if err != nil {
		return err
	}
	operator := tls.Certificate{Certificate: [][]byte{p.operator.X.Raw}, PrivateKey: p.operator.Key}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return m.dial(ctx, "tcp", m.at(9443)) }
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{operator}}}}
	for _, step := range []struct{ method, path, match, body string }{
		{"PUT", "/v1/staged/certificates/site", "", string(chain) + string(key)},
		{"POST", "/v1/staged/commit", `"0"`, ""},
	} {
		r, err := http.NewRequestWithContext(ctx, step.method, "https://www1"+step.path, strings.NewReader(step.body))
		if err != nil {
			return err
		}
		if step.match != "" {
			r.Header.Set("If-Match", step.match)
		}
		resp, err := c.Do(r)
		if err != nil {
			return err
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode/100 != 2 {
			err = fmt.Errorf("%s: %s: %s", step.path, resp.Status, said)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// at is the machine's address with another port.
func (m *machine) at(port int) string {
	host, _, _ := net.SplitHostPort(m.tcpAddr)
	return net.JoinHostPort(host, fmt.Sprint(port))
}

// httpsClient asks for the files of the site.
type httpsClient struct {
	m        *machine
	sessions tls.ClientSessionCache
	conn     *tls.Conn // that is kept open
	in       *bufio.Reader
	two      *http.Transport // likewise
}

func (c *httpsClient) dial(ctx context.Context, protocol string, sessions tls.ClientSessionCache) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	nc, err := c.m.dial(ctx, "tcp", c.m.at(443))
	if err != nil {
		return nil, err
	}
	// Who the server is does not matter to what it does.
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.org", MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol}, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: sessions})
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol != protocol {
		nc.Close()
		return nil, fmt.Errorf("the server does not speak %s", protocol)
	}
	return tc, nil
}

// fresh makes a connection for one request over HTTP/1.1.
func (c *httpsClient) fresh(ctx context.Context, sessions tls.ClientSessionCache) error {
	tc, err := c.dial(ctx, "http/1.1", sessions)
	if err != nil {
		return err
	}
	defer tc.Close()
	return get(tc, bufio.NewReader(tc), "/1k")
}

// fresh2 makes a connection for one request over HTTP/2.
func (c *httpsClient) fresh2(ctx context.Context) error {
	two := c.client2()
	defer two.CloseIdleConnections()
	return get2(ctx, two, "/1k")
}

// kept asks on the connection that is kept open.
func (c *httpsClient) kept(ctx context.Context, path string) (err error) {
	if c.conn == nil {
		if c.conn, err = c.dial(ctx, "http/1.1", nil); err != nil {
			return err
		}
		c.in = bufio.NewReaderSize(c.conn, 32<<10)
	}
	return get(c.conn, c.in, path)
}

// kept2 does so over HTTP/2.
func (c *httpsClient) kept2(ctx context.Context, path string) error {
	if c.two == nil {
		c.two = c.client2()
	}
	return get2(ctx, c.two, path)
}

// forget ends the connections that are kept: they would be idle for too long.
func (c *httpsClient) forget() {
	if c.conn != nil {
		c.conn.Close()
	}
	if c.two != nil {
		c.two.CloseIdleConnections()
	}
	c.conn, c.two = nil, nil
}

// client2 is a client with a connection of its own, which speaks HTTP/2.
func (c *httpsClient) client2() *http.Transport {
	t := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols),
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, "h2", nil) }}
	t.Protocols.SetHTTP2(true)
	return t
}

// get sends a request over HTTP/1.1 and compares the answer.
func get(c net.Conn, in *bufio.Reader, path string) error {
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", path); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	return same(r, path)
}

// get2 does so over HTTP/2.
func get2(ctx context.Context, c *http.Transport, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "https://www.example.org"+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept", "*/*")
	resp, err := c.RoundTrip(r)
	if err != nil {
		return err
	}
	if err := same(resp, path); err != nil || resp.ProtoMajor == 2 {
		return err
	}
	return fmt.Errorf("the server speaks %s", resp.Proto)
}

// same compares a response with the file.
func same(r *http.Response, path string) error {
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && (r.StatusCode != http.StatusOK || !bytes.Equal(b, site[path])) {
		err = fmt.Errorf("status %d, and %d bytes instead of %d, or others", r.StatusCode, len(b), len(site[path]))
	}
	return err
}

// secureImage builds the image with HTTPS in dir, which has the site.
func (b *bench) secureImage(ctx context.Context, dir, mkimage string, symbols bool, p pairs) (err error) {
	if err := os.WriteFile(filepath.Join(dir, "clients.pem"), p.clients.Certificate(), 0o644); err != nil {
		return err
	}
	b.images[httpsApp], err = siteImage(ctx, dir, httpsApp, httpsConfig, mkimage, symbols)
	return err
}
