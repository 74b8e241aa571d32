package pvh

import (
	"unsafe"

	"ampoule/boot/gate"
	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

const (
	gdtrOffset = unsafe.Offsetof(gate.Data{}.GDTR)
	idtrOffset = unsafe.Offsetof(gate.Data{}.IDTR)
	gdtLimit   = 0x40 - 1
	tssOffset  = 0x100 // in the page of the GDT
	tssSize    = 104
	ioBitmap   = 102 // offset in the TSS of the I/O bitmap's offset
)

// clockAt is the clock page. It is one page, so a Clock fits.
func clockAt(mem memory, page uint64) *rtabi.Clock { return (*rtabi.Clock)(mem.at(page)) }

// setClock stores the address at which ring 3 sees the clock page, which stays
// mapped for ever.
func setClock(info *rtabi.BootInfo, va uintptr) {
	info.Clock = *(**rtabi.Clock)(unsafe.Pointer(&va))
}

// fillTables writes the descriptor tables (Intel SDM volume 3, sections 3.4.5,
// 7.2.3, 7.7 and 6.14). Ring 0 sees them read-only later.
func (m *machine) fillTables() {
	mem := m.tables.mem
	for _, d := range [...]struct{ sel, v uint64 }{
		{layout.KernelCode, 0x00af9b000000ffff},
		{layout.KernelData, 0x00cf93000000ffff},
		{layout.UserData &^ 3, 0x00cff3000000ffff},
		{layout.UserCode &^ 3, 0x00affb000000ffff},
	} {
		mem.store(m.gdtPhys+d.sel, d.v)
	}
	tss := m.gate(layout.GateGDT + tssOffset)
	// An available TSS: LTR wants that and marks it busy.
	mem.store(m.gdtPhys+layout.TSS, tssSize-1|tss&0xffffff<<16|0x89<<40|tss>>24&0xff<<56)
	mem.store(m.gdtPhys+layout.TSS+8, tss>>32)
	mem.store(m.gdtPhys+tssOffset+4, m.gate(layout.GateStackTop)) // RSP0
	mem.store(m.gdtPhys+tssOffset+36, m.gate(layout.FaultTop))    // IST1
	mem.store32(m.gdtPhys+tssOffset+100, tssSize<<16)             // no I/O bitmap
	for v := uint64(0); v < layout.Vectors; v++ {
		h := m.gate(layout.GateCode) + v*16
		kind := uint64(0x8e00) << 32 // present, interrupt gate
		if v == 2 || v == 8 || v == 18 {
			kind |= 1 << 32 // IST1
		}
		if v == 3 {
			kind |= 3 << 45 // INT3 is allowed in ring 3
		}
		mem.store(m.idtPhys+v*16, h&0xffff|layout.KernelCode<<16|kind|h>>16&0xffff<<48)
		mem.store(m.idtPhys+v*16+8, h>>32)
	}
}

// fillGate writes the gate's data page.
func (m *machine) fillGate() *gate.Data {
	d := (*gate.Data)(m.tables.mem.at(m.dataPhys)) // a whole page, checked in package gate
	d.SetText()
	if !onXen {
		d.Tick, d.TickCount, m.info.TSCPerNS, d.CountScale = m.gateClock(layout.TickHz)
		m.tickCount = d.TickCount
		d.LAPIC = uint64(m.at.Registers)
		m.fillQueues(d)
	}
	context, inSignal, inOS, upcall := ampHooks()
	d.Context, d.InSignal, d.InOS = uint64(context), uint64(inSignal), uint64(inOS)
	d.Upcall = uint64(upcall)
	d.IOPhys, d.IOSize = m.ioPhys, m.ioSize-ioSlack
	d.ConstPhys, d.ConstSize = m.constPhys, uint64(m.info.ConstSize)
	d.CR4 = m.cr4
	putDescriptor(&d.GDTR, gdtLimit, m.gate(layout.GateGDT))
	putDescriptor(&d.IDTR, layout.Vectors*16-1, m.gate(layout.GateIDT))
	putDescriptor(&m.gdtBoot, gdtLimit, m.gdtPhys)
	return d
}

// Fields of gate.Data that hypercalls of the set-up write.
const (
	xenTimerPort   = unsafe.Offsetof(gate.Data{}.Xen) + unsafe.Offsetof(gate.Xen{}.TimerPort)
	xenStorePort   = unsafe.Offsetof(gate.Data{}.Xen) + unsafe.Offsetof(gate.Xen{}.StorePort)
	xenConsolePort = unsafe.Offsetof(gate.Data{}.Xen) + unsafe.Offsetof(gate.Xen{}.ConsolePort)
)

// xenField is the gate's address of such a field.
func (m *machine) xenField(offset uintptr) uint64 { return m.gate(layout.GateData) + uint64(offset) }

// gdtBootAddr is where putDescriptor put the operand of the first LGDT.
func (m *machine) gdtBootAddr() uintptr { return uintptr(unsafe.Pointer(&m.gdtBoot)) }

// fillQueues tells the gate where each queue's parts are.
func (m *machine) fillQueues(d *gate.Data) {
	d.NQueues = m.info.NDevices * rtabi.MaxQueues
	for i := 0; i < int(m.info.NDevices) && i < rtabi.MaxDevices; i++ {
		p := &found.Ports[i]
		if p.ISRAck != 0 {
			d.Ports[i] = m.register(p.ISRAck)
		}
		for q := 0; q < rtabi.MaxQueues; q++ {
			from := &m.info.Devices[i].Queues[q]
			if from.Size == 0 {
				continue
			}
			to := &d.Queues[i*rtabi.MaxQueues+q]
			to.Desc = p.Desc[q] - m.descPhys + uint64(m.at.Descriptors)
			to.Submit = uint64(from.Ring) + rtabi.QueueSubOff
			to.Notify = m.register(p.Notify[q])
			to.NotifyValue, to.NotifyWidth = p.NotifyValue[q], p.NotifyWidth
			to.Size = from.Size
			to.Refused = gate.RefuseFlags
			if m.info.Devices[i].Kind == kindNet && q == 1 { // the transmit queue (virtio 1.2, section 5.1.2)
				to.Refused = gate.RefuseWrite
			}
		}
	}
	switch off := &found.Platform.PowerOff; off.Space {
	case probe.ActPort:
		d.PowerPort, d.PowerValue = off.Addr, uint64(off.Value)
	case probe.ActMemory:
		d.PowerReg, d.PowerByte = m.powerReg, uint64(off.Value)
	}
}

// putDescriptor writes the operand of LGDT or LIDT.
func putDescriptor(to *[16]byte, limit uint16, base uint64) {
	to[0], to[1] = byte(limit), byte(limit>>8)
	for i := 0; i < 8; i++ {
		to[2+i] = byte(base >> (8 * i))
	}
}
