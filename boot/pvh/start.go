package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/boot/gate"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// CPUID bits that an appliance needs, and those that harden it.
const (
	idAPIC    = 1 << 9  // leaf 1, EDX
	idXSAVE   = 1 << 26 // leaf 1, ECX
	idAVX     = 1 << 28 // leaf 1, ECX
	idSMEP    = 1 << 7  // leaf 7, EBX
	idSMAP    = 1 << 20 // leaf 7, EBX
	idUMIP    = 1 << 2  // leaf 7, ECX
	idSYSCALL = 1 << 11 // leaf 80000001, EDX
	idNX      = 1 << 20 // leaf 80000001, EDX
	cr4UMIP   = 1 << 11
	cr4SMEP   = 1 << 20
	cr4SMAP   = 1 << 21
)

// Model-specific registers of SYSCALL.
const (
	msrSTAR   = 0xc0000081
	msrLSTAR  = 0xc0000082
	msrSFMASK = 0xc0000084
	// maskFlags are cleared on entry: trap, interrupt, direction, nested task,
	// alignment check (which is SMAP's override).
	maskFlags = 1<<8 | 1<<9 | 1<<10 | 1<<14 | 1<<18
)

var boot machine

// seed is the image's, as hexadecimal digits. The linker sets it (-X), so that
// another seed does not compile anything anew.
var seed string

// start is called by entry with the start info's address, the runtime's entry
// point and the end of what entry uses of low memory. It does not return.
//
//lint:ignore U1000 entry_ampoule_amd64.s calls it
func start(startInfo, entry, low uintptr) {
	began := cpu.TSC()
	m := &boot
	if !onXen {
		cpu.Out8(uart+1, 0) // no interrupts
		cpu.Out8(uart+2, 7) // FIFOs on and empty
	}
	m.info = ampInfo()
	*m.info = rtabi.BootInfo{Magic: rtabi.Magic, BootTSC: began}
	m.start = uint64(startInfo)
	m.tables.mem.base, bus.Base = layout.Direct, layout.Direct
	m.pages = pageAlloc{next: uint64(low), end: layout.LowEnd}
	for _, step := range [...]func(*machine) failure{
		(*machine).readStart, (*machine).checkCPU, (*machine).mapImage, devices, startClock,
		(*machine).gather, (*machine).place, (*machine).mapGate, mapDevices, (*machine).mapStacks, (*machine).mapRAM,
	} {
		if f := step(m); f != failNone {
			die(f)
		}
	}
	m.seal(entry)
}

// bootEnd is the end of what entry_amd64.s uses of low memory, but for the page
// tables of the image.
const bootEnd = layout.Low + 0x10000

// reachable is the end of the physical memory that the boot code's page tables
// map.
const reachable = 1 << 32

// maxPhys bounds RAM: what lies above is not used. Real CPUs have from 36 to 52
// address bits.
const maxPhys = 1 << 46

// readStart copies what the start info says: memory map and command line. The
// originals lie in memory that will be given to the heap.
func (m *machine) readStart() failure {
	mem := m.tables.mem
	if m.start == 0 || m.start > reachable-infoSize || mem.load32(m.start) != startMagic {
		return failStartInfo
	}
	if mem.load32(m.start+infoVersion) < 1 {
		return failNoMap
	}
	m.rsdp = mem.load(m.start + infoRSDP)
	m.readCommand(mem.load(m.start + infoCommand))
	at, n := mem.load(m.start+infoMap), uint64(mem.load32(m.start+infoMapCount))
	if at == 0 || n == 0 || n > maxEntries || at > reachable-n*mapEntrySize {
		return failNoMap
	}
	for i := uint64(0); i < n && m.nram < maxSpans; i++ {
		e := at + i*mapEntrySize
		base, size := mem.load(e), mem.load(e+8)
		if mem.load32(e+16) != mapRAM || base >= maxPhys || size == 0 {
			continue
		}
		if size > maxPhys-base {
			size = maxPhys - base
		}
		m.ram[m.nram] = span{base, base + size}
		m.nram++
	}
	m.sortRAM()
	m.info.RAM = m.total()
	return failNone
}

// readCommand copies the command line, as far as there is room.
func (m *machine) readCommand(at uint64) {
	for i := range m.info.Command[:rtabi.MaxCommand-1] {
		if at == 0 || at+uint64(i) >= reachable {
			return
		}
		c := m.tables.mem.load8(at + uint64(i))
		if c == 0 {
			return
		}
		m.info.Command[i] = c
		m.info.CommandLen++
	}
}

// checkCPU refuses a CPU that cannot be sealed and notes what hardens it.
func (m *machine) checkCPU() failure {
	_, _, c1, d1 := cpu.ID(1, 0)
	_, _, _, d81 := cpu.ID(0x80000001, 0)
	if d1&idAPIC == 0 || d81&idSYSCALL == 0 || d81&idNX == 0 {
		return failCPU
	}
	if c1&idXSAVE != 0 && c1&idAVX != 0 {
		m.info.Features |= rtabi.FeatureXSave
	}
	if top, _, _, _ := cpu.ID(0, 0); top < 7 {
		return failNone
	}
	_, b7, c7, _ := cpu.ID(7, 0)
	if b7&idSMEP != 0 {
		m.cr4 |= cr4SMEP
		m.info.Features |= rtabi.FeatureSMEP
	}
	if b7&idSMAP != 0 {
		m.cr4 |= cr4SMAP
		m.smap = true
		m.info.Features |= rtabi.FeatureSMAP
	}
	if c7&idUMIP != 0 {
		m.cr4 |= cr4UMIP
		m.info.Features |= rtabi.FeatureUMIP
	}
	return failNone
}

// mapImage maps the image by its own program headers: text for execution,
// data for writing, the rest for reading only. boot/image has given each its
// physical address.
func (m *machine) mapImage() failure {
	mem := m.tables.mem
	if mem.load32(layout.Image) != 0x464c457f {
		return failLowMemory
	}
	ph := layout.Image + mem.load(layout.Image+32)
	n := int(mem.load32(layout.Image+56) & 0xffff)
	end := uint64(layout.Image)
	for i := 0; i < n; i, ph = i+1, ph+56 {
		if mem.load32(ph) != 1 { // PT_LOAD
			continue
		}
		prot := uint64(userRO)
		switch flags := mem.load32(ph + 4); {
		case flags&1 != 0:
			prot = userCode
		case flags&2 != 0:
			prot = userRW
		}
		va, pa := mem.load(ph+16), mem.load(ph+24)
		lo := va &^ (layout.Page - 1)
		hi := (va + mem.load(ph+40) + layout.Page - 1) &^ (layout.Page - 1)
		if lo < layout.ImageLow || lo > hi || hi > layout.ImageEnd || pa < layout.Image || (va^pa)%layout.Page != 0 {
			return failLowMemory
		}
		pa &^= layout.Page - 1
		m.tables.add(&m.pages, lo, pa, hi-lo, prot)
		if prot == userRO && hi-lo > m.constSize {
			m.constVA, m.constPhys, m.constSize = lo, pa, hi-lo
		}
		if pa+hi-lo > end {
			end = pa + hi - lo
		}
	}
	if !m.inRAM(layout.Low, end) {
		if layout.Low < m.info.RAM && end > m.info.RAM {
			return failSmall
		}
		return failLowMemory
	}
	m.cut(end)
	return failNone
}

// place draws the places of all regions.
func (m *machine) place() failure {
	total := m.total()
	if total < minRAM {
		return failSmall
	}
	var secret [16]byte
	copy(secret[:], m.info.Random[secretAt:])
	for i := range secret {
		m.info.Random[secretAt+i] = 0 // ring 3 must not know it
	}
	n := layout.Sizes{Shared: m.sharedSize, IO: m.wantIO(), Window: min(total, layout.MaxWindow), LargeIO: m.wantIO() >= layout.Large}
	if m.descSize > layout.TopSize || !layout.Draw(&m.at, &secret, seed, &n) {
		return failPlace
	}
	m.info.Places = m.at.Places
	return failNone
}

// secretAt is where in BootInfo.Random the 16 bytes begin that places are drawn
// from. The runtime uses the others.
const secretAt = 16

// gate is the address of a part of the gate's region.
func (m *machine) gate(offset uint64) uint64 { return uint64(m.at.Gate) + offset }

// cut removes everything below end from the list of RAM.
func (m *machine) cut(end uint64) {
	m.imageEnd = end
	for i := 0; i < m.nram; i++ {
		if m.ram[i].start < end {
			m.ram[i].start = end
		}
		if m.ram[i].end < m.ram[i].start {
			m.ram[i].end = m.ram[i].start
		}
	}
}

// fixed allocates and maps n fresh pages at va; it answers the last one's
// physical address. They need not be neighbours.
func (m *machine) fixed(va uint64, n int, prot uint64) uint64 {
	p := uint64(0)
	for i := 0; i < n; i++ {
		if p = m.pages.page(m.tables.mem); p == 0 {
			m.tables.failed = true
			return 0
		}
		m.tables.add(&m.pages, va+uint64(i)*layout.Page, p, layout.Page, prot)
	}
	return p
}

// mapGate lays out what belongs to ring 0.
func (m *machine) mapGate() failure {
	// The code's two pages must be neighbours, so they are taken together
	// before any table can come between them.
	code := m.pages.page(m.tables.mem)
	if second := m.pages.page(m.tables.mem); second != code+layout.Page || code == 0 {
		return failTables
	}
	m.tables.add(&m.pages, m.gate(layout.GateCode), code, layout.GateCodeSize, kernelCode)
	m.codePhys = code
	if !copyGate(m, m.tables.mem.code(code)[:]) {
		return failGate
	}
	m.dataPhys = m.fixed(m.gate(layout.GateData), 1, kernelRW)
	m.gdtPhys = m.fixed(m.gate(layout.GateGDT), 1, kernelRO)
	m.idtPhys = m.fixed(m.gate(layout.GateIDT), 1, kernelRO)
	m.fixed(m.gate(layout.GateStackTop-layout.Page), 1, kernelRW)
	m.fixed(m.gate(layout.FaultTop-layout.Page), 1, kernelRW)
	if !onXen {
		m.tables.add(&m.pages, uint64(m.at.Registers), lapicPhys, layout.Page, kernelReg)
	}
	if m.tables.failed {
		return failTables
	}
	m.fillTables()
	return failNone
}

// mapStacks maps ring 3's fixed stacks, each above an unmapped page, and the
// clock page, if this machine has one of its own.
func (m *machine) mapStacks() failure {
	va := uint64(m.at.Stacks)
	for _, s := range [...]struct {
		size uint64
		top  *uintptr
	}{{layout.MainStack, &m.mainTop}, {layout.SignalStack, &m.info.Signal}, {layout.SystemStack, &m.info.System}} {
		va += layout.Page
		last := m.fixed(va, int(s.size/layout.Page), userRW)
		if s.top == &m.mainTop {
			m.mainPhys = uintptr(last) + layout.Page
		}
		va += s.size
		*s.top = uintptr(va)
	}
	m.info.SignalSize = layout.SignalStack
	if m.clockPhys != 0 {
		m.tables.add(&m.pages, va+layout.Page, m.clockPhys, layout.Page, userRO)
		setClock(m.info, uintptr(va+layout.Page))
	}
	if m.tables.failed {
		return failTables
	}
	return failNone
}

// mapRAM maps the I/O region and gives the runtime the rest.
func (m *machine) mapRAM() failure {
	total := m.total()
	if total < minRAM {
		return failSmall
	}
	reserve := (m.windowTables() + latePages) * layout.Page
	if m.pages.next+reserve+minIO > m.pages.end {
		return failTables
	}
	m.pages.end -= reserve
	m.takeIO(total)
	m.pages.end += reserve
	m.tables.add(&m.pages, m.at.IO, m.ioPhys, m.ioSize, userRW)
	m.mapWindow()
	if m.tables.failed {
		return failTables
	}
	m.info.IO, m.info.IOSize = uintptr(m.at.IO), uintptr(m.ioSize-ioSlack)
	if !onXen && m.constSize > ioSlack { // on Xen pages are granted, and these are not
		m.info.Const, m.info.ConstSize = uintptr(m.constVA), uintptr(m.constSize-ioSlack)
	}
	m.info.Window, m.info.WindowEnd = uintptr(m.at.Window), uintptr(m.at.Window+m.window)
	return failNone
}

const (
	minRAM = 4 << 20 // behind the image, for heap and metadata
	minIO  = 64 << 10
)

// seal hands over to ring 3 on the final page tables.
func (m *machine) seal(entry uintptr) {
	d := m.fillGate()
	cpu.WriteMSR(msrSTAR, layout.UserBase<<48|layout.KernelCode<<32)
	cpu.WriteMSR(msrLSTAR, m.gate(layout.GateCode+gate.EntryOffset))
	cpu.WriteMSR(msrSFMASK, maskFlags)
	if f := startEvents(m, d); f != failNone {
		die(f)
	}
	sp := ampStart(m.mainTop, m.mainPhys)
	if sp == 0 {
		die(failRuntime)
	}
	data, code := uintptr(m.gate(layout.GateData)), uintptr(m.gate(layout.GateCode))
	cpu.Seal(m.gdtBootAddr(), layout.TSS, uintptr(m.tables.root), data+gdtrOffset,
		data+idtrOffset, code+gate.EnterOffset, sp, entry)
}

// startTicks makes the local APIC's timer the source of ticks.
func (m *machine) startTicks() {
	cpu.Out8(0x21, 0xff) // both interrupt controllers masked
	cpu.Out8(0xa1, 0xff)
	mem := m.tables.mem
	mem.store32(lapicPhys+lapicLVT, layout.VectorTick)
	mem.store32(lapicPhys+lapicCount, uint32(m.tickCount))
}

const uart = 0x3f8

// die reports why the machine cannot start, and ends it.
func die(f failure) {
	puts("ampoule: cannot start: ")
	puts(f.String())
	puts("\n")
	code := uint8(rtabi.ExitBoot)
	if f == failEntropy {
		code = rtabi.ExitEntropy
	}
	for {
		if onXen {
			arg := [3]uint64{shutdownCrash}
			boot.hypercall(hyperSched, schedShutdown, &arg)
		}
		cpu.Out8(0x501, code)
		cpu.Out8(0x64, 0xfe)
		cpu.Halt()
	}
}

func puts(s string) {
	for i := 0; i < len(s); i++ {
		putc(s[i])
	}
}

func putc(c byte) { bus.Out8(consolePort, c) }
