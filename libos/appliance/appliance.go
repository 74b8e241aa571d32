// Package appliance is the frame of an appliance: what it is given, what it
// has to offer, and the main function that brings both together.
package appliance

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"
)

// Network is an appliance's way out. Names and addresses are those of Go's
// package net, with literal addresses.
type Network interface {
	// Listen takes connections: network is tcp, tcp4 or tcp6. ":53" listens
	// on all addresses.
	Listen(network, address string) (net.Listener, error)
	// ListenPacket binds a datagram socket: network is udp, udp4 or udp6.
	ListenPacket(network, address string) (net.PacketConn, error)
	// DialContext connects to an address. It blocks until connected or until
	// ctx is done.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// SetFastPath shows f each received frame ahead of the stack; nil ends
	// that.
	SetFastPath(f netif.FastPath)
}

// Bounded is a Network that resets connections beyond a number.
type Bounded interface {
	// MaxConns is that number (netif.Limits).
	MaxConns() int
}

// Gated is a Network that asks before it receives what may need memory.
type Gated interface {
	// SetGate has gate called ahead of each burst of frames; false drops it
	// (netif.Stack). Meanwhile nothing is received.
	SetGate(gate func() bool)
}

// Env is what an appliance is given. It lives as long as the appliance.
type Env struct {
	Net  Network
	Link device.NetInfo // of the device behind Net; zero where there is none
	Addr []netip.Prefix // our addresses on it
	Log  *telemetry.Logger
	Rand io.Reader        // cryptographically secure; any goroutine may read
	Now  func() time.Time // wall clock
	// Management is the management plane; nil: there is none.
	Management plane.Plane
}

// Appliance serves.
type Appliance interface {
	// Serve blocks until ctx is done, and then returns nil, or until the
	// appliance can't go on.
	Serve(ctx context.Context) error
}

// Drainer is an Appliance that can finish what it has begun.
type Drainer interface {
	Appliance
	// Drain takes no new work and returns when the old is done, or with
	// ctx's error when ctx is done first.
	Drain(ctx context.Context) error
}

// New makes an appliance. It may already bind its sockets, so that what is
// wrong with the configuration shows at once.
type New func(*Env) (Appliance, error)
