package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ampoule/tools/xenrig/wire"
)

// DialContext connects dom0 to addr, TCP or UDP, IPv4 or IPv6, and passes the
// bytes on, so that any client here can ask a guest. It is made for content; for
// speed there are Load and StreamTCP. ctx bounds the connecting only. When the
// guest ends its direction of a stream, the whole connection is over.
func (r *Rig) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	connected, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	o, err := r.begin(connected, wire.Request{Op: wire.OpDial, Network: network, Address: addr})
	if err == nil {
		c := &conn{order: o, datagrams: network[0] == 'u', network: network, addr: addr, cancel: cancel}
		if _, err = c.frame(); err == nil && stop() {
			return c, nil
		}
		o.end()
	}
	stop()
	cancel()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: address{network, addr}, Err: err}
}

// conn is a relayed connection. Reads are for one goroutine at a time, and so
// are writes.
type conn struct {
	*order
	datagrams     bool
	network, addr string
	cancel        func()
	rest          []byte // of a stream, read but not asked for
	err           error  // of the end
}

// frame is the next piece of data; io.EOF when the guest has ended the stream.
func (c *conn) frame() ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	k, body, err := c.in.Next()
	if t := net.Error(nil); errors.As(err, &t) && t.Timeout() {
		return nil, err
	}
	switch {
	case err != nil:
		c.err = err
	case k == wire.Data:
		return body, nil
	default:
		var out wire.Outcome
		if c.err = json.Unmarshal(body, &out); c.err == nil {
			c.err = io.EOF
			if out.Error != "" {
				c.err = errors.New(out.Error)
			}
		}
	}
	return nil, c.err
}

func (c *conn) Read(p []byte) (int, error) {
	if c.datagrams {
		b, err := c.frame()
		return copy(p, b), err
	}
	for len(c.rest) == 0 {
		b, err := c.frame()
		if err != nil {
			return 0, err
		}
		c.rest = b
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write sends a datagram, or a part of the stream.
func (c *conn) Write(p []byte) (int, error) {
	if c.datagrams {
		if err := wire.Write(c.conn, wire.Data, p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	const piece = 256 << 10
	for n := 0; n < len(p); n += piece {
		if err := wire.Write(c.conn, wire.Data, p[n:min(len(p), n+piece)]); err != nil {
			return n, fmt.Errorf("rig: write to %s: %w", c.addr, err)
		}
	}
	return len(p), nil
}

// CloseWrite ends the stream to the guest.
func (c *conn) CloseWrite() error { return wire.Write(c.conn, wire.End, nil) }

func (c *conn) Close() error {
	c.cancel()
	c.order.stop()
	return c.order.conn.Close()
}

func (c *conn) LocalAddr() net.Addr                { return address{c.network, "dom0"} }
func (c *conn) RemoteAddr() net.Addr               { return address{c.network, c.addr} }
func (c *conn) SetDeadline(t time.Time) error      { return c.conn.SetDeadline(t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.conn.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// address is an address as it was given.
type address struct{ network, addr string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.addr }
