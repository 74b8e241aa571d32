package tlsd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"ampoule/appliances/tls/relay"
	"ampoule/libos/format"
)

// maxFailures is how many connections in a row may fail to be accepted before the
// listener is given up.
const maxFailures = 16

// client is whom connections are counted for: an IPv4 address, or a network of 64 bits.
type client netip.Addr

func clientOf(a netip.AddrPort) client {
	if a := a.Addr().Unmap(); a.Is4() {
		return client(a)
	}
	p, _ := a.Addr().WithZone("").Prefix(64)
	return client(p.Addr())
}

// accept takes connections until the listener is closed.
func (t *Terminator) accept(ctx context.Context) error {
	for failures := 0; ; {
		nc, err := t.l.Accept()
		if err != nil {
			t.mu.Lock()
			draining := t.draining
			t.mu.Unlock()
			if draining {
				<-ctx.Done() // the connections go on
				return ctx.Err()
			}
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("tlsd: %w", err)
			}
			continue
		}
		failures = 0
		raw, ok := nc.(relay.Conn)
		if !ok {
			nc.Close()
			return format.Errorf("tlsd: connections that have to be waited for")
		}
		c := &conn{t: t, remote: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
		c.act.Clock = &t.clock
		c.front = relay.NewRaw(raw, relay.Front, &c.act)
		if !t.admit(ctx, c) {
			t.stats.Refused.Add(1)
			c.front.Abort()
			continue
		}
		t.stats.Accepted.Add(1)
		c.front.First(t.workers, func() { c.begin(ctx) })
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// admit counts c among the connections, if the limits allow it.
func (t *Terminator) admit(ctx context.Context, c *conn) bool {
	l := &t.cfg.Limits
	who := clientOf(c.remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining || ctx.Err() != nil || t.memory.Full() || len(t.conns) >= l.Connections || l.PerClient > 0 && t.clients[who] >= l.PerClient {
		return false
	}
	c.born = t.clock.Load()
	c.act.Touch()
	if len(t.waiting) >= l.Handshakes {
		oldest := t.waiting[0]
		if time.Duration(c.born-oldest.born)*t.tick < time.Second {
			return false
		}
		oldest.abort()
		t.waiting = t.waiting[1:]
	}
	t.waiting = append(t.waiting, c)
	t.conns[c] = struct{}{}
	if l.PerClient > 0 {
		t.clients[who]++
	}
	t.stats.Open.Add(1)
	return true
}

// shaken says that the handshake of c is over.
func (t *Terminator) shaken(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, c); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
}

// dismiss forgets c, which is over.
func (t *Terminator) dismiss(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if t.cfg.Limits.PerClient > 0 {
		who := clientOf(c.remote)
		if t.clients[who]--; t.clients[who] == 0 {
			delete(t.clients, who)
		}
	}
	t.stats.Open.Add(-1)
	if t.draining && len(t.conns) == 0 {
		close(t.empty)
	}
}

// sweep ends connections whose time is over: one clock for all, so that a byte costs
// no timer.
func (t *Terminator) sweep(ctx context.Context) error {
	every := time.NewTicker(t.tick)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.clock.Add(1)
		if n := t.named.Swap(0); n > maxRevoked {
			t.log.Audit("clients refused", "result", "revoked", "more", n-maxRevoked)
		}
		t.mu.Lock()
		for c := range t.conns {
			if c.late() {
				if c.phase.Load() != shaking && !c.over.Load() {
					t.stats.Late.Add(1)
				}
				c.abort()
			}
		}
		t.mu.Unlock()
		t.memory.Look()
	}
}

// versions and ciphers as OpenSSL calls them, which is what backends expect.
func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}
