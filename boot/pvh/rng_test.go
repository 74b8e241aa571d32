//go:build !ampoule

package pvh

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

// fakeRNG is a virtio-rng device on virtio-mmio (virtio 1.2, sections 4.2.2 and
// 5.4). answer fills in the buffer and gives the used entry and how far the
// used index moves; without it the device never answers.
type fakeRNG struct {
	hw       *hardware
	answer   func(p []byte) (id, n uint32, step uint16)
	features uint64
	status   uint32
	regs     [64]uint32 // by offset/4: what was written
	ready    bool
	resets   int
	asked    []int // buffer sizes
	irqs     int
	idx      uint16
	seen     uint16
	given    []byte
}

func (f *fakeRNG) load(off uint64) uint64 {
	switch off {
	case 0x000:
		return 0x74726976
	case 0x004:
		return 2
	case 0x008:
		return kindEntropy
	case 0x010:
		return f.features >> (32 * f.regs[0x14/4]) & 0xffffffff
	case 0x034:
		return 8
	case 0x044:
		if f.ready {
			return 1
		}
		return 0
	case 0x070:
		return uint64(f.status)
	}
	return 0
}

func (f *fakeRNG) store(off uint64, v uint32) {
	f.regs[off/4] = v
	switch off {
	case 0x044:
		f.ready = v == 1
	case 0x050:
		f.notify()
	case 0x070:
		f.status = v
		if v == 0 {
			f.resets++
			f.ready, f.idx, f.seen = false, 0, 0
		}
	}
}

func (f *fakeRNG) addr(reg int) uint64 { return uint64(f.regs[reg/4]) | uint64(f.regs[reg/4+1])<<32 }

// notify serves what is available, as a device would.
func (f *fakeRNG) notify() {
	mem, desc, avail, used := f.hw.mem, f.addr(0x80), f.addr(0x90), f.addr(0xa0)
	if f.status != 15 || !f.ready {
		f.hw.t.Error("notified before it was live")
	}
	for ; f.seen != uint16(mem.load32(avail)>>16); f.seen++ {
		id := uint64(f.hw.load(avail+4+2*uint64(f.seen%8), 2))
		if id != 0 || mem.load(desc+8)>>32 != rtabi.DescWrite {
			f.hw.t.Errorf("descriptor %d, flags and next %#x", id, mem.load(desc+8)>>32)
		}
		n := mem.load32(desc + 8)
		f.asked = append(f.asked, int(n))
		if f.answer == nil {
			continue
		}
		b := mem.bytes(mem.load(desc), int(n))
		rid, rn, step := f.answer(b)
		f.given = append(f.given, b[:min(rn, n)]...)
		slot := used + 4 + 8*uint64(f.idx%8)
		mem.store32(slot, rid)
		mem.store32(slot+4, rn)
		event := uint16(f.hw.load(avail+4+2*8, 2))
		if f.idx == event || f.features&(1<<29) == 0 && mem.load32(avail)&1 == 0 {
			f.irqs++
		}
		f.idx += step
		f.hw.store(used+2, 2, uint64(f.idx))
	}
}

// honest fills at most n bytes of each request.
func honest(n int) func(p []byte) (uint32, uint32, uint16) {
	r := rand.NewChaCha8([32]byte{7})
	return func(p []byte) (uint32, uint32, uint16) {
		p = p[:min(len(p), n)]
		r.Read(p)
		return 0, uint32(len(p)), 1
	}
}

// withRNG starts a machine with a device.
func withRNG(t *testing.T, answer func(p []byte) (uint32, uint32, uint16)) (*machine, *fakeRNG) {
	m, hw := newMachine(t)
	hw.rng = &fakeRNG{hw: hw, features: 1<<29 | 1<<32, answer: answer}
	m.tscKHz = 1e3 // the limit comes soon
	if f := m.findDevices(); f != failNone || found.NDevices != 1 {
		t.Fatalf("findDevices: %v, %d devices, console %q", f, found.NDevices, hw.console)
	}
	return m, hw.rng
}

// answers are the ways of a device to answer.
type answers struct {
	name   string
	answer func([]byte) (uint32, uint32, uint16)
	asked  int // requests
	good   bool
}

func allAnswers() []answers {
	fixed := func(id, n uint32, step uint16, fill byte) func([]byte) (uint32, uint32, uint16) {
		return func(p []byte) (uint32, uint32, uint16) {
			for i := range p {
				p[i] = fill
			}
			return id, n, step
		}
	}
	random := func(id, n uint32, step uint16) func([]byte) (uint32, uint32, uint16) {
		fill := honest(64)
		return func(p []byte) (uint32, uint32, uint16) {
			fill(p)
			return id, n, step
		}
	}
	part := honest(64)
	return []answers{
		{"all at once", honest(64), 1, true},
		{"in pieces", honest(24), 3, true},
		{"byte by byte", honest(1), 64, true},
		{"length 0", random(0, 0, 1), 1, false},
		{"too long", random(0, 65, 1), 1, false},
		{"far too long", random(0, 1<<31, 1), 1, false},
		{"too long later", func(p []byte) (uint32, uint32, uint16) { part(p); return 0, 40, 1 }, 2, false},
		{"writes nothing", func([]byte) (uint32, uint32, uint16) { return 0, 64, 1 }, 1, false},
		{"all zero", fixed(0, 64, 1, 0), 1, false},
		{"all ones", fixed(0, 64, 1, 0xff), 1, false},
		{"repeats", fixed(0, 64, 1, 0x5a), 1, false},
		{"other descriptor", random(1, 64, 1), 1, false},
		{"index jumps", random(0, 64, 2), 1, false},
		{"index goes back", random(0, 64, 0xffff), 1, false},
		{"index stays", random(0, 64, 0), 1, false},
		{"no answer", nil, 1, false},
	}
}

func TestStirDevice(t *testing.T) {
	for _, tc := range allAnswers() {
		t.Run(tc.name, func(t *testing.T) {
			m, d := withRNG(t, tc.answer)
			before := m.pages.next
			if good := m.stirDevice(0); good != tc.good {
				t.Errorf("good: %v, want %v", good, tc.good)
			}
			var want [64]byte
			if tc.good {
				copy(want[:], d.given)
			}
			if m.info.Random != want {
				t.Errorf("seed % x, want % x", m.info.Random, want)
			}
			if len(d.asked) != tc.asked {
				t.Errorf("asked for %v, want %d requests", d.asked, tc.asked)
			}
			checkRestarted(t, m, d, before)
		})
	}
}

// checkRestarted looks for traces of boot's use: there must be none.
func checkRestarted(t *testing.T, m *machine, d *fakeRNG, page uint64) {
	t.Helper()
	if d.status != 15 || !d.ready || d.resets != 2 || d.irqs != 0 {
		t.Errorf("device left with status %d, ready %v, after %d resets and %d interrupts", d.status, d.ready, d.resets, d.irqs)
	}
	if d.addr(0x80) != found.Ports[0].Desc[0] || d.addr(0x90) != uint64(found.Devices[0].Queues[0].Ring) {
		t.Error("the device has other pages than before")
	}
	for _, p := range []uint64{page, found.Ports[0].Desc[0], uint64(found.Devices[0].Queues[0].Ring)} {
		for _, c := range m.tables.mem.bytes(p, layout.Page) {
			if c != 0 {
				t.Errorf("page %#x is not clear", p)
				break
			}
		}
	}
	if m.mapDevices(); m.info.Devices[0].Kind != kindEntropy || m.info.Devices[0].Queues[0].Ring < sharedAt {
		t.Errorf("ring 3 sees %+v", m.info.Devices[0])
	}
}

// A device that does not come back is given up, with a line that says so; what
// it gave before still counts.
func TestStirDeviceGone(t *testing.T) {
	m, d := withRNG(t, nil)
	fill := honest(64)
	d.answer = func(p []byte) (uint32, uint32, uint16) {
		d.features = 0
		return fill(p)
	}
	if !m.stirDevice(0) {
		t.Error("its bytes did not count")
	}
	if found.Devices[0] != (rtabi.Device{}) || found.Ports[0] != (probe.Port{}) {
		t.Error("the device is still there")
	}
	if got := string(d.hw.console); !strings.HasPrefix(got, "ampoule: warning: virtio-mmio 0xfeb00000: ") || strings.Count(got, "\n") != 1 {
		t.Errorf("console %q", got)
	}
	if d.status == 15 {
		t.Error("the device runs on")
	}
}

// Without a page there is no request.
func TestStirDeviceNoPage(t *testing.T) {
	m, d := withRNG(t, honest(64))
	m.pages.end = m.pages.next
	if m.stirDevice(0) || len(d.asked) != 0 {
		t.Error("asked without a page")
	}
}

// PCI devices are notified with 16 bits.
func TestNotifyWidth(t *testing.T) {
	_, hw := newMachine(t)
	hw.mem.store(0x3000, ^uint64(0))
	notify(&probe.Port{Notify: [4]uint64{0x3000}, NotifyValue: [4]uint32{5}, NotifyWidth: 2})
	notify(&probe.Port{Notify: [4]uint64{0x3004}, NotifyValue: [4]uint32{6}, NotifyWidth: 4})
	if got := hw.mem.load(0x3000); got != 0x6ffff0005 {
		t.Errorf("got %#x", got)
	}
}

func TestPlausible(t *testing.T) {
	good := [8]uint64{1, 2, 3, 4, 5, 6, 7, 8}
	if !plausible(&good) {
		t.Error("refused eight values")
	}
	for i := range good {
		for _, v := range []uint64{0, ^uint64(0), good[(i+1)%8], good[(i+5)%8]} {
			bad := good
			bad[i] = v
			if plausible(&bad) {
				t.Errorf("accepted %v", bad)
			}
		}
	}
}

// stir mixes by XOR and takes nothing from a generator that fails in between.
func TestStir(t *testing.T) {
	m, _ := newMachine(t)
	n := uint64(0)
	count := func() (uint64, bool) { n++; return n << 8, true }
	if !m.stir(count) || binary.LittleEndian.Uint64(m.info.Random[56:]) != 8<<8 {
		t.Errorf("seed % x", m.info.Random)
	}
	before := m.info.Random
	for _, g := range []func() (uint64, bool){
		func() (uint64, bool) { n++; return n, n%5 != 0 },
		func() (uint64, bool) { return 0x1234, true },
	} {
		if m.stir(g) || m.info.Random != before {
			t.Error("a bad generator changed the seed")
		}
	}
	n = 0
	if !m.stir(count) || m.info.Random != [64]byte{} {
		t.Error("sources are not combined by XOR")
	}
}
