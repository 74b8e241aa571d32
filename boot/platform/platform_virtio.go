//go:build ampoule && !xen

package platform

import (
	"context"

	_ "ampoule/boot/pvh" // entry point, gate, address space
	"ampoule/drivers/virtio"
	virtioblk "ampoule/drivers/virtio/blk"
	virtionet "ampoule/drivers/virtio/net"
	"ampoule/libos/console"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
	"ampoule/libos/pvboot"
	"ampoule/libos/rt/rtabi"
)

// Open takes over the machine as boot left it: a VM with virtio devices. It
// must be called once.
func Open() (*pvboot.Machine, error) {
	info := bootInfo()
	g := gate{new(calls)}
	m := &pvboot.Machine{
		Platform: g,
		Name:     "virtio",
		Memory:   info.RAM,
		Command:  string(info.Command[:info.CommandLen]),
		Clock:    clock{},
		Entropy:  entropy{},
		Console:  console.New(console.Words(ampConsole)),
		Pool:     iopage.NewPool(region(info.IO, info.IOSize)),
		Calls:    g.read,
	}
	for i := range info.Devices[:info.NDevices] {
		d, err := open(i, &info.Devices[i], g, m.Pool)
		if err != nil {
			format.Fprintf(m.Console, "warning: device %d: %v\n", i, err)
			continue
		}
		if d != nil {
			m.Devices = append(m.Devices, d)
		}
	}
	return m, nil
}

// open makes the driver of a device: one line for each kind there is.
func open(i int, d *rtabi.Device, g gate, pool *iopage.Pool) (device.Device, error) {
	t := virtio.NewDevice(d, g)
	switch d.Kind {
	case virtio.NetworkCard:
		return virtionet.New(format.Sprint("net", i), t, pool, virtionet.Config{Constants: constants()})
	case virtio.EntropySource, virtio.BlockDevice:
		return nil, nil // boot has drawn the seed; Disk opens a disk
	}
	return nil, format.Errorf("virtio device of kind %d has no driver", d.Kind)
}

// Disk opens the first disk, a device.LastWords, and adds it to the devices of a
// machine from Open; nil: there is none. It must be called once. The driver is in those images only
// that call this.
func Disk(_ context.Context, m *pvboot.Machine) (device.Block, error) {
	info := bootInfo()
	for i := range info.Devices[:info.NDevices] {
		if info.Devices[i].Kind != virtio.BlockDevice {
			continue
		}
		t := virtio.NewDevice(&info.Devices[i], m.Platform.(gate))
		d, err := virtioblk.New(format.Sprint("disk", i), t, m.Pool, virtioblk.Config{})
		if err != nil {
			return nil, err
		}
		m.Devices = append(m.Devices, d)
		return lasting{d}, nil
	}
	return nil, nil
}

// gate is the way to the gate's queue operations.
type gate struct{ *calls }

func (gate) Post(queue uint32, n int) { ampGate(rtabi.GatePost, uintptr(queue), uintptr(n)) }

func (g gate) Notify(queue uint32) {
	g.notifies.Add(1)
	ampGate(rtabi.GateNotify, uintptr(queue), 0)
}

func (g gate) Give(queue uint32, n int, index, from uint16) bool {
	what := uintptr(n) | uintptr(index)<<rtabi.GiveIndex | uintptr(from)<<rtabi.GiveFrom
	notified := ampGate(rtabi.GateGive, uintptr(queue), what)
	g.notifies.Add(uint64(notified))
	return notified != 0
}
