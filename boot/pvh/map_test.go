//go:build !ampoule

package pvh

import (
	"slices"
	"testing"

	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

const (
	infoAt = 0x7000 // where tests put the start info, and behind it the rest
	cmdAt  = 0x8000
	mapAt  = 0x9000
	kib    = 1 << 10
	mib    = 1 << 20
	gib    = 1 << 30
)

// entry is one of the memory map.
type entry struct {
	base, size uint64
	kind       uint32
}

// putInfo writes a start info with a memory map and a command line.
func putInfo(mem memory, ram []entry, command string) {
	mem.store32(infoAt, startMagic)
	mem.store32(infoAt+infoVersion, 1)
	mem.store(infoAt+infoMap, mapAt)
	mem.store32(infoAt+infoMapCount, uint32(len(ram)))
	for i, e := range ram {
		at := mapAt + uint64(i)*mapEntrySize
		mem.store(at, e.base)
		mem.store(at+8, e.size)
		mem.store32(at+16, e.kind)
	}
	mem.store(infoAt+infoCommand, cmdAt)
	copy(mem.bytes(cmdAt, len(command)+1), command+"\x00")
}

// segment is one of the image: address, size, and flags of ELF.
type segment struct{ vaddr, size, flags uint64 }

// linkedAt is where tests link their image.
const linkedAt = layout.ImageLow + 0x3457000

const (
	elfX = 1
	elfW = 2
	elfR = 4
)

// image is what the Go linker makes: text with the ELF header, rodata, data.
var image = []segment{
	{linkedAt, 0x9a321, elfR | elfX},
	{linkedAt + 0x9b000, 0x8c0e8, elfR},
	{linkedAt + 0x128000, 0x33fa8, elfR | elfW},
}

const imageSize = 0x15c000

// putImage writes the ELF header that boot finds in front of the text.
func putImage(mem memory, segments []segment) {
	mem.store32(layout.Image, 0x464c457f)
	mem.store(layout.Image+32, 64)
	mem.store32(layout.Image+56, uint32(len(segments)+1))
	ph := uint64(layout.Image + 64)
	mem.store32(ph, 4) // PT_NOTE: not mapped
	for _, s := range segments {
		ph += 56
		mem.store32(ph, 1)
		mem.store32(ph+4, uint32(s.flags))
		mem.store(ph+16, s.vaddr)
		mem.store(ph+24, s.vaddr-linkedAt+layout.Image)
		mem.store(ph+40, s.size)
	}
}

// build does the steps that need no hardware which tests lack.
func (m *machine) build() failure {
	for _, step := range []func(*machine) failure{
		(*machine).readStart, (*machine).checkCPU, (*machine).mapImage, (*machine).findDevices, (*machine).takeClock,
		(*machine).mapGate, (*machine).mapDevices, (*machine).mapStacks, (*machine).mapRAM,
	} {
		if f := step(m); f != failNone {
			return f
		}
	}
	return failNone
}

// takeClock is the clock page without a clock.
func (m *machine) takeClock() failure {
	m.clockPhys = m.pages.page(m.tables.mem)
	return failNone
}

// TestMap builds the address space of a machine and compares it with the map
// in package layout, page by page.
func TestMap(t *testing.T) {
	m, hw := newMachine(t)
	hw.rng = &fakeRNG{hw: hw, features: 1 << 32}
	m.start = infoAt
	putInfo(hw.mem, []entry{{0, 639 * kib, mapRAM}, {639 * kib, kib, 2}, {mib, 63 * mib, mapRAM}}, "quiet")
	putImage(hw.mem, image)
	if f := m.build(); f != failNone {
		t.Fatal(f)
	}
	const page = layout.Page
	const largeAt = 0x400000 // first large page behind the image
	want := []leaf{
		{linkedAt, 0, 0x9b000, userCode},
		{linkedAt + 0x9b000, 0, 0x8d000, userRO},
		{linkedAt + 0x128000, 0, 0x34000, userRW},
		{sharedAt, 0, page, userRW},
		{stacksAt + page, 0, layout.MainStack, userRW},
		{stacksAt + 2*page + layout.MainStack, 0, layout.SignalStack, userRW},
		{stacksAt + 3*page + layout.MainStack + layout.SignalStack, 0, layout.SystemStack, userRW},
		{stacksAt + 4*page + layout.MainStack + layout.SignalStack + layout.SystemStack, 0, page, userRO},
		{ioAt, 0, uint64(m.ioSize), userRW},
		{windowAt, 0, m.window, userRW},
		{top(gateAt), 0, 2 * page, kernelCode},
		{top(gateAt + layout.GateData), 0, page, kernelRW},
		{top(gateAt + layout.GateGDT), 0, 2 * page, kernelRO},
		{top(gateAt + layout.GateStackTop - page), 0, page, kernelRW},
		{top(gateAt + layout.FaultTop - page), 0, page, kernelRW},
		{top(registersAt), 0, 2 * page, kernelReg}, // LAPIC, the device's page
		{top(descriptorsAt), 0, page, kernelRW},
	}
	leaves := check(t, &m.tables)
	got := join(leaves, false)
	for i := range got {
		got[i].pa = 0
	}
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("range %d: got %v, want %v", i, got[i:], want[i:])
			}
		}
	}
	// The heap grows up in large pages, the ragged rest comes last.
	if l := leaves[slices.IndexFunc(leaves, func(l leaf) bool { return l.va == windowAt })]; l.pa != largeAt || l.size != layout.Large {
		t.Errorf("the window starts with %v", l)
	}
	end := slices.IndexFunc(leaves, func(l leaf) bool { return l.va >= windowAt+m.window })
	if last := leaves[end-1]; last.pa != largeAt-page || last.size != page {
		t.Errorf("the window ends with %v", last)
	}
	checkPhysical(t, m, leaves)
	checkInfo(t, m)
}

// top is an address of the upper half without the bits that only repeat its
// sign, as walk gives it.
func top(va uint64) uint64 { return va & (1<<48 - 1) }

// checkPhysical: everything above the image is given to somebody, and of low
// memory nothing that boot itself uses is mapped.
func checkPhysical(t *testing.T, m *machine, leaves []leaf) {
	t.Helper()
	ram := uint64(0)
	for _, l := range leaves {
		switch {
		case l.pa >= layout.LowEnd && l.pa < 64*mib:
			ram += l.size
		case l.pa < bootEnd:
			t.Errorf("%v maps memory that boot uses", l)
		case l.va == top(registersAt) && l.pa != lapicPhys, l.va == top(registersAt+layout.Page) && l.pa != rngBase:
			t.Errorf("%v is not the device", l)
		case l.va >= linkedAt && l.va < linkedAt+imageSize && l.pa != l.va-linkedAt+layout.Image:
			t.Errorf("%v moves the image", l)
		}
	}
	if want := uint64(64*mib - layout.Image); ram != want {
		t.Errorf("%d KiB of RAM behind boot are mapped, want %d", ram/kib, want/kib)
	}
}

// checkInfo: what ring 3 is told lies where it is mapped.
func checkInfo(t *testing.T, m *machine) {
	t.Helper()
	i := m.info
	if i.Window != windowAt || uint64(i.WindowEnd) != windowAt+m.window || i.IO != ioAt || uint64(i.IOSize) != m.ioSize-ioSlack {
		t.Errorf("window %#x-%#x, I/O %#x+%#x", i.Window, i.WindowEnd, i.IO, i.IOSize)
	}
	if want := uint64(2 * mib); m.ioSize != want {
		t.Errorf("I/O region of %d bytes, want %d", m.ioSize, want)
	}
	for _, s := range []struct {
		top  uintptr
		size uint64
	}{{m.mainTop, layout.MainStack}, {i.Signal, layout.SignalStack}, {i.System, layout.SystemStack}} {
		lo := uint64(s.top) - s.size
		if !m.tables.mapped(lo) || !m.tables.mapped(uint64(s.top)-1) || m.tables.mapped(lo-1) {
			t.Errorf("stack at %#x: mapped %v, guard %v", s.top, m.tables.mapped(lo), !m.tables.mapped(lo-1))
		}
	}
	if i.SignalSize != layout.SignalStack || i.RAM != 639*kib&^(layout.Page-1)+63*mib {
		t.Errorf("signal stack %d, RAM %d", i.SignalSize, i.RAM)
	}
	ro := image[1]
	if onXen != (i.ConstSize == 0) || !onXen && (uint64(i.Const) != ro.vaddr || uint64(i.ConstSize) != (ro.size+layout.Page-1)&^(layout.Page-1)-layout.Page) {
		t.Errorf("constants %#x+%#x, of %+v", i.Const, i.ConstSize, ro)
	}
	if string(i.Command[:i.CommandLen]) != "quiet" {
		t.Errorf("command line %q", i.Command[:i.CommandLen])
	}
	if d := &i.Devices[0]; i.NDevices != 1 || d.Kind != kindEntropy || d.Queues[0].Ring != sharedAt || d.Queues[0].Size != 8 {
		t.Errorf("devices %+v", i.Devices[:i.NDevices])
	}
	if m.tables.mapped(uint64(stacksAt)) || m.tables.mapped(0) {
		t.Error("a guard is mapped")
	}
}

// Images that do not fit are refused with the line that says why.
func TestMapImage(t *testing.T) {
	ram := []entry{{mib, 31 * mib, mapRAM}}
	for _, tc := range []struct {
		name     string
		ram      []entry
		segments []segment
		want     failure
	}{
		{"good", ram, image, failNone},
		{"below its place", ram, []segment{{layout.ImageLow - layout.Page, layout.Page, elfR}}, failLowMemory},
		{"over boot's memory", ram, []segment{{linkedAt - layout.Page, layout.Page, elfR}}, failLowMemory},
		{"beyond 2 GiB", ram, []segment{{layout.ImageEnd - layout.Page, 2 * layout.Page, elfR}}, failLowMemory},
		{"wraps", ram, []segment{{linkedAt, 1<<64 - linkedAt, elfR}}, failLowMemory},
		{"two on one page", ram, []segment{{linkedAt, 0x1800, elfR | elfX}, {linkedAt + 0x1800, 0x800, elfR}}, failTables},
		{"RAM ends early", []entry{{mib, 2 * mib, mapRAM}}, []segment{{linkedAt, 4 * mib, elfR}}, failSmall},
		{"not in RAM", []entry{{16 * mib, 100 * mib, mapRAM}}, image, failLowMemory},
		{"a hole", []entry{{mib, mib + 4*kib, mapRAM}, {3 * mib, 60 * mib, mapRAM}}, image, failLowMemory},
	} {
		m, hw := newMachine(t)
		m.start = infoAt
		putInfo(hw.mem, tc.ram, "")
		putImage(hw.mem, tc.segments)
		got := m.readStart()
		if got == failNone {
			got = m.mapImage()
		}
		if got == failNone && m.tables.failed {
			got = failTables // as mapGate, the next step, finds
		}
		if got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	m, hw := newMachine(t)
	hw.mem.store32(layout.Image, 0x464c4500)
	if f := m.mapImage(); f != failLowMemory {
		t.Errorf("no ELF header: %v", f)
	}
}

// TestDeviceMemory maps registers above what boot can reach, once each.
func TestDeviceMemory(t *testing.T) {
	for _, tc := range []struct {
		addr, n uint64
		ok      bool
		pages   int
	}{
		{0xfeb00000, 0x1000, true, 0},
		{1<<32 - 1, 1, true, 0},
		{1<<32 - 1, 2, true, 1},
		{0x38000000000, 0x4000, true, 1},
		{0x38000000000 + layout.Large - 1, 2, true, 2},
		{1<<46 - 4096, 4096, true, 1},
		{1<<46 - 4096, 4097, false, 0},
		{1 << 46, 1, false, 0},
		{1<<64 - 1, 1, false, 0},
		{1<<64 - 4096, 4096, false, 0},
		{0x7000000000, 0, true, 0},
	} {
		m, hw := newMachine(t)
		own := mapper{root: layout.Low, mem: hw.mem}
		own.add(&m.pages, 1<<31, 1<<31, 1<<31, kernelRW) // as entry does
		before, _ := walk(t, &own)
		for range 2 {
			if got := m.reach(tc.addr, tc.n); got != tc.ok {
				t.Errorf("reach(%#x, %d) is %v", tc.addr, tc.n, got)
			}
		}
		after, _ := walk(t, &own)
		if n := len(after) - len(before); n != tc.pages {
			t.Errorf("reach(%#x, %d) maps %d pages, want %d", tc.addr, tc.n, n, tc.pages)
		}
		if tc.ok && tc.n != 0 && tc.addr+tc.n > 1<<32 && !own.mapped(tc.addr+tc.n-1) {
			t.Errorf("reach(%#x, %d) does not reach the end", tc.addr, tc.n)
		}
	}
}

// The register that powers off is mapped once, be it on a device's page.
func TestPowerRegister(t *testing.T) {
	for _, tc := range []struct {
		action probe.Action
		want   uint64
	}{
		{probe.Action{}, 0},
		{probe.Action{Space: probe.ActPort, Addr: 0x604}, 0},
		{probe.Action{Space: probe.ActMemory, Addr: 0xfed00123}, registersAt + (probe.MaxPages+1)*layout.Page + 0x123},
		{probe.Action{Space: probe.ActMemory, Addr: 0xfeb00450}, registersAt + layout.Page + 0x450},
	} {
		m, _ := newMachine(t)
		found.Pages[0], found.NPages, found.Platform.PowerOff = 0xfeb00000, 1, tc.action
		if m.mapPower(); m.powerReg != tc.want || m.tables.failed {
			t.Errorf("%+v is at %#x, want %#x", tc.action, m.powerReg, tc.want)
		}
	}
}

// A static structure must hold every device and queue that rtabi allows.
var _ [rtabi.MaxDevices]probe.Port = probe.Result{}.Ports

// TestIsRAM: what a device says are its registers must not be RAM.
func TestIsRAM(t *testing.T) {
	m, _ := newMachine(t)
	m.ram[0], m.ram[1], m.nram = span{mib, 64 * mib}, span{4096 * mib, 8192 * mib}, 2
	m.cut(4 * mib)
	for _, tc := range []struct {
		addr, n uint64
		want    bool
	}{
		{0, 1, true}, {4*mib - 1, 1, true}, {4 * mib, 1, true}, {64*mib - 1, 1, true}, {64 * mib, 512, false},
		{64*mib - 511, 512, true}, {0xfeb00000, 512, false}, {4096*mib - 512, 512, false}, {4096*mib - 511, 512, true},
		{64 * mib, 4032*mib + 1, true}, {8192 * mib, 1 << 20, false}, {64 * mib, ^uint64(0), true}, {0, 0, false},
	} {
		if got := m.isRAM(tc.addr, tc.n); got != tc.want {
			t.Errorf("isRAM(%#x, %#x) is %v", tc.addr, tc.n, got)
		}
	}
}
