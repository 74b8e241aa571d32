// Package echod answers with what it is sent (RFC 862), over UDP and TCP.
package echod

import (
	"context"
	"net"

	"ampoule/libos/appliance"
	"ampoule/libos/netif/fastudp"
)

// Config is the appliance's own part of the configuration: the port of both
// protocols, 7 by RFC 862.
type Config struct{ Port uint16 }

type echo struct {
	udp net.PacketConn
	tcp net.Listener
}

// New gives the constructor for cfg.
func New(cfg Config) appliance.New {
	return func(env *appliance.Env) (appliance.Appliance, error) {
		udp, tcp, err := appliance.ListenBoth(env.Net, cfg.Port)
		if err != nil {
			return nil, err
		}
		e := &echo{udp, tcp}
		env.Net.SetFastPath(fastudp.New(env.Link, env.Addr, cfg.Port, e))
		return e, nil
	}
}

// Serve implements appliance.Appliance.
func (e *echo) Serve(ctx context.Context) error {
	return appliance.Loops(ctx, func() { e.udp.Close(); e.tcp.Close() }, e.datagrams, e.connections)
}

// Reply implements fastudp.Handler: the common datagram goes back as it is in
// the driver's receive buffer, and the socket takes what is larger.
func (e *echo) Reply(b []byte, n int, _ *fastudp.Peer) int {
	if n == 0 {
		return -1
	}
	return n
}

func (e *echo) datagrams() error {
	for b := make([]byte, 2048); ; { // what is longer comes back cut off
		n, from, err := e.udp.ReadFrom(b)
		if err != nil {
			return err
		}
		e.udp.WriteTo(b[:n], from) // a lost answer is the client's to notice
	}
}

func (e *echo) connections() error {
	crew := appliance.NewCrew()
	defer crew.Close()
	for {
		c, err := e.tcp.Accept()
		if err != nil {
			return err
		}
		crew.Go(func() {
			defer c.Close()
			converse(c)
		})
	}
}

// Sizes of a connection's buffer: small while little comes, since an idle
// connection keeps it, and large while it is filled.
const (
	smallBuffer = 1024
	largeBuffer = 16 << 10
)

// converse returns what it reads until either end fails.
func converse(c net.Conn) {
	small := make([]byte, smallBuffer)
	for b := small; ; {
		n, err := c.Read(b)
		if _, failed := c.Write(b[:n]); err != nil || failed != nil {
			return
		}
		switch {
		case n == smallBuffer && len(b) == smallBuffer:
			b = make([]byte, largeBuffer)
		case n < smallBuffer:
			b = small
		}
	}
}
