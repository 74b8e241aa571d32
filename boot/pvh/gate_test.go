//go:build !ampoule

package pvh

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"ampoule/boot/gate"
	"ampoule/boot/layout"
	"ampoule/boot/probe"
	"ampoule/libos/rt/rtabi"
)

// Offsets that assembly has as numbers: the operands of LGDT and LIDT that
// Seal takes must be whole in the gate's page, and the clock page is KVM's.
var (
	_ [0]byte   = [(gdtrOffset + 10) / (layout.Page + 1)]byte{}
	_ [0]byte   = [(idtrOffset + 10) / (layout.Page + 1)]byte{}
	_ [8]byte   = [unsafe.Offsetof(rtabi.Clock{}.TSC)]byte{}
	_ [16]byte  = [unsafe.Offsetof(rtabi.Clock{}.System)]byte{}
	_ [24]byte  = [unsafe.Offsetof(rtabi.Clock{}.Mul)]byte{}
	_ [28]byte  = [unsafe.Offsetof(rtabi.Clock{}.Shift)]byte{}
	_ [29]byte  = [unsafe.Offsetof(rtabi.Clock{}.Flags)]byte{}
	_ [104]byte = [tssSize]byte{}
)

// TestDescriptors takes the descriptor tables apart.
func TestDescriptors(t *testing.T) {
	m, hw := newMachine(t)
	m.gdtPhys, m.idtPhys = 0x10000, 0x11000
	m.fillTables()
	mem := hw.mem
	for _, d := range []struct {
		name string
		sel  uint64
		dpl  uint64
		code bool
	}{
		{"kernel code", layout.KernelCode, 0, true},
		{"kernel data", layout.KernelData, 0, false},
		{"user code", layout.UserCode, 3, true},
		{"user data", layout.UserData, 3, false},
	} {
		e := mem.load(m.gdtPhys + d.sel&^7)
		kind := e >> 40 & 0x1f // S, executable, direction, writable or readable, accessed
		if want := map[bool]uint64{true: 0x1b, false: 0x13}[d.code]; kind != want || e>>45&3 != d.dpl || e>>47&1 != 1 {
			t.Errorf("%s: %#x", d.name, e)
		}
		if long := e>>53&1 == 1; long != d.code || d.code && e>>54&1 != 0 {
			t.Errorf("%s: %#x has the wrong size", d.name, e)
		}
		if d.sel&3 != d.dpl {
			t.Errorf("%s: selector %#x", d.name, d.sel)
		}
	}
	// SYSRET adds 16 and 8 to UserBase, SYSCALL 8 to KernelCode.
	if layout.UserBase+16|3 != layout.UserCode || layout.UserBase+8|3 != layout.UserData || layout.KernelCode+8 != layout.KernelData {
		t.Error("selectors do not fit SYSCALL and SYSRET")
	}
	lo, hi := mem.load(m.gdtPhys+layout.TSS), mem.load(m.gdtPhys+layout.TSS+8)
	base := lo>>16&0xffffff | lo>>56<<24 | hi<<32
	if base != gateAt+layout.GateGDT+tssOffset || lo&0xffff != tssSize-1 || lo>>40&0xff != 0x89 || lo>>48&0xff != 0 {
		t.Errorf("TSS at %#x: %#x", base, lo)
	}
	tss := m.gdtPhys + tssOffset
	if tssOffset <= gdtLimit || mem.load(tss+4) != gateAt+layout.GateStackTop || mem.load(tss+36) != gateAt+layout.FaultTop {
		t.Error("the TSS has other stacks")
	}
	if mem.load32(tss+100)>>16 < tssSize {
		t.Error("the TSS has an I/O bitmap")
	}
}

func TestInterruptGates(t *testing.T) {
	m, hw := newMachine(t)
	m.gdtPhys, m.idtPhys = 0x10000, 0x11000
	m.fillTables()
	for v := uint64(0); v < 256; v++ {
		lo, hi := hw.mem.load(m.idtPhys+16*v), hw.mem.load(m.idtPhys+16*v+8)
		if v >= layout.Vectors {
			if lo|hi != 0 {
				t.Errorf("vector %d has a gate", v)
			}
			continue
		}
		ist, dpl := uint64(0), uint64(0)
		switch v {
		case 2, 8, 18:
			ist = 1
		case 3:
			dpl = 3
		}
		if at := lo&0xffff | lo>>48<<16 | hi<<32; at != gateAt+16*v {
			t.Errorf("vector %d leads to %#x", v, at)
		}
		if lo>>16&0xffff != layout.KernelCode || lo>>32&0xff != ist || lo>>40&0xff != 0x8e|dpl<<5 {
			t.Errorf("vector %d: %#x", v, lo)
		}
	}
}

// fillGate gives the gate the addresses of ring 0 and no physical ones.
func TestFillGate(t *testing.T) {
	m, hw := newMachine(t)
	m.dataPhys, m.gdtPhys = 0x12000, 0x10000
	m.descPhys, m.ringPhys = 0x20000, 0x30000
	m.tscKHz, m.apicKHz, m.ioPhys, m.ioSize, m.cr4 = 2e6, 62500, 0x140000, 0x10000, cr4SMEP
	m.constPhys, m.info.ConstSize = 0x300000, 0x5000
	found.Pages[0], found.Pages[1], found.NPages = 0xfeb00000, 0xfeb01000, 2
	found.NDevices = 2
	found.Devices[0] = rtabi.Device{Kind: 1, NQueues: 2}
	found.Devices[0].Queues[0] = rtabi.Queue{ID: 0, Size: 256, Ring: 0x30000}
	found.Devices[0].Queues[1] = rtabi.Queue{ID: 1, Size: 128, Ring: 0x31000}
	found.Devices[1].Queues[0] = rtabi.Queue{ID: 4, Size: 8, Ring: 0x32000}
	found.Ports[0] = probe.Port{Desc: [4]uint64{0x20000, 0x21000}, Notify: [4]uint64{0xfeb00050, 0xfeb00050},
		NotifyValue: [4]uint32{0, 1}, NotifyWidth: 4, ISR: 0xfeb00060, ISRAck: 0xfeb00064}
	found.Ports[1] = probe.Port{Desc: [4]uint64{0x22000}, Notify: [4]uint64{0xfeb01004}, NotifyValue: [4]uint32{7}, NotifyWidth: 2}
	found.Platform.PowerOff = probe.Action{Space: probe.ActPort, Width: 2, Addr: 0x604, Value: 0x2000}
	m.addDevice(0)
	m.addDevice(1)
	m.fillGate()
	d := (*gate.Data)(hw.mem.at(m.dataPhys))
	if d.NQueues != 8 || d.IOPhys != m.ioPhys || d.IOSize != m.ioSize-layout.Page || d.ConstPhys != 0x300000 || d.ConstSize != 0x5000 || d.CR4 != cr4SMEP || d.LAPIC != registersAt {
		t.Errorf("gate data %+v", d)
	}
	if d.Tick != 20e6 || d.TickCount != 625e3 || m.tickCount != d.TickCount || m.info.TSCPerNS != 2<<32 {
		t.Errorf("clock %d %d %d", d.Tick, d.TickCount, m.info.TSCPerNS)
	}
	if d.PowerPort != 0x604 || d.PowerValue != 0x2000 || d.PowerReg != 0 {
		t.Errorf("power off %#x %#x %#x", d.PowerPort, d.PowerValue, d.PowerReg)
	}
	const r1, r2 = registersAt + layout.Page, registersAt + 2*layout.Page
	if d.Ports[0] != r1+0x64 || d.Ports[1] != 0 {
		t.Errorf("ports %+v", d.Ports[:2])
	}
	for i, want := range map[int]gate.Queue{
		0: {Desc: descriptorsAt, Submit: sharedAt + rtabi.QueueSubOff, Notify: r1 + 0x50, NotifyWidth: 4, Size: 256, Refused: gate.RefuseFlags},
		1: {Desc: descriptorsAt + 0x1000, Submit: sharedAt + 0x1000 + rtabi.QueueSubOff, Notify: r1 + 0x50, NotifyValue: 1, NotifyWidth: 4, Size: 128, Refused: gate.RefuseWrite},
		2: {}, 3: {},
		4: {Desc: descriptorsAt + 0x2000, Submit: sharedAt + 0x2000 + rtabi.QueueSubOff, Notify: r2 + 4, NotifyValue: 7, NotifyWidth: 2, Size: 8, Refused: gate.RefuseFlags},
		5: {},
	} {
		if d.Queues[i] != want {
			t.Errorf("queue %d: %+v, want %+v", i, d.Queues[i], want)
		}
	}
	for _, p := range []struct {
		name  string
		b     [16]byte
		limit uint16
		base  uint64
	}{
		{"GDTR", d.GDTR, gdtLimit, gateAt + layout.GateGDT},
		{"IDTR", d.IDTR, layout.Vectors*16 - 1, gateAt + layout.GateIDT},
		{"first GDTR", m.gdtBoot, gdtLimit, m.gdtPhys},
	} {
		if l, b := binary.LittleEndian.Uint16(p.b[:]), binary.LittleEndian.Uint64(p.b[2:]); l != p.limit || b != p.base {
			t.Errorf("%s: %#x at %#x", p.name, l, b)
		}
	}
}

// TestRoute sends an interrupt input to the controller that has it.
func TestRoute(t *testing.T) {
	m, hw := newMachine(t)
	found.Platform.NIOAPIC = 2
	found.Platform.IOAPIC[0] = probe.IOAPIC{Addr: 0xfec00000}
	found.Platform.IOAPIC[1] = probe.IOAPIC{Addr: 0xfec10000, GSI: 24}
	hw.mem.store32(lapicPhys+lapicID, 3<<24)
	for _, tc := range []struct {
		gsi  uint32
		addr uint64
		pin  uint32
	}{{5, 0xfec00000, 5}, {23, 0xfec00000, 23}, {24, 0xfec10000, 0}, {47, 0xfec10000, 23}} {
		m.route(tc.gsi, 0x31)
		// The last write is the low half of the entry: register, then value.
		if reg, v := hw.mem.load32(tc.addr), hw.mem.load32(tc.addr+0x10); reg != 0x10+2*tc.pin || v != 0x31 {
			t.Errorf("input %d: register %#x is %#x", tc.gsi, reg, v)
		}
		hw.mem.clear(tc.addr)
	}
	found.Platform.NIOAPIC = 0
	m.route(5, 0x31) // must touch nothing
	if hw.mem.load32(0xfec00000) != 0 {
		t.Error("wrote to a controller that is not there")
	}
}
