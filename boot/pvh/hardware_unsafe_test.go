//go:build !ampoule

package pvh

import (
	"syscall"
	"testing"
	"unsafe"

	"ampoule/boot/cpu"
	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

// hardware is the machine that the boot code runs on in tests: 4 GiB of memory,
// all of it zero, timers that run with the host's TSC, and a virtio-rng device
// if rng is set. Ports and addresses without a device read as ones.
type hardware struct {
	t       testing.TB
	mem     memory
	tscHz   float64 // how fast the TSC is to be taken to be
	pit     fakePIT
	lapic   fakeTimer
	rtc     func(reg uint8) uint8
	rtcReg  uint8
	rng     *fakeRNG
	console []byte
}

// Where the regions of a test's machine are, unless it draws places of its own.
const (
	gateAt        = layout.TopLow + 0x1234000
	registersAt   = layout.TopLow + 0x8000000
	descriptorsAt = layout.TopLow + 0x10000000
	sharedAt      = 0x123456789000
	stacksAt      = 0x234567891000
	ioAt          = 0x345678800000
	windowAt      = 0x400008400000 // behind the others
)

// newMachine gives a machine at its start and the hardware below it. It takes
// over the package's state, so such tests cannot be parallel.
func newMachine(t testing.TB) (*machine, *hardware) {
	t.Helper()
	const size = reachable + layout.Page
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	// What lies behind must not be touched.
	if err := syscall.Mprotect(b[reachable:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	hw := &hardware{t: t, tscHz: 2e9, mem: memory{uintptr(unsafe.Pointer(&b[0]))}}
	bus.M = &probe.Machine{Load: hw.load, Store: hw.store, In: hw.in, Out: hw.out}
	request, found = probe.Request{}, probe.Result{}
	t.Cleanup(func() {
		bus.M, request, found = nil, probe.Request{}, probe.Result{}
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	m := &machine{info: new(rtabi.BootInfo), pages: pageAlloc{next: bootEnd, end: layout.LowEnd}}
	m.tables.mem = hw.mem
	m.at = layout.Drawn{IO: ioAt, Window: windowAt, Places: rtabi.Places{Gate: gateAt, Registers: registersAt,
		Descriptors: descriptorsAt, Shared: sharedAt, Stacks: stacksAt}}
	return m, hw
}

// bytes is n bytes of the mapping.
func (m memory) bytes(addr uint64, n int) []byte { return unsafe.Slice((*byte)(m.at(addr)), n) }

const (
	rngBase  = 0xfeb00000 // the first of the places where QEMU's microvm has devices
	slotsEnd = rngBase + 24*512
)

func (hw *hardware) load(addr uint64, size int) uint64 {
	switch {
	case addr >= rngBase && addr < slotsEnd:
		if hw.rng != nil && addr < rngBase+512 {
			return hw.rng.load(addr - rngBase)
		}
		return 1<<(8*size) - 1
	case addr == lapicPhys+lapicNow:
		return uint64(hw.lapic.now(hw.tscHz))
	case addr >= reachable:
		hw.t.Fatalf("load from %#x", addr)
	}
	switch size {
	case 1:
		return uint64(hw.mem.load8(addr))
	case 2:
		return hw.mem.load(addr&^7) >> (addr & 7 * 8) & 0xffff
	case 4:
		return uint64(hw.mem.load32(addr))
	}
	return hw.mem.load(addr)
}

func (hw *hardware) store(addr uint64, size int, v uint64) {
	switch {
	case addr >= rngBase && addr < slotsEnd:
		if hw.rng != nil && addr < rngBase+512 {
			hw.rng.store(addr-rngBase, uint32(v))
		}
		return
	case addr == lapicPhys+lapicCount:
		hw.lapic.count, hw.lapic.loaded = uint32(v), cpu.TSC()
		return
	case addr >= reachable:
		hw.t.Fatalf("store to %#x", addr)
	}
	if addr%uint64(size) != 0 {
		hw.t.Fatalf("store of %d bytes to %#x", size, addr)
	}
	mask := ^uint64(0) >> (64 - 8*size) << (addr & 7 * 8)
	old := hw.mem.load(addr &^ 7)
	hw.mem.store(addr&^7, old&^mask|v<<(addr&7*8)&mask)
}

func (hw *hardware) in(port uint16, size int) uint32 {
	switch {
	case port == pitData && hw.pit.there:
		return uint32(hw.pit.read())
	case port == rtcData && hw.rtc != nil:
		return uint32(hw.rtc(hw.rtcReg))
	}
	return 1<<(8*size) - 1
}

func (hw *hardware) out(port uint16, size int, v uint32) {
	switch port {
	case pitMode:
		hw.pit.command(uint8(v), hw.tscHz)
	case pitData:
		hw.pit.load()
	case rtcIndex:
		hw.rtcReg = uint8(v)
	case uart:
		hw.console = append(hw.console, byte(v))
	}
}

// fakeTimer is a local APIC timer. hz 0: it does not run.
type fakeTimer struct {
	hz     float64
	count  uint32
	loaded uint64
}

func (f *fakeTimer) now(tscHz float64) uint32 {
	return f.count - uint32(float64(cpu.TSC()-f.loaded)*f.hz/tscHz)
}

// fakePIT is channel 0 of an Intel 8254 in mode 0, loaded with 65535.
type fakePIT struct {
	there   bool
	stuck   bool
	away    int // so many tries run into a host that takes the CPU away
	taken   int // so many of the others did in truth
	counted int // what loads was then
	loads   int
	loaded  uint64
	latched [3]byte // status, low, high
	next    int
}

func (p *fakePIT) load() { p.loaded, p.loads = cpu.TSC(), p.loads+1 }

func (p *fakePIT) command(v uint8, tscHz float64) {
	if v != pitReadBack {
		return
	}
	elapsed := uint64(float64(cpu.TSC()-p.loaded) * pitHz / tscHz)
	if p.loads <= 2*p.away && elapsed > 2000 {
		elapsed += 65536 // and the count looks as good as before
	} else if p.loads > 2*p.away && elapsed >= 65536 && p.counted != p.loads {
		p.taken, p.counted = p.taken+1, p.loads
	}
	if p.stuck {
		elapsed = 0
	}
	status := byte(0x30)
	if elapsed >= 65536 {
		status |= pitExpired
	}
	left := uint16(65535 - elapsed)
	p.latched, p.next = [3]byte{status, byte(left), byte(left >> 8)}, 0
}

func (p *fakePIT) read() byte {
	b := p.latched[p.next%3]
	p.next++
	return b
}
