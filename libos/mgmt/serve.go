package mgmt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/http1"
	"ampoule/libos/mgmt/certs"
)

// counters are the plane's own; s.mu guards them unless they are atomic.
type counters struct {
	handshakes, failed, refused atomic.Uint64
	requests                    [6]atomic.Uint64 // by the first digit of the status
	changes, denied             atomic.Uint64
}

// conn is one connection of a client.
type conn struct {
	net.Conn             // TLS
	under    net.Conn    // what it runs over
	since    time.Time   // the connection began
	known    atomic.Bool // the handshake is done
	cert     *x509.Certificate
	chain    []*x509.Certificate
	who      string
	role     Role
	from     net.Addr
	welcomed *certs.Generation // in which it was found welcome, last; of its goroutine
}

// welcome says why a client is not welcome any more: revoked, expired, or its
// authority is gone.
func (c *conn) welcome(g *certs.Generation, now time.Time) error {
	if c.welcomed == g {
		for _, x := range c.chain {
			if now.After(x.NotAfter) {
				return errExpired
			}
		}
		return nil
	}
	err := g.Welcome(c.chain, now)
	if err == nil {
		c.welcomed = g
	}
	return err
}

// maxFailures is how many times in a row Accept may fail before the listener is
// given up.
const maxFailures = 16

// Serve implements plane.Plane.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	for _, serve := range s.serves {
		go func() {
			if err := serve(ctx); err != nil {
				s.host.Log.Error("a part of the management plane has ended", "error", err)
			}
		}()
	}
	for failures := 0; ; {
		nc, err := s.listen.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if failures++; errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("management: %w", err)
			}
			continue
		}
		failures = 0
		c := &conn{Conn: tls.Server(nc, s.tls), under: nc, since: time.Now(), from: nc.RemoteAddr()}
		if err := s.admit(ctx, c); err != nil {
			s.count.refused.Add(1)
			nc.Close()
			continue
		}
		go func() {
			defer s.dismiss(c)
			s.converse(c)
		}()
	}
}

// close ends all connections.
func (s *Server) close() {
	s.listen.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.under.Close()
	}
}

// admit makes room for c: by ending the connection that has been without a
// handshake for longest, so that nobody without a certificate keeps those out that
// have one. Handshakes are rationed, since each takes more time than a thousand
// answers of the appliance.
func (s *Server) admit(ctx context.Context, c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if elapsed := now.Sub(s.filled); elapsed >= time.Second || elapsed < 0 {
		s.tokens, s.filled = s.cfg.Handshakes, now
	}
	if s.tokens == 0 {
		return errRate
	}
	s.tokens--
	if len(s.conns) >= s.cfg.Connections {
		var oldest *conn
		for o := range s.conns {
			if !o.known.Load() && (oldest == nil || o.since.Before(oldest.since)) {
				oldest = o
			}
		}
		if oldest == nil {
			return errFull
		}
		delete(s.conns, oldest)
		oldest.under.Close()
	}
	s.conns[c] = struct{}{}
	if ctx.Err() != nil {
		c.under.Close() // close may have looked at conns already
	}
	return nil
}

func (s *Server) dismiss(c *conn) {
	c.Conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// converse makes the handshake and answers requests.
func (s *Server) converse(c *conn) {
	defer func() {
		if r := recover(); r != nil {
			s.host.Log.Error("a management client made the server panic", "client", c.who, "panic", r)
		}
	}()
	t := c.Conn.(*tls.Conn)
	t.SetDeadline(time.Now().Add(handshakeTime))
	if err := t.Handshake(); err != nil {
		s.count.failed.Add(1)
		if !errors.Is(err, io.EOF) {
			s.host.Log.Debug("management handshake failed", "client", c.from, "error", err)
		}
		return
	}
	t.SetDeadline(time.Time{})
	s.count.handshakes.Add(1)
	c.chain = t.ConnectionState().PeerCertificates
	c.cert = c.chain[0] // TLS has verified that there is one
	c.who = identity(c.cert)
	c.role = s.cfg.role(c.cert)
	c.known.Store(c.role != None && s.certs.Current().Welcome(c.chain, s.host.Now()) == nil)
	http1.Serve(t, &s.limits, s.host.Now, func(x *http1.Exchange) { s.answer(c, x) }, func(x *http1.Exchange, e *http1.Error) {
		fail(x, e.Status, "bad-request", e.Reason)
		s.finish(x)
	})
}

// identity names a client in the log: its common name, and the beginning of its
// certificate's SHA-256.
func identity(x *x509.Certificate) string {
	name := x.Subject.CommonName
	if name == "" {
		name = "?"
	}
	return name[:min(len(name), 64)] + "/" + fingerprint(x)[:16]
}

// fingerprint is the SHA-256 of a certificate in hexadecimal digits.
func fingerprint(x *x509.Certificate) string {
	sum := sha256.Sum256(x.Raw)
	return hex.EncodeToString(sum[:])
}

var errExpired = errors.New("the certificate has expired")

var errRate = errors.New("too many handshakes")
