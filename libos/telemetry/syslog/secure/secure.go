// Package secure makes a syslog.Sink's connections over TLS (RFC 5425, as RFC 9662
// has it: TLS 1.2 or 1.3): to a collector whose certificate is for a configured name
// and from a configured authority, if need be with a certificate of our own.
//
// No message is acknowledged. A collector has for certain what was written a while before
// it said goodbye (close_notify); of any other end the Sink is told that it may not have
// the last messages, which it sends again.
package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strconv"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/telemetry/syslog"
)

// TLS is a syslog.Secure. It is plain data that generated source fills in.
type TLS struct {
	Authorities string // of collectors, PEM
	Name        string // a collector's: of a host, or an address
	// Certificate is our chain, and Key its key, both PEM; empty: there is none.
	Certificate, Key string
}

// How long a collector may take for a handshake and for a message, for what is left
// to say when the appliance ends, and for the reason of a failure.
const (
	handshakeTime = 10 * time.Second
	messageTime   = 20 * time.Second
	lastTime      = time.Second
	reasonTime    = 100 * time.Millisecond
)

// settled is how long before a collector's goodbye a message was written that it has: one
// that is stopped says goodbye without reading what has just come.
const settled = 10 * time.Second

// Connect implements syslog.Secure.
func (t TLS) Connect(ctx context.Context, dial syslog.Dial, address string, now func() time.Time) (syslog.Conn, error) {
	cfg, err := t.config(now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	soon, enough := context.WithTimeout(ctx, handshakeTime)
	defer enough()
	under, err := dial(soon, "tcp", address)
	if err != nil {
		cancel()
		return nil, err
	}
	c := &conn{Conn: tls.Client(under, cfg), ctx: ctx, cancel: cancel, ended: make(chan struct{})}
	if err := c.Conn.HandshakeContext(soon); err != nil {
		under.Close()
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Now().Add(lastTime)) })
	go c.listen()
	return c, nil
}

// config is that of package tls.
func (t TLS) config(now func() time.Time) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.Name, RootCAs: x509.NewCertPool(), Time: now}
	if !cfg.RootCAs.AppendCertsFromPEM([]byte(t.Authorities)) {
		return nil, errors.New("no authorities of collectors")
	}
	if t.Certificate != "" {
		own, err := tls.X509KeyPair([]byte(t.Certificate), []byte(t.Key))
		if err != nil {
			return nil, errors.New("our certificate or its key can't be read") // why could quote the key
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	return cfg, nil
}

// conn frames messages (RFC 5425, section 4.3).
type conn struct {
	*tls.Conn
	ctx    context.Context // of the connection
	cancel context.CancelFunc
	ended  chan struct{} // closed when the collector has ended it
	why    error         // how; to be read when ended is closed
	at     time.Time     // when; likewise
	last   time.Time     // the last message was written
	frame  []byte
}

// Ended implements syslog.Conn.
func (c *conn) Ended() <-chan struct{} { return c.ended }

// Received implements syslog.Conn.
func (c *conn) Received() bool {
	select {
	case <-c.ended:
		return c.why == io.EOF && c.at.Sub(c.last) >= settled
	default:
		return false
	}
}

// Write sends a message: its length, then itself, in one record.
func (c *conn) Write(m []byte) (int, error) {
	end := messageTime
	if c.ctx.Err() != nil {
		end = lastTime
	}
	c.SetWriteDeadline(time.Now().Add(end))
	c.frame = append(append(strconv.AppendInt(c.frame[:0], int64(len(m)), 10), ' '), m...)
	if _, err := c.Conn.Write(c.frame); err != nil {
		select {
		case <-c.ended:
			err = format.Errorf("the collector has ended the connection: %w", c.why)
		case <-time.After(reasonTime):
		}
		return 0, err
	}
	c.last = time.Now()
	return len(m), nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.cancel()
	return c.Conn.Close()
}

// listen waits for the end of the connection, as a collector has nothing else to say,
// so that the Sink hears of it.
func (c *conn) listen() {
	var b [1]byte
	_, err := c.Read(b[:])
	if err == nil {
		err = errors.New("it sends something")
	}
	c.why, c.at = err, time.Now()
	close(c.ended)
	c.NetConn().Close()
}
