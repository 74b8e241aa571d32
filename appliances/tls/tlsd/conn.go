package tlsd

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/tls/backend"
	"ampoule/appliances/tls/proxyproto"
	"ampoule/appliances/tls/relay"
)

// conn is one client's connection and its backend's.
type conn struct {
	t             *Terminator
	remote, local netip.AddrPort
	born          int64 // by the clock
	act           relay.Activity
	front         *relay.Raw
	tls           *tls.Conn
	back          *relay.Raw
	taken         *backend.Conn
	up, down      relay.Flow

	phase atomic.Int32
	ends  atomic.Int32 // directions that are over
	over  atomic.Bool  // abort was called
	mu    sync.Mutex   // guards back and cancel until phase is relaying
	stop  context.CancelFunc
}

// Phases.
const (
	shaking = iota
	connecting
	relaying
	halfClosed
)

// late says whether the connection has used up the time of its phase.
func (c *conn) late() bool {
	l := &c.t.cfg.Limits
	age := time.Duration(c.t.clock.Load()-c.born) * c.t.tick
	idle := time.Duration(c.act.Idle()) * c.t.tick
	if l.Lifetime > 0 && age > l.Lifetime {
		return true
	}
	switch c.phase.Load() {
	case shaking:
		return age > l.Handshake
	case connecting:
		return false // package backend looks after that
	case halfClosed:
		if idle > l.HalfClosed {
			return true
		}
	}
	return idle > l.Idle || time.Duration(c.act.Stalled())*c.t.tick > l.Stall
}

// abort ends the connection at once. It does not block.
func (c *conn) abort() {
	if c.over.Swap(true) {
		return
	}
	c.front.Abort()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop()
	}
	if c.back != nil {
		c.back.Abort()
	}
}

// begin does the handshake and finds a backend. It then leaves the connection to events,
// and with its goroutine the stack goes that the handshake has needed.
func (c *conn) begin(ctx context.Context) {
	if !c.affordable() || !c.shake() || !c.connect(ctx) {
		c.abort()
		c.t.dismiss(c)
		return
	}
	c.phase.Store(relaying)
	c.act.Touch()
	e := c.t.events
	e.Prepare(&c.up, c.back, front{c}, &c.t.stats.FromClient, c.clientEnded, c.end)
	e.Prepare(&c.down, front{c}, c.back, &c.t.stats.ToThem, c.tls.CloseWrite, c.end)
	c.front.Share(e, &c.up, &c.down)
	c.back.Share(e, &c.down, &c.up)
	c.front.Watch()
	c.back.Watch()
}

// affordable says whether there is memory for a handshake.
func (c *conn) affordable() bool {
	if !c.t.memory.Tight() {
		return true
	}
	c.t.shaken(c)
	if !c.over.Load() {
		c.t.stats.Shed.Add(1)
	}
	return false
}

// shake does the handshake.
func (c *conn) shake() bool {
	t := c.t
	c.tls = tls.Server(c.front, t.session.TLS())
	err := c.tls.Handshake()
	t.shaken(c)
	t.stats.shaken(c, err)
	t.revoked(c, err)
	if err != nil {
		t.log.Debug("handshake failed", "client", c.remote, "error", err)
	}
	return err == nil
}

// connect finds a backend and tells it who the client is.
func (c *conn) connect(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.stop = cancel
	c.mu.Unlock()
	c.phase.Store(connecting)
	if c.over.Load() {
		return false
	}
	taken, err := c.t.pool.Connect(ctx)
	if err != nil {
		c.t.stats.NoBackend.Add(1)
		c.t.log.Debug("no backend", "client", c.remote, "error", err)
		return false
	}
	back, ok := taken.Conn.(relay.Conn)
	if !ok {
		taken.Close()
		taken.Release()
		return false
	}
	c.mu.Lock()
	c.taken, c.stop = taken, nil
	c.back = relay.NewRaw(back, relay.Back, &c.act)
	c.mu.Unlock()
	if c.over.Load() { // abort may have come before back was there
		c.back.Abort()
		taken.Release()
		return false
	}
	if c.t.cfg.Proxy != proxyproto.None {
		// A write of so few bytes to a fresh connection does not block.
		if _, err := c.back.Write(c.header()); err != nil {
			taken.Release()
			return false
		}
	}
	return true
}

// header is what the backend is told of the client.
func (c *conn) header() []byte {
	i := proxyproto.Info{Client: c.remote, Local: c.local}
	if c.t.cfg.Proxy == proxyproto.V2 {
		s := c.tls.ConnectionState()
		i.TLS = &proxyproto.TLS{ServerName: s.ServerName, ALPN: s.NegotiatedProtocol, Version: versionName(s.Version),
			Cipher: tls.CipherSuiteName(s.CipherSuite), Session: s.DidResume}
		if len(s.VerifiedChains) > 0 {
			i.TLS.Certificate, i.TLS.CommonName = true, s.PeerCertificates[0].Subject.CommonName
		}
	}
	return proxyproto.Append(make([]byte, 0, 128), c.t.cfg.Proxy, &i)
}

// front is the client's side as a source of bytes and as a sink.
type front struct{ *conn }

func (f front) Read(b []byte) (int, error)    { return f.tls.Read(b) }
func (f front) Write(b []byte) (int, error)   { return f.tls.Write(b) }
func (f front) Flush() (held bool, err error) { return f.front.Flush() }

// Drained says whether crypto/tls holds nothing either, which it tells only with the edit
// of libos/rt.
func (f front) Drained() bool {
	t, ok := any(f.tls).(interface{ AmpDrained() bool })
	return ok && t.AmpDrained() && f.front.Drained()
}

// clientEnded passes on the end of what the client sends. An end without close_notify
// may be an attacker's cut (RFC 8446 section 6.1): the backend sees a reset, not an end.
func (c *conn) clientEnded() error {
	switch {
	case !c.front.Ended():
		return c.back.CloseWrite()
	case c.ends.Load() == 0:
		return errCut
	}
	return nil
}

// end is called by each direction when it is over.
func (c *conn) end(err error) {
	if err != nil && !c.over.Load() {
		c.t.stats.Cut.Add(1)
		c.t.log.Debug("connection cut", "client", c.remote, "backend", c.taken.Backend(), "error", err)
		c.abort()
	}
	c.act.Touch()
	c.phase.Store(halfClosed)
	if c.ends.Add(1) < 2 {
		return
	}
	c.front.Close()
	c.back.Close()
	c.taken.Release()
	c.t.dismiss(c)
}

var errCut = errors.New("tlsd: the client ended the connection without close_notify")
