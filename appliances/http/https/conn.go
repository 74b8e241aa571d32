package https

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/http/httpd"
	"ampoule/libos/memory"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/metrics"
)

// listener has connections with TLS, no more than the configuration says.
type listener struct {
	net.Listener
	cfg    *Config
	memory *memory.Guard
	work   chan struct{} // a token for each connection that is busy
	log    *telemetry.Logger
	certs  *certs.Store // nil: not known
	serve2 func(net.Conn, httpd.Handler)

	made, failed, refused, ended atomic.Uint64
	panics                       sync.Once

	mu        sync.Mutex // guards what follows
	conns     places     // whose handshake was made
	strangers places     // whose was not
	count     uint64     // of all connections ever
	ration    ration
	gone      bool
}

// conn is a connection. It implements httpd.Conn.
type conn struct {
	*tls.Conn
	l      *listener
	under  *under
	number uint64       // by arrival
	active atomic.Int64 // when the client last sent or took something, ns since 1970
	name   string       // which it asked for in the handshake
}

// Accept returns the next connection, whose handshake was not made.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t, ok := nc.(*tls.Conn)
	if !ok {
		nc.Close()
		return nil, errors.New("https: a listener without TLS")
	}
	u, ok := t.NetConn().(*under)
	if !ok {
		nc.Close()
		return nil, errors.New("https: TLS over another connection")
	}
	c := &conn{Conn: t, l: l, under: u}
	l.enter(c)
	return c, nil
}

// Close ends the listener and all connections, without a word: TLS would wait to say
// goodbye.
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, p := range []places{l.conns, l.strangers} {
		for c := range p.conns {
			c.under.Close()
		}
	}
	return err
}

// Close ends the connection.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.l.leave(c)
	return err
}

// Read reads, and notes that there was something.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(n)
	return n, err
}

// Write writes, and notes that the client takes it. A record is made before it gets to
// what lies below, so there must be memory before that.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.under.afford(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	c.note(n)
	return n, err
}

func (c *conn) note(n int) {
	if n > 0 {
		c.active.Store(time.Now().UnixNano())
	}
}

// Waits implements httpd.Conn. Until its handshake is made a connection has been silent
// for ever.
func (c *conn) Waits() (stalled bool, since time.Duration) {
	now := time.Now().UnixNano()
	if began := c.under.writing.Load(); began != 0 && c.under.stuck() {
		return true, time.Duration(now - began)
	}
	return false, time.Duration(now - c.active.Load())
}

// Abort implements httpd.Conn.
func (c *conn) Abort() { c.under.abort() }

var errCipher = errors.New("https: a cipher that HTTP/2 does not allow")

// Begin implements httpd.Conn.
func (c *conn) Begin() (serve func(httpd.Handler), err error) {
	c.SetDeadline(time.Now().Add(c.l.cfg.Handshake))
	if err := c.Handshake(); errors.Is(err, errRefused) {
		return nil, err
	} else if err != nil {
		c.l.failed.Add(1)
		c.l.log.Debug("handshake failed", "client", c.RemoteAddr(), "error", err)
		return nil, err
	}
	c.SetDeadline(time.Time{})
	if !c.l.settle(c) {
		return nil, net.ErrClosed
	}
	c.l.made.Add(1)
	state := c.ConnectionState()
	c.name = state.ServerName
	if state.NegotiatedProtocol != alpn2 {
		return nil, nil
	}
	if !fit(&state) {
		return nil, errCipher
	}
	return func(h httpd.Handler) {
		defer c.l.recovered()
		c.l.serve2(c, h)
	}, nil
}

// Serves implements httpd.Conn. A client may use a connection for another name than
// it was made for, if the certificate is good for both (RFC 9113, section 9.1.1). The
// certificates are those of now: after a rotation that takes a name away, the client
// has to connect anew. A request of HTTP/1.0 may have no host at all.
func (c *conn) Serves(host []byte) bool {
	name := hostname(string(host))
	return c.name == "" || name == "" || strings.EqualFold(name, c.name) || c.l.covers(c.name, name)
}

// hostname is a host without its port, and an address without its brackets.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

// covers says whether the certificate for one name is good for another.
func (l *listener) covers(name, other string) (found bool) {
	if l.certs == nil {
		return true
	}
	for _, x := range l.certs.Current().For(name) {
		if x.Leaf().VerifyHostname(other) != nil {
			return false // which of them the client was shown is not known
		}
		found = true
	}
	return found
}

// spawn runs a function in a goroutine. One that panics costs its connection.
func (l *listener) spawn(f func()) {
	go func() {
		defer l.recovered()
		f()
	}()
}

// recovered is deferred by what a client could make panic.
func (l *listener) recovered() {
	if r := recover(); r != nil {
		l.panics.Do(func() {
			l.log.Error("a client made the server panic; further ones are not logged", "panic", r)
		})
	}
}

// collect writes the metrics.
func (l *listener) collect(w *metrics.Writer) {
	l.mu.Lock()
	open := len(l.conns.conns) + len(l.strangers.conns)
	l.mu.Unlock()
	w.One("ampoule_https_connections", metrics.Gauge, "Connections over TLS.", uint64(open))
	w.Family("ampoule_https_handshakes_total", metrics.Counter, "Handshakes by what came of them.")
	w.Value(l.made.Load(), metrics.Label{Name: "result", Value: "made"})
	w.Value(l.failed.Load(), metrics.Label{Name: "result", Value: "failed"})
	w.Value(l.refused.Load(), metrics.Label{Name: "result", Value: "refused"})
	w.One("ampoule_https_ended_total", metrics.Counter, "Connections that were ended to make room for others.", l.ended.Load())
}
