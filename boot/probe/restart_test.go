//go:build !ampoule

package probe

import (
	"testing"

	"ampoule/libos/rt/rtabi"
)

// dirty writes into all pages of a device's queues.
func dirty(f *fake, out *Result, i int) {
	for q := range out.Devices[i].NQueues {
		for _, p := range []uint64{out.Ports[i].Desc[q], uint64(out.Devices[i].Queues[q].Ring)} {
			for k := range f.ram[p : p+rtabi.PageSize] {
				f.ram[p+uint64(k)] = 0x77
			}
		}
	}
}

// A restarted device is as Start left it, on the same pages.
func TestRestart(t *testing.T) {
	mmio := newFake()
	net, rng := newVirtio(kindNet), newVirtio(kindEntropy)
	mmio.mmio[0xd0000000], mmio.mmio[0xd0001000] = net, rng
	fnNet, fnRNG := newFn(kindNet, 0xfe000000, 3), newFn(kindEntropy, 0xfe100000, 1)
	pci := fakeBus(map[function]*fakeFn{1 << 3: fnNet, 2 << 3: fnRNG})
	for _, c := range []struct {
		name    string
		f       *fake
		line    string
		devices []*fakeVirtio
	}{
		{"MMIO", mmio, "virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6", []*fakeVirtio{net, rng}},
		{"PCI", pci, "", []*fakeVirtio{fnNet.virtio, fnRNG.virtio}},
	} {
		var out Result
		req := testRequest()
		if code := Find(c.f.bus(), []byte(c.line), 0, req, &out); code != OK || out.NDevices != 2 {
			t.Fatalf("%s: %v, %d devices", c.name, code, out.NDevices)
		}
		for i, d := range c.devices {
			before, resets := out, d.resets
			dirty(c.f, &out, i)
			if code := Restart(c.f.bus(), req, &out, i); code != OK {
				t.Fatalf("%s: device %d: %v", c.name, i, code)
			}
			if out != before {
				t.Errorf("%s: device %d: the result changed", c.name, i)
			}
			if d.resets != resets+1 {
				t.Errorf("%s: device %d: %d resets", c.name, i, d.resets-resets)
			}
			checkLive(t, c.f, d, &out, i)
		}
	}
	checkMSIX(t, fnNet, 0x40, 0x41)
	checkMSIX(t, fnRNG, 0x42)
	for i, fn := range []*fakeFn{fnNet, fnRNG} {
		if len(fn.wrong) != 0 || fn.virtio.configVector != noVector {
			t.Errorf("PCI device %d: %q, vector %#x", i, fn.wrong, fn.virtio.configVector)
		}
		for q := range fn.virtio.max {
			if v := fn.virtio.queues[q].vector; v != uint16(q) {
				t.Errorf("PCI device %d: queue %d has entry %d", i, q, v)
			}
		}
	}
}

// A device that behaves otherwise the second time is stopped and forgotten.
func TestRestartFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fakeVirtio)
		want   Code
	}{
		{"no reset", func(d *fakeVirtio) { d.evil.neverResets = true }, ResetStuck},
		{"refuses", func(d *fakeVirtio) { d.evil.refuses = true }, FeaturesRefused},
		{"legacy", func(d *fakeVirtio) { d.features &^= 1 << 32 }, NoVersion1},
		{"other features", func(d *fakeVirtio) { d.features &^= 1 << 29 }, FeaturesRefused},
		{"smaller queue", func(d *fakeVirtio) { d.max[0] = 4 }, QueueMissing},
		{"no queue", func(d *fakeVirtio) { d.max[0] = 0 }, QueueMissing},
		{"busy queue", func(d *fakeVirtio) { d.evil.busyQueues = true }, QueueBusy},
		{"deaf queue", func(d *fakeVirtio) { d.evil.deafQueues = true }, QueueRefused},
		{"dies", func(d *fakeVirtio) { d.evil.dies = true }, NotLive},
	} {
		f := newFake()
		d := newVirtio(kindEntropy)
		d.features |= 1 << 29
		f.mmio[slotBase] = d
		var out Result
		req := testRequest()
		req.Wanted[1].Features = 1 << 29
		if code := Find(f.bus(), nil, 0, req, &out); code != OK || out.NDevices != 1 {
			t.Fatalf("%s: %v", c.name, code)
		}
		c.change(d)
		if code := Restart(f.bus(), req, &out, 0); code != c.want {
			t.Errorf("%s: %v, want %v", c.name, code, c.want)
		}
		if out.Devices[0] != (rtabi.Device{}) || out.Ports[0] != (Port{}) || out.NDevices != 1 {
			t.Errorf("%s: the device is still there", c.name)
		}
		if out.NFaults != 1 || out.Faults[0] != (Fault{c.want, InMMIO, slotBase}) {
			t.Errorf("%s: faults %+v", c.name, out.Faults[:out.NFaults])
		}
		if d.status == 15 || d.status == 15|statusNeedsReset {
			t.Errorf("%s: status %#x", c.name, d.status)
		}
	}
}

func TestRestartNoDevice(t *testing.T) {
	var out Result
	for _, n := range []int{0, 1, -1, rtabi.MaxDevices, 1 << 40} {
		if c := Restart(newFake().bus(), testRequest(), &out, n); c != NoDevice || out.NFaults != 0 {
			t.Errorf("device %d: %v", n, c)
		}
	}
}
