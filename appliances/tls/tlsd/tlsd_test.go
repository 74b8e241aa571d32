package tlsd

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/tls/backend"
	"ampoule/appliances/tls/certs"
	"ampoule/appliances/tls/proxyproto"
	"ampoule/appliances/tls/session"
	"ampoule/appliances/tls/tlstest"
	"ampoule/libos/appliance"
	"ampoule/libos/telemetry"
)

// hostNet is the host's loopback interface.
type hostNet struct {
	appliance.Network
	tlstest.Net
}

func (h *hostNet) Listen(network, address string) (net.Listener, error) {
	return h.Net.Listen(network, address)
}

func (h *hostNet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.Net.DialContext(ctx, network, address)
}

// serveBackend runs handle for each connection until the test ends.
func serveBackend(t testing.TB, handle func(net.Conn)) string {
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
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	return l.Addr().String()
}

func echo(c net.Conn) { io.Copy(c, c) }

// testConfig has limits that no test reaches unless it changes them.
func testConfig(backends ...string) Config {
	c := Config{
		Session: session.Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour},
		Backends: backend.Config{Connect: 5 * time.Second, Attempt: time.Second,
			Health: backend.Health{Every: time.Hour, Timeout: time.Second, Fall: 3, Rise: 1}},
		Limits: Limits{Connections: 100, Handshakes: 50, Buffers: 8, Handshake: 10 * time.Second,
			Idle: time.Minute, HalfClosed: time.Minute, Stall: time.Minute},
	}
	for _, b := range backends {
		c.Backends.Servers = append(c.Backends.Servers, backend.Server{Address: b})
	}
	return c
}

// running is a Terminator under test.
type running struct {
	*Terminator
	addr string
	ca   *tlstest.CA
	stop context.CancelFunc
	done chan error
}

// start runs a Terminator until the test ends, with a certificate for a.test unless
// source is given. change may change it before.
func start(t *testing.T, cfg Config, ca *tlstest.CA, source certs.Source, change ...func(*Terminator)) *running {
	t.Helper()
	if source == nil {
		source = tlstest.NewSource(nil, ca.Issue(t, "a.test"))
	}
	var h hostNet
	term, err := Open(cfg, source, &appliance.Env{Net: &h, Rand: rand.Reader, Now: time.Now,
		Log: telemetry.New(os.Stderr, time.Now, telemetry.Debug)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(term)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Terminator: term, addr: h.Listener(0).Addr().String(), ca: ca, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- term.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Serve does not return")
		}
		within(t, "all connections are forgotten", func() bool { return term.stats.Open.Load() == 0 })
	})
	return r
}

// within waits for something to become true.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func (r *running) client() *tls.Config {
	return &tls.Config{RootCAs: r.ca.Pool(), ServerName: "a.test"}
}

// dial connects and does the handshake.
func (r *running) dial(t *testing.T, cfg *tls.Config) *tls.Conn {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", r.addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask writes a line and wants one back.
func ask(t *testing.T, c net.Conn, line, want string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || got != want+"\n" {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

func TestVersions(t *testing.T) {
	ca := tlstest.NewCA(t)
	r := start(t, testConfig(serveBackend(t, echo)), ca, nil)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := r.client()
		cfg.MinVersion, cfg.MaxVersion = v, v
		c := r.dial(t, cfg)
		if got := c.ConnectionState().Version; got != v {
			t.Errorf("version %x, want %x", got, v)
		}
		ask(t, c, "hello", "hello")
	}
	cfg := r.client()
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := tls.Dial("tcp", r.addr, cfg); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

// TestBulk sends more than all buffers hold both ways at once.
func TestBulk(t *testing.T) {
	ca := tlstest.NewCA(t)
	r := start(t, testConfig(serveBackend(t, echo)), ca, nil)
	c := r.dial(t, r.client())
	const size = 8 << 20
	data := make([]byte, size)
	rand.Read(data)
	go func() {
		c.Write(data)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != string(data) {
		t.Errorf("%d bytes of %d are the same: %v", len(got), size, err)
	}
}

// TestHalfClose: the end of what the client sends reaches the backend, whose answer
// comes only then; and the other way round.
func TestHalfClose(t *testing.T) {
	ca := tlstest.NewCA(t)
	t.Run("client first", func(t *testing.T) {
		r := start(t, testConfig(serveBackend(t, func(c net.Conn) {
			all, err := io.ReadAll(c)
			if err == nil {
				io.WriteString(c, "got "+string(all))
			}
		})), ca, nil)
		c := r.dial(t, r.client())
		io.WriteString(c, "question")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "got question" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("backend first", func(t *testing.T) {
		heard := make(chan string, 1)
		r := start(t, testConfig(serveBackend(t, func(c net.Conn) {
			io.WriteString(c, "welcome")
			c.(*net.TCPConn).CloseWrite()
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})), ca, nil)
		c := r.dial(t, r.client())
		if got, err := io.ReadAll(c); string(got) != "welcome" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		io.WriteString(c, "late words")
		c.CloseWrite()
		if got := <-heard; got != "late words" {
			t.Errorf("the backend heard %q", got)
		}
	})
}

// TestCut: an end that is no close_notify, and a reset, are passed on as resets.
func TestCut(t *testing.T) {
	ca := tlstest.NewCA(t)
	ended := make(chan error, 1)
	r := start(t, testConfig(serveBackend(t, func(c net.Conn) {
		_, err := io.ReadAll(c)
		ended <- err
	})), ca, nil)
	c := r.dial(t, r.client())
	io.WriteString(c, "half a mess")
	c.NetConn().(*net.TCPConn).CloseWrite()
	if err := <-ended; err == nil {
		t.Error("the backend takes a cut stream for a whole one")
	}
	r = start(t, testConfig(serveBackend(t, func(c net.Conn) {
		io.WriteString(c, "half an answ")
		time.Sleep(50 * time.Millisecond)
		c.(*net.TCPConn).SetLinger(0)
	})), ca, nil)
	c = r.dial(t, r.client())
	if got, err := io.ReadAll(c); err == nil {
		t.Errorf("the client takes a cut stream for a whole one: %q", got)
	}
	if r.Stats().Cut.Load() != 1 {
		t.Errorf("%d connections were cut", r.Stats().Cut.Load())
	}
}

func TestNames(t *testing.T) {
	ca := tlstest.NewCA(t)
	a, b, wild, rsa := ca.Issue(t, "a.test"), ca.Issue(t, "b.test"), ca.Issue(t, "*.c.test"), ca.IssueRSA(t, "b.test")
	source := tlstest.NewSource(nil, a, b, wild, rsa)
	cfg := testConfig(serveBackend(t, echo))
	for _, refuse := range []bool{false, true} {
		cfg.Session.RefuseUnknown = refuse
		r := start(t, cfg, ca, source)
		for _, c := range []struct {
			name string
			want *x509.Certificate
		}{
			{"a.test", a.Leaf}, {"b.test", b.Leaf}, {"B.TEST", b.Leaf}, {"x.c.test", wild.Leaf}, {"", a.Leaf},
			{"c.test", nil}, {"x.y.c.test", nil}, {"unknown.test", nil},
		} {
			config := &tls.Config{ServerName: c.name, InsecureSkipVerify: true}
			conn, err := tls.Dial("tcp", r.addr, config)
			if c.want == nil && refuse {
				if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
					t.Errorf("%s: %v, want unrecognized_name", c.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%q: %v", c.name, err)
				continue
			}
			want := c.want
			if want == nil {
				want = a.Leaf
			}
			if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(want) {
				t.Errorf("%q: the certificate is %v's", c.name, got.DNSNames)
			}
			conn.Close()
		}
		old := &tls.Config{ServerName: "b.test", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
		if got := r.dial(t, old).ConnectionState().PeerCertificates[0]; !got.Equal(rsa.Leaf) {
			t.Error("a client without ECDSA does not get the RSA certificate")
		}
	}
}

func TestProxyHeader(t *testing.T) {
	ca := tlstest.NewCA(t)
	for v, want := range map[proxyproto.Version]string{proxyproto.V1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", proxyproto.V2: "\r\n\r\n\x00\r\nQUIT\n\x21\x11"} {
		first := make(chan string, 1)
		cfg := testConfig(serveBackend(t, func(c net.Conn) {
			b := make([]byte, len(want))
			io.ReadFull(c, b)
			first <- string(b)
		}))
		cfg.Proxy = v
		r := start(t, cfg, ca, nil)
		r.dial(t, r.client())
		if got := <-first; got != want {
			t.Errorf("version %d: %q", v, got)
		}
	}
}
