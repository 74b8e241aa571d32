// Package plane is what an appliance and its management plane know of each other.
// It has no code of the plane's, so that an image without one has none of it: the
// configuration of an image that has one brings it as a Management (package mgmt).
package plane

import (
	"context"
	"io"
	"net"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/metrics"
	"ampoule/libos/telemetry/recent"
)

// Management is the configuration of a management plane.
type Management interface {
	// Open brings the plane up: it listens, but does not serve yet. An error says
	// that the image can't be managed as it is configured, and must not serve.
	Open(h *Host) (Plane, error)
}

// Plane is the management plane of a running appliance.
type Plane interface {
	// Serve serves until ctx is done. It returns early only when its listener is
	// gone.
	Serve(ctx context.Context) error
	// Secure is l with TLS 1.2 or 1.3, with the certificates that the plane holds:
	// its connections are net.Conn whose first Read or Write makes the handshake,
	// within deadlines. A connection goes on with the certificates that it began
	// with. protocols are those of ALPN.
	Secure(l net.Listener, protocols ...string) net.Listener
	// Collect adds to the metrics.
	Collect(metrics.Collector)
	// Ready adds to what must be true for the appliance to be ready: ready returns
	// what is missing, in a few words, or "". It must not block.
	Ready(ready func() string)
}

// Host is what a plane is given.
type Host struct {
	Appliance, Hostname, Platform string
	Build, Configuration          string // fingerprints of the image

	Listen func(network, address string) (net.Listener, error)
	Log    *telemetry.Logger
	Recent *recent.Lines // what Log has written
	Rand   io.Reader     // cryptographically secure; any goroutine may read
	Now    func() time.Time
	Up     func() time.Duration // since the machine's start
	Memory uint64               // bytes of RAM
	Frames Frames               // nil: they can't be watched

	Command string // the kernel command line; not to be shown, as keys may be in it
	// Disk opens the first disk, or returns nil when there is none; it is called
	// once at most. nil: the image can't have one.
	Disk func(context.Context) (device.Block, error)

	// What the plane sets for its parts.
	Port uint16
	Box  Box // nil: nothing is kept over a restart
}

// Box keeps small secrets over a restart.
type Box interface {
	Get(name string) (secret []byte, ok bool)
	// Put replaces a secret. It blocks for the disk; after an error there is the old
	// one, as far as is known.
	Put(name string, secret []byte) error
}

// Frames lets frames on the network be watched.
type Frames interface {
	// SetTap has tap called with the start of each frame that is received or about
	// to be sent, and its whole length; nil ends that. tap must neither block nor
	// keep the frame.
	SetTap(tap func(frame []byte, size int, sent bool))
}

// Crash is what an earlier run said as it died.
type Crash struct {
	Time  time.Time
	Build string
	Text  string // the beginning: what the panic was, and where
}

// Crashes keeps the last crash over a restart.
type Crashes interface {
	// Crash is the last one, or nil; why says why this run's would not be kept, or "".
	Crash() (last *Crash, why string)
}
