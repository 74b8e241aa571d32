//go:build !ampoule

package probe

import (
	"testing"

	"ampoule/libos/rt/rtabi"
)

func fakeBus(fns map[function]*fakeFn) *fake {
	f := newFake()
	f.pci = &fakePCI{fns: fns}
	return f
}

// checkMSIX checks the table: entries used have the vector, others are masked.
func checkMSIX(t *testing.T, fn *fakeFn, vectors ...uint32) {
	t.Helper()
	if c := fn.control(); c&(msixEnable|msixMaskAll) != msixEnable {
		t.Errorf("MSI-X control %#x", c)
	}
	for i := 0; i < len(fn.table)/16; i++ {
		e := fn.table[16*i:]
		if i >= len(vectors) {
			if get32(e[12:])&1 != 1 {
				t.Errorf("entry %d is not masked", i)
			}
			continue
		}
		if get32(e) != 0xfee00000 || get32(e[4:]) != 0 || get32(e[8:]) != vectors[i] || get32(e[12:]) != 0 {
			t.Errorf("entry %d: % x, want vector %d", i, e[:16], vectors[i])
		}
	}
}

func TestPCI(t *testing.T) {
	net, rng, far := newFn(kindNet, 0xfe000000, 3), newFn(kindEntropy, 0x3fffff0000, 1), newFn(kindNet, 0xfe100000, 1)
	put16(rng.cfg[cfgDevice:], 0x1005) // transitional
	put16(rng.cfg[cfgSubsystem:], kindEntropy)
	disk, host := newFn(kindBlock, 0xfe200000, 1), newBridge(0, 0)
	host.cfg[cfgHeader] = 0
	net.cfg[cfgHeader] = headerMulti
	f := fakeBus(map[function]*fakeFn{
		0: host, 1 << 3: net, 1<<3 | 7: rng,
		2 << 3: newBridge(1, 2), 1 << 8: newBridge(2, 2), 2<<8 | 31<<3: far, 31 << 3: disk,
	})
	var out Result
	bus := f.bus()
	if c := Scan(bus, nil, 0, testRequest(), &out); c != OK || out.NFound != 3 {
		t.Fatalf("Scan: %v, %d found", c, out.NFound)
	}
	if f.strays != 0 || len(net.virtio.wrong)+net.virtio.resets != 0 {
		t.Error("Scan touches device memory")
	}
	r := testRequest()
	r.Vectors = 4
	if c := Start(bus, r, &out); c != OK || out.NDevices != 3 {
		t.Fatalf("Start: %v, %+v", c, out.Faults[:out.NFaults])
	}
	for i, fn := range []*fakeFn{net, rng, far} {
		checkLive(t, f, fn.virtio, &out, i)
		if len(fn.wrong) != 0 {
			t.Errorf("device %d: %q", i, fn.wrong)
		}
		if c := fn.command(); c != commandMemory|commandMaster|commandNoINTx {
			t.Errorf("device %d: command %#x", i, c)
		}
		d, p := &out.Devices[i], &out.Ports[i]
		if d.Transport != rtabi.TransportPCI || p.ISR != 0 || p.GSI != 0 || p.NotifyWidth != 2 || fn.virtio.configVector != noVector {
			t.Errorf("device %d: %+v %+v", i, d, p)
		}
		for q := range d.NQueues {
			if p.Notify[q] != fn.bar(4)+fakeNotify+uint64(q)*fakeMul {
				t.Errorf("device %d: queue %d notified at %#x", i, q, p.Notify[q])
			}
		}
	}
	checkMSIX(t, net, 0x40, 0x41)
	checkMSIX(t, rng, 0x42)
	checkMSIX(t, far, 0x43)
	if net.virtio.queues[1].vector != 1 || far.virtio.queues[1].vector != 0 || out.Ports[2].Vector[1] != 0x43 {
		t.Errorf("vectors: %+v, %+v, %v", net.virtio.queues[:2], far.virtio.queues[:2], out.Ports[2].Vector)
	}
	if out.Devices[2].Bus != 2<<8|31<<3 || out.NPages != 3 || out.Pages[1] != 0x3fffff3000 {
		t.Errorf("bus %#x, pages %#x", out.Devices[2].Bus, out.Pages[:out.NPages])
	}
	if disk.command()&commandMaster != 0 {
		t.Error("a device that is not wanted may still master the bus")
	}
}

func TestPCIVectors(t *testing.T) {
	for _, c := range []struct {
		first, n uint8
		want     Code
		vector   [2]uint8
	}{
		{0x40, 0, NoVector, [2]uint8{}},
		{0xf0, 17, NoVector, [2]uint8{}},
		{0xf0, 16, OK, [2]uint8{0xf0, 0xf1}},
		{0xf0, 1, OK, [2]uint8{0xf0, 0xf0}},
	} {
		r := testRequest()
		r.Vector, r.Vectors = c.first, c.n
		var out Result
		f := fakeBus(map[function]*fakeFn{8: newFn(kindNet, 0xfe000000, 1024)})
		if code := Find(f.bus(), nil, 0, r, &out); code != c.want {
			t.Errorf("%d from %#x: %v", c.n, c.first, code)
		}
		if v := out.Ports[0].Vector; [2]uint8{v[0], v[1]} != c.vector {
			t.Errorf("%d from %#x: %#x", c.n, c.first, v)
		}
	}
}

// TestPCIMalformed has one bad function ahead of a good one, which must start.
func TestPCIMalformed(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(*fakeFn)
		want Code
	}{
		{"loop", func(f *fakeFn) { f.cfg[0x71] = 0x50 }, CapLoop},
		{"self loop", func(f *fakeFn) { f.cfg[0x41] = 0x40 }, CapLoop},
		{"capability in the header", func(f *fakeFn) { f.cfg[0x41] = 0x10 }, CapRange},
		{"first in the header", func(f *fakeFn) { f.cfg[cfgCapPtr] = 0x3c }, CapRange},
		{"beyond the space", func(f *fakeFn) {
			f.cfg[0x85] = 0xf8
			f.cap(0xf8-0x10, 0, 0, 0, 0)
			copy(f.cfg[0xf8:], []byte{capVendor, 0, 16, 1})
		}, CapRange},
		{"MSI-X beyond the space", func(f *fakeFn) { f.cfg[0x71] = 0xf8; copy(f.cfg[0xf8:], []byte{capMSIX, 0}) }, CapRange},
		{"too short", func(f *fakeFn) { f.cfg[0x42] = 15 }, CapRange},
		{"notify too short", func(f *fakeFn) { f.cfg[0x72] = 16 }, CapRange},
		{"no capabilities", func(f *fakeFn) { put16(f.cfg[6:], 0) }, LegacyPCI},
		{"no common", func(f *fakeFn) { f.cfg[cfgCapPtr] = 0x50 }, CapMissing},
		{"no notify", func(f *fakeFn) { f.cfg[0x73] = 5 }, CapMissing},
		{"reserved BAR", func(f *fakeFn) { f.cfg[0x44] = 6 }, CapMissing},
		{"no MSI-X", func(f *fakeFn) { f.cfg[0x71] = 0 }, NoMSIX},
		{"MSI-X in a reserved BAR", func(f *fakeFn) { f.cfg[0x88] = 7 }, BARRange},
		{"MSI-X table too large", func(f *fakeFn) { put16(f.cfg[0x86:], 0x7ff) }, BARRange},
		{"BAR unassigned", func(f *fakeFn) { put32(f.cfg[0x20:], 12); put32(f.cfg[0x24:], 0) }, BARUnassigned},
		{"BAR absent", func(f *fakeFn) { f.cfg[0x44] = 0 }, BARUnassigned},
		{"port BAR", func(f *fakeFn) { put32(f.cfg[0x10:], 0xc001); f.cfg[0x44] = 0 }, BARPort},
		{"64-bit BAR 5", func(f *fakeFn) { put32(f.cfg[0x24:], 0xfe00000c); f.cfg[0x44] = 5 }, BARRange},
		{"BAR that is not aligned", func(f *fakeFn) { put32(f.cfg[0x20:], 0xfe00100c) }, BARRange},
		{"BAR without size", func(f *fakeFn) { put32(f.cfg[0x10:], 0xfe100000); f.cfg[0x44] = 0 }, BARRange},
		{"structure beyond the BAR", func(f *fakeFn) { put32(f.cfg[0x68:], fakeBAR-0xfc) }, BARRange},
		{"offset beyond the BAR", func(f *fakeFn) { put32(f.cfg[0x68:], 0xfffffffc) }, BARRange},
		{"length beyond all", func(f *fakeFn) { put32(f.cfg[0x7c:], 0xffffffff) }, BARRange},
		{"unaligned structure", func(f *fakeFn) { put32(f.cfg[0x48:], 2) }, BARRange},
		{"common too short", func(f *fakeFn) { put32(f.cfg[0x4c:], 0x37) }, BARRange},
		{"vector refused", func(f *fakeFn) { f.virtio.evil.noVectors = true }, VectorRefused},
		{"notify offset", func(f *fakeFn) { f.virtio.evil.setNotifyOff, f.virtio.evil.notifyOff = true, 0x40 }, NotifyRange},
		{"notify multiplier", func(f *fakeFn) { put32(f.cfg[0x80:], 0xffffffff) }, NotifyRange},
		{"odd notify address", func(f *fakeFn) { put32(f.cfg[0x80:], 1) }, NotifyRange},
		{"no notify region", func(f *fakeFn) { put32(f.cfg[0x7c:], 1) }, NotifyRange},
	} {
		t.Run(c.name, func(t *testing.T) { testBadFn(t, c.bad, c.want) })
	}
	for _, c := range failures {
		t.Run(c.name, func(t *testing.T) {
			testBadFn(t, func(f *fakeFn) { c.evil(f.virtio) }, c.want)
		})
	}
}

func testBadFn(t *testing.T, bad func(*fakeFn), want Code) {
	net, rng := newFn(kindNet, 0xfe000000, 3), newFn(kindEntropy, 0xfe100000, 2)
	bad(net)
	f := fakeBus(map[function]*fakeFn{8: net, 16: rng})
	var out Result
	code := Find(f.bus(), nil, 0, testRequest(), &out)
	if code != want || out.NFaults != 1 || out.Faults[0] != (Fault{want, InPCI, 8}) {
		t.Errorf("got %v, %+v; want %v", code, out.Faults[:out.NFaults], want)
	}
	if net.command()&commandMaster != 0 {
		t.Error("the bad device may master the bus")
	}
	if out.NDevices != 1 {
		t.Fatalf("%d devices", out.NDevices)
	}
	checkLive(t, f, rng.virtio, &out, 0)
	if want == VectorRefused || want == NotifyRange {
		if s := net.virtio.status; s != 0 {
			t.Errorf("the bad device is left with status %#x", s)
		}
	}
	if f.strays != 0 || len(net.wrong) != 0 {
		t.Errorf("%d strays, %q", f.strays, net.wrong)
	}
}

// TestBridges has bridges that would send a scan round in circles or on for
// ever.
func TestBridges(t *testing.T) {
	for _, c := range []struct {
		name   string
		fns    map[function]*fakeFn
		faults uint32
	}{
		{"not set up", map[function]*fakeFn{8: newBridge(0, 0)}, 0},
		{"backwards", map[function]*fakeFn{8: newBridge(2, 2), 2 << 8: newBridge(1, 1)}, 1},
		{"to itself", map[function]*fakeFn{8: newBridge(2, 2), 2 << 8: newBridge(2, 2)}, 1},
		{"twice", map[function]*fakeFn{8: newBridge(2, 2), 16: newBridge(2, 2)}, 1},
		{"empty range", map[function]*fakeFn{8: newBridge(2, 1)}, 1},
	} {
		var out Result
		f := fakeBus(c.fns)
		Find(f.bus(), nil, 0, testRequest(), &out)
		if out.NFaults != c.faults || c.faults != 0 && out.Faults[0].Code != BridgeRange {
			t.Errorf("%s: %+v", c.name, out.Faults[:out.NFaults])
		}
	}
	many := map[function]*fakeFn{}
	for b := function(0); b < 255; b++ {
		many[b<<8] = newBridge(byte(b+1), 255)
	}
	var out Result
	if c := Find(fakeBus(many).bus(), nil, 0, testRequest(), &out); c != BridgeRange || out.NFaults != 1 {
		t.Errorf("255 buses: %v, %d faults", c, out.NFaults)
	}
}

// FuzzCaps has a function with any configuration space. Whatever comes of it
// must lie inside a BAR, and nothing else may be touched.
func FuzzCaps(f *testing.F) {
	good := newFn(kindNet, 0xfe000000, 3)
	f.Add(good.cfg[:], uint8(15))
	loop := *good
	loop.cfg[0x71] = 0x50
	f.Add(loop.cfg[:], uint8(12))
	f.Fuzz(func(t *testing.T, cfg []byte, bits uint8) {
		net := newFn(kindNet, 0, 1024)
		copy(net.cfg[:], cfg)
		put16(net.cfg[0:], 0x1af4)
		put16(net.cfg[2:], 0x1041)
		net.cfg[cfgHeader] = 0
		net.msix = 0
		for i := 0; i < 6; i++ { // a BAR's bits below its size are fixed
			net.barSize[i] = 1 << (4 + (bits+uint8(i))%32)
			reg := net.cfg[cfgBAR0+4*i:]
			low := get32(reg)
			put32(reg, low&uint32(-net.barSize[i])|low&0xf)
			if low&(barPort|barType) == barType64 && i < 5 {
				put32(reg[4:], get32(reg[4:])&uint32(-net.barSize[i]>>32))
				i++
				net.barSize[i] = 0
			}
		}
		var found Found
		m := &fake{pci: &fakePCI{fns: map[function]*fakeFn{8: net}}}
		before := net.cfg
		c := found.describe(m.bus(), 8)
		if net.cfg != before {
			t.Errorf("the configuration space is left changed")
		}
		if m.loads != 0 || m.strays != 0 {
			t.Error("describing a device touches memory")
		}
		if c != OK {
			return
		}
		for i, r := range found.Regions {
			inside := r.Len == 0
			for b := range 6 {
				if a := net.bar(b); a != 0 && r.Addr >= a && r.Addr+r.Len <= a+net.barSize[b] {
					inside = true
				}
			}
			if !inside || r.Addr+r.Len < r.Addr {
				t.Errorf("region %d %+v lies outside all BARs", i, r)
			}
		}
	})
}
