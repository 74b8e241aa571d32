package main

import (
	"context"
	"io"
	"net"
	"time"

	"ampoule/tools/xenrig/wire"
)

// dialTimeout bounds a Dial whose order names no other bound.
const dialTimeout = 30 * time.Second

// dial connects the rig to an address as dom0 sees it. It returns when the
// stream has ended both ways, or at the first error.
func (p *peer) dial(ctx context.Context, req wire.Request) error {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, req.Network, req.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := p.send(wire.Data, nil); err != nil {
		return err
	}
	go p.toGuest(c)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 || err == nil { // an empty datagram is one too
			if err := p.send(wire.Data, buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// toGuest passes on what the rig sends until it closes the connection, and then
// closes that to the guest. A guest that refuses data shows that on the other
// direction too.
func (p *peer) toGuest(c net.Conn) {
	defer c.Close()
	for {
		k, body, err := p.in.Next()
		if err != nil {
			return
		}
		switch k {
		case wire.Data:
			c.Write(body)
		case wire.End:
			if tcp, ok := c.(*net.TCPConn); ok {
				tcp.CloseWrite()
			}
		}
	}
}
