package pvh

import (
	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

// wanted is which devices boot starts, and with which features at most. The
// numbers are those of the drivers; a test in boot/platform compares them.
var wanted = [probe.MaxWanted]probe.Wanted{
	{ID: 1, Features: WantNet},
	{ID: 2, Features: WantBlock},
	{ID: kindEntropy, Features: WantRNG},
}

// Feature sets of wanted, checked against the drivers by boot/platform.
const (
	WantNet   = 1<<0 | 1<<1 | 1<<3 | 1<<5 | 1<<7 | 1<<8 | 1<<11 | 1<<12 | 1<<15 | 1<<29 | 1<<32
	WantBlock = 1<<5 | 1<<6 | 1<<9 | 1<<29 | 1<<32
	WantRNG   = 1<<29 | 1<<32
)

var (
	bus     probe.Bus
	request probe.Request
	found   probe.Result
)

// findDevices finds, negotiates and starts all devices. What does not start is
// reported and left out; the appliance decides whether it can live without.
func (m *machine) findDevices() failure {
	request.Wanted = wanted
	request.Vector, request.Vectors = layout.VectorDevice, rtabi.MaxDevices
	probe.Scan(&bus, m.info.Command[:m.info.CommandLen], m.rsdp, &request, &found)
	queues := uint64(0)
	for i := 0; i < int(found.NFound) && i < len(found.Found); i++ {
		queues += 2
		for _, r := range found.Found[i].Regions {
			if m.isRAM(r.Addr, r.Len) {
				return failDevice
			}
			if !m.reach(r.Addr, r.Len) {
				return failTables
			}
		}
	}
	desc := m.take(queues)
	ring := m.take(queues)
	request.Desc = probe.PageAlloc{Next: desc, End: desc + queues*layout.Page}
	request.Ring = probe.PageAlloc{Next: ring, End: ring + queues*layout.Page}
	if m.tables.failed {
		return failTables
	}
	probe.Start(&bus, &request, &found)
	m.reportFaults(0)
	m.descPhys, m.descSize = desc, request.Desc.Next-desc
	m.ringPhys, m.sharedSize = ring, request.Ring.Next-ring
	return failNone
}

// mapDevices maps what devices share with us, each part for the ring that needs
// it, and tells ring 3 what there is.
func (m *machine) mapDevices() failure {
	m.tables.add(&m.pages, uint64(m.at.Descriptors), m.descPhys, m.descSize, kernelRW)
	m.tables.add(&m.pages, uint64(m.at.Shared), m.ringPhys, m.sharedSize, userRW)
	for i := 0; i < int(found.NPages) && i < len(found.Pages); i++ {
		m.tables.add(&m.pages, uint64(m.at.Registers)+uint64(i+1)*layout.Page, found.Pages[i], layout.Page, kernelReg)
	}
	m.mapPower()
	for i := 0; i < int(found.NDevices) && i < rtabi.MaxDevices; i++ {
		m.addDevice(i)
	}
	if m.tables.failed {
		return failTables
	}
	return failNone
}

// mapPower maps the register that powers the machine off, where it is one.
func (m *machine) mapPower() {
	off := &found.Platform.PowerOff
	if off.Space != probe.ActMemory {
		return
	}
	page := uint64(m.at.Registers) + (probe.MaxPages+1)*layout.Page
	if m.powerReg = m.register(off.Addr); m.powerReg == 0 {
		m.tables.add(&m.pages, page, off.Addr&^(layout.Page-1), layout.Page, kernelReg)
		m.powerReg = page + off.Addr&(layout.Page-1)
	}
}

// take reserves n neighbouring pages.
func (m *machine) take(n uint64) uint64 {
	first := m.pages.next
	if n*layout.Page > m.pages.end-first {
		m.tables.failed = true
		return first
	}
	m.pages.next += n * layout.Page
	return first
}

// reach makes device memory above 4 GiB accessible to the boot code, whose own
// tables end there.
func (m *machine) reach(addr, n uint64) bool {
	const limit = 1 << 46
	if n == 0 || n <= reachable && addr <= reachable-n {
		return true
	}
	if addr >= limit || n > limit-addr {
		return false
	}
	own := mapper{root: layout.Low, mem: m.tables.mem}
	start := addr &^ (layout.Large - 1)
	for a := start; a < addr+n; a += layout.Large {
		if !own.mapped(bus.Base + a) {
			own.add(&m.pages, bus.Base+a, a, layout.Large, kernelReg)
		}
	}
	return !own.failed
}

// isRAM says whether any of n bytes at addr are RAM. Registers that are would be
// a second mapping of it, and a notification a write into it: the command line
// can say so.
func (m *machine) isRAM(addr, n uint64) bool {
	if n == 0 {
		return false
	}
	for _, s := range m.ram[:m.nram] {
		if addr < s.end && (n > s.start || addr > s.start-n) {
			return true
		}
	}
	return addr < m.imageEnd
}

// mapped says whether va has a translation.
func (m *mapper) mapped(va uint64) bool {
	t := m.root
	for shift := 39; shift >= 12; shift -= 9 {
		e := m.mem.load(t + va>>shift&511*8)
		if e&pteP == 0 {
			return false
		}
		if e&ptePS != 0 {
			return true
		}
		t = e & pteAdr
	}
	return true
}

// addDevice copies what boot learnt of a device to where ring 3 finds it, with
// ring 3's addresses, and routes its interrupt.
func (m *machine) addDevice(i int) {
	d := &m.info.Devices[i]
	*d = found.Devices[i]
	for q := range d.Queues {
		if d.Queues[q].Size != 0 {
			d.Queues[q].Ring = d.Queues[q].Ring - uintptr(m.ringPhys) + m.at.Shared
		}
	}
	m.info.NDevices++
	if p := &found.Ports[i]; p.ISR != 0 {
		m.route(p.GSI, layout.VectorDevice+uint32(i))
	}
}

// route sends interrupt input gsi to vector on this CPU, edge-triggered: the
// gate acknowledges at the device before it ends the interrupt, so no edge is
// lost (Intel 82093AA, section 3.2.4).
func (m *machine) route(gsi, vector uint32) {
	best := -1
	for i := 0; i < int(found.Platform.NIOAPIC) && i < probe.MaxIOAPIC; i++ {
		io := &found.Platform.IOAPIC[i]
		if io.GSI <= gsi && (best < 0 || io.GSI > found.Platform.IOAPIC[best].GSI) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	io := &found.Platform.IOAPIC[best]
	mem := m.tables.mem
	pin := gsi - io.GSI
	me := mem.load32(lapicPhys + lapicID)
	mem.store32(io.Addr, 0x11+2*pin)
	mem.store32(io.Addr+0x10, me&0xff000000)
	mem.store32(io.Addr, 0x10+2*pin)
	mem.store32(io.Addr+0x10, vector)
}

// register is ring 0's address of a device register.
func (m *machine) register(phys uint64) uint64 {
	for i := 0; i < int(found.NPages) && i < len(found.Pages); i++ {
		if p := found.Pages[i]; phys&^(layout.Page-1) == p {
			return uint64(m.at.Registers) + uint64(i+1)*layout.Page + phys&(layout.Page-1)
		}
	}
	return 0
}

// reportFaults writes a line for each thing that was wrong, from fault number
// first on.
func (m *machine) reportFaults(first int) {
	var line [160]byte
	for i := first; i < int(found.NFaults) && i < len(found.Faults); i++ {
		puts("ampoule: warning: ")
		n := found.Faults[i].Put(line[:])
		for _, c := range line[:n] {
			putc(c)
		}
		puts("\n")
	}
}
