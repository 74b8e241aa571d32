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
	"ampoule/libos/mgmt/door"
)

// counters are the plane's own; s.mu guards them unless they are atomic.
type counters struct {
	handshakes, failed, refused atomic.Uint64
	requests                    [6]atomic.Uint64 // by the first digit of the status
	changes, denied             atomic.Uint64
}

// conn is one connection of a client.
type conn struct {
	*tls.Conn
	guest    *door.Guest // what it runs over
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
				s.close() // which may be under way: nobody is served when this returns
				return nil
			}
			if failures++; errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("management: %w", err)
			}
			continue
		}
		failures = 0
		guest, err := s.door.Enter(nc)
		if err != nil {
			s.count.refused.Add(1)
			nc.Close()
			continue
		}
		if ctx.Err() != nil {
			nc.Close() // close may have looked at the guests already
		}
		go func() {
			defer guest.Leave()
			s.converse(&conn{Conn: tls.Server(guest, s.tls), guest: guest, from: nc.RemoteAddr()})
		}()
	}
}

// close ends all connections.
func (s *Server) close() {
	s.listen.Close()
	s.door.Close()
}

// converse makes the handshake and answers requests.
func (s *Server) converse(c *conn) {
	defer func() {
		if r := recover(); r != nil {
			s.host.Log.Error("a management client made the server panic", "client", c.who, "panic", r)
		}
	}()
	t := c.Conn
	defer t.Close()
	t.SetDeadline(time.Now().Add(handshakeTime))
	if err := t.Handshake(); errors.Is(err, door.ErrGaveWay) {
		s.count.refused.Add(1)
		return
	} else if err != nil {
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
	if c.role != None && s.certs.Current().Welcome(c.chain, s.host.Now()) == nil {
		c.guest.Known()
	}
	http1.Serve(t, &s.limits, s.host.Now, func(x *http1.Exchange) { s.answer(c, x) }, func(x *http1.Exchange, e *http1.Error) {
		code := "bad-request"
		if e.Status == 413 { // all that is sent are values to stage
			code = string(certs.TooLarge)
		}
		fail(x, e.Status, code, e.Reason)
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
