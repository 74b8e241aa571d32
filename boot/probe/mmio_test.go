//go:build !ampoule

package probe

import (
	"bytes"
	"testing"

	"ampoule/libos/rt/rtabi"
)

func testRequest() *Request {
	return &Request{
		Wanted: [MaxWanted]Wanted{
			{kindNet, 1<<5 | 1<<28 | 1<<29 | 1<<33 | 1<<34 | 1<<35 | 1<<37 | 1<<38 | 1<<41},
			{kindEntropy, 0},
		},
		Vector:  0x40,
		Vectors: 16,
		Desc:    PageAlloc{0x100000, 0x110000},
		Ring:    PageAlloc{0x200000, 0x210000},
	}
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// checkLive compares what a device was told with what Find reports.
func checkLive(t *testing.T, f *fake, d *fakeVirtio, out *Result, i int) {
	t.Helper()
	if len(d.wrong) != 0 {
		t.Errorf("device %d: %q", i, d.wrong)
	}
	dev, p := &out.Devices[i], &out.Ports[i]
	if d.status != 15 {
		t.Errorf("device %d: status %#x, want 0xf", i, d.status)
	}
	if dev.Kind != d.kind || dev.Features != d.accepted || dev.NQueues != queueCount(d.kind) {
		t.Errorf("device %d: %+v does not match accepted features %#x", i, dev, d.accepted)
	}
	for q := uint32(0); q < rtabi.MaxQueues; q++ {
		rq, dq := dev.Queues[q], d.queues[q]
		if q >= dev.NQueues {
			if rq != (rtabi.Queue{}) || dq.enabled != 0 {
				t.Errorf("device %d: queue %d exists: %+v %+v", i, q, rq, dq)
			}
			continue
		}
		if rq.Size != dq.size || dq.size&(dq.size-1) != 0 || dq.size > min(d.max[q], rtabi.MaxQueueSize) || 2*dq.size <= min(d.max[q], rtabi.MaxQueueSize) {
			t.Errorf("device %d: queue %d has size %d, device has %d of %d", i, q, rq.Size, dq.size, d.max[q])
		}
		if dq.enabled != 1 || dq.desc != p.Desc[q] || dq.avail != uint64(rq.Ring) || dq.used != uint64(rq.Ring)+rtabi.QueueUsedOff {
			t.Errorf("device %d: queue %d: %+v, device has %+v", i, q, rq, dq)
		}
		if rq.ID != uint32(i)*rtabi.MaxQueues+q || p.NotifyValue[q] != q {
			t.Errorf("device %d: queue %d: ID %d, notify %d", i, q, rq.ID, p.NotifyValue[q])
		}
		if !zero(f.ram[dq.desc:dq.desc+4096]) || !zero(f.ram[rq.Ring:rq.Ring+4096]) {
			t.Errorf("device %d: queue %d: pages not cleared", i, q)
		}
	}
}

func TestMMIO(t *testing.T) {
	f := newFake()
	net, rng, blk := newVirtio(kindNet), newVirtio(kindEntropy), newVirtio(kindBlock)
	f.mmio[0xd0000000], f.mmio[0xd0001000], f.mmio[0xd0002000] = net, rng, blk
	line := []byte("console=off virtio_mmio.device=4K@0xd0000000:5 x=y virtio_mmio.device=4K@0xd0001000:6:1 virtio_mmio.device=4K@0xd0002000:7")
	var out Result
	if c := Find(f.bus(), line, 0, testRequest(), &out); c != OK {
		t.Fatalf("Find: %v, %+v", c, out.Faults[:out.NFaults])
	}
	if out.NDevices != 2 || out.NPages != 2 || out.Pages[0] != 0xd0000000 || out.Pages[1] != 0xd0001000 {
		t.Fatalf("%d devices, pages %#x", out.NDevices, out.Pages[:out.NPages])
	}
	checkLive(t, f, net, &out, 0)
	checkLive(t, f, rng, &out, 1)
	if want := uint64(1<<32 | 1<<29 | 1<<5); net.accepted != want {
		t.Errorf("net features %#x, want %#x", net.accepted, want)
	}
	d, p := &out.Devices[0], &out.Ports[0]
	if d.Transport != rtabi.TransportMMIO || d.Bus != 0xd0000000 || d.ConfigLen != 24 || !bytes.HasPrefix(d.Config[:], net.config) {
		t.Errorf("net: %+v", d)
	}
	if p.GSI != 5 || p.ISR != 0xd0000060 || p.ISRAck != 0xd0000064 || p.NotifyWidth != 4 ||
		p.Notify[0] != 0xd0000050 || p.Notify[1] != 0xd0000050 || p.Vector != [rtabi.MaxQueues]uint8{} {
		t.Errorf("net port: %+v", p)
	}
	if out.Ports[1].GSI != 6 || out.Devices[1].ConfigLen != 0 {
		t.Errorf("rng: %+v %+v", out.Devices[1], out.Ports[1])
	}
	if blk.status != 0 || blk.resets != 1 {
		t.Errorf("a device that is not wanted keeps running: status %#x", blk.status)
	}
	if f.strays != 0 {
		t.Errorf("%d accesses to nothing", f.strays)
	}
}

// TestSlots has QEMU's microvm without a device on the command line.
func TestSlots(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Platform)
		slot uint64
		gsi  uint32
	}{
		{"no ACPI", func(*Platform) {}, 7, 12},
		{"one IOAPIC", func(p *Platform) { p.ACPI = true }, 7, 23},
		{"two IOAPICs", func(p *Platform) {
			p.ACPI, p.NIOAPIC, p.IOAPIC[1] = true, 2, IOAPIC{0xfec10000, 24}
		}, 23, 47},
	} {
		f := newFake()
		for i := uint64(0); i < c.slot; i++ {
			f.mmio[slotBase+i*512] = newVirtio(0)
		}
		net := newVirtio(kindNet)
		f.mmio[slotBase+c.slot*512] = net
		out := Result{Platform: Platform{NIOAPIC: 1}}
		c.set(&out.Platform)
		scanSlots(f.bus(), testRequest(), &out)
		if code := Start(f.bus(), testRequest(), &out); code != OK || out.NDevices != 1 {
			t.Fatalf("%s: %v, %d devices", c.name, code, out.NDevices)
		}
		checkLive(t, f, net, &out, 0)
		if out.Ports[0].GSI != c.gsi || f.strays != 0 {
			t.Errorf("%s: GSI %d, want %d; %d strays", c.name, out.Ports[0].GSI, c.gsi, f.strays)
		}
	}
}

// TestNamedOnly checks that a command line with devices keeps the probe from
// guessing.
func TestNamedOnly(t *testing.T) {
	f := newFake()
	f.mmio[0xd0000000], f.mmio[slotBase] = newVirtio(kindNet), newVirtio(kindNet)
	var out Result
	if c := Find(f.bus(), []byte("virtio_mmio.device=0x200@0xd0000000:5"), 0, testRequest(), &out); c != OK || out.NDevices != 1 {
		t.Fatalf("%v, %d devices", c, out.NDevices)
	}
}

var failures = []struct {
	name string
	evil func(*fakeVirtio)
	want Code
}{
	{"status never resets", func(d *fakeVirtio) { d.evil.neverResets = true }, ResetStuck},
	{"no VERSION_1", func(d *fakeVirtio) { d.features = 1 << 5 }, NoVersion1},
	{"features refused", func(d *fakeVirtio) { d.evil.refuses = true }, FeaturesRefused},
	{"restless configuration", func(d *fakeVirtio) { d.evil.restless = true }, ConfigUnstable},
	{"queue max 0", func(d *fakeVirtio) { d.max = []uint32{256, 0} }, QueueMissing},
	{"no queue", func(d *fakeVirtio) { d.max = nil }, QueueMissing},
	{"queue busy", func(d *fakeVirtio) { d.evil.busyQueues = true }, QueueBusy},
	{"queue deaf", func(d *fakeVirtio) { d.evil.deafQueues = true }, QueueRefused},
	{"needs reset", func(d *fakeVirtio) { d.evil.dies = true }, NotLive},
}

// TestMMIOFailures has one bad device ahead of a good one, which must start.
func TestMMIOFailures(t *testing.T) {
	cases := append(failures[:len(failures):len(failures)], []struct {
		name string
		evil func(*fakeVirtio)
		want Code
	}{
		{"bad magic", func(d *fakeVirtio) { d.magic = 1 }, NoDevice},
		{"bad version", func(d *fakeVirtio) { d.version = 3 }, NoDevice},
		{"legacy", func(d *fakeVirtio) { d.version = 1 }, LegacyMMIO},
	}...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			bad, rng := newVirtio(kindNet), newVirtio(kindEntropy)
			c.evil(bad)
			f.mmio[0xd0000000], f.mmio[0xd0001000] = bad, rng
			var out Result
			code := Find(f.bus(), []byte("virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6"), 0, testRequest(), &out)
			if code != c.want || out.NFaults != 1 || out.Faults[0] != (Fault{c.want, InMMIO, 0xd0000000}) {
				t.Errorf("got %v, %+v; want %v", code, out.Faults[:out.NFaults], c.want)
			}
			if out.NDevices != 1 {
				t.Fatalf("%d devices", out.NDevices)
			}
			checkLive(t, f, rng, &out, 0)
			if bad.version == 2 && bad.magic == magicValue && bad.status != 0 && !bad.evil.neverResets {
				t.Errorf("the bad device is left with status %#x", bad.status)
			}
		})
	}
}

func TestConfigSettles(t *testing.T) {
	f := newFake()
	net := newVirtio(kindNet)
	net.evil.settles = 5
	f.mmio[0xd0000000] = net
	var out Result
	if c := Find(f.bus(), []byte("virtio_mmio.device=4K@0xd0000000:5"), 0, testRequest(), &out); c != OK {
		t.Fatal(c)
	}
	checkLive(t, f, net, &out, 0)
}

func TestNoPages(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Request)
	}{
		{"desc", func(r *Request) { r.Desc.End = r.Desc.Next + 4096 }},
		{"ring", func(r *Request) { r.Ring.End = r.Ring.Next + 8191 }},
		{"unaligned", func(r *Request) { r.Ring.Next++ }},
		{"backwards", func(r *Request) { r.Desc.End = 0 }},
	} {
		f := newFake()
		f.mmio[0xd0000000] = newVirtio(kindNet)
		var out Result
		r := testRequest()
		c.set(r)
		if code := Find(f.bus(), []byte("virtio_mmio.device=4K@0xd0000000:5"), 0, r, &out); code != NoPages || out.NDevices != 0 {
			t.Errorf("%s: %v, %d devices", c.name, code, out.NDevices)
		}
		if out.Devices[0] != (rtabi.Device{}) || out.Ports[0] != (Port{}) {
			t.Errorf("%s: a failed device leaves traces: %+v", c.name, out.Devices[0])
		}
	}
}

func TestTooManyDevices(t *testing.T) {
	f := newFake()
	var line []byte
	for i := range 10 {
		f.mmio[0xd0000000+uint64(i)<<12] = newVirtio(kindEntropy)
		line = append(line, " virtio_mmio.device=4K@0xd000"+string(rune('0'+i))+"000:5"...)
	}
	var out Result
	r := testRequest()
	if c := Find(f.bus(), line, 0, r, &out); c != TooManyDevices || out.NDevices != rtabi.MaxDevices || out.NFaults != 2 {
		t.Errorf("%v, %d devices, %d faults", c, out.NDevices, out.NFaults)
	}
	for i := uint64(8); i < 10; i++ {
		if d := f.mmio[0xd0000000+i<<12]; d.status != 0 {
			t.Errorf("device %d is left with status %#x", i, d.status)
		}
	}
}
