// Package pvboot holds the description of the machine an appliance runs on, as
// boot found it. boot/platform fills it in, one way per target.
package pvboot

import (
	"context"
	"io"
	"net/netip"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// Clock tells the time. It never blocks.
type Clock interface {
	// Monotonic is the time since boot in ns. It never goes back.
	Monotonic() int64
	// Wall is the time since 1970-01-01 UTC.
	Wall() (sec int64, nsec int32)
}

// Machine is one virtual machine. Everything in it lives as long as it does.
type Machine struct {
	Name    string          // of the platform: "virtio", "xen"
	Memory  uint64          // bytes of RAM
	Command string          // the kernel command line, as the hypervisor gave it
	Clock   Clock           // nil: package time is all there is
	Entropy io.Reader       // cryptographically secure; any goroutine may read
	Console io.Writer       // any goroutine may write; one Write is one piece
	Devices []device.Device // in the order in which boot found them
	Pool    *iopage.Pool    // the I/O pages that the devices share

	// WaitNet waits for a first network device where one may be attached to the
	// running VM; nil where none ever is.
	WaitNet func(context.Context) (device.Net, error)
	// Requests delivers what the hypervisor asks of the VM; nil where it never
	// asks. Each is acknowledged already.
	Requests <-chan Request
	// Announce tells the hypervisor's tools who the VM is; nil where nobody
	// reads it. It may block for seconds.
	Announce func(name string, addresses []netip.Prefix) error
	// Restart ends the VM in a way that makes the hypervisor start it again.
	// nil: there is no such way, and exiting is all.
	Restart func()
	// Calls counts what was asked of the hypervisor; nil where nobody counts.
	Calls func() Calls
	// Platform is what boot/platform needs again; nobody else's business.
	Platform any
}

// Calls are exits to the hypervisor since boot, as far as the program asked for
// them: on Xen each is one hypercall.
type Calls struct {
	Sleeps   uint64 // of the whole VM
	Notifies uint64 // of devices and backends
}

// Request is something that the hypervisor asks of the VM.
type Request uint8

// Requests.
const (
	PowerOff Request = iota
	Restart
)

// Net is the first network device, or nil.
func (m *Machine) Net() device.Net {
	for _, d := range m.Devices {
		if n, ok := d.(device.Net); ok {
			return n
		}
	}
	return nil
}
