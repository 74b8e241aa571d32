// Package pvboot holds the description of the machine an appliance runs on, as
// boot found it. boot/platform fills it in, one way per target.
package pvboot

import (
	"io"

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
}

// Net is the first network device, or nil.
func (m *Machine) Net() device.Net {
	for _, d := range m.Devices {
		if n, ok := d.(device.Net); ok {
			return n
		}
	}
	return nil
}
