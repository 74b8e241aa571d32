package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/libos/rt/rtabi"
)

// KVM's paravirtual interface (Linux, Documentation/virt/kvm/x86/cpuid.rst and
// msr.rst).
const (
	hypervisorLeaf = 0x40000000
	leafStride     = 0x100 // Hyper-V's or Xen's leaves may come first
	leafBlocks     = 4
	kvmB           = 0x4b4d564b // "KVMK"
	kvmC           = 0x564b4d56 // "VMKV"
	kvmD           = 0x4d       // "M"
	kvmTimings     = 0x40000010 // as VMware: EAX TSC kHz, EBX APIC bus kHz
	kvmClock2      = 1 << 3     // of leaf base+1, EAX
	kvmWallMSR     = 0x4b564d00
	kvmClockMSR    = 0x4b564d01
	idHypervisor   = 1 << 31 // leaf 1, ECX
)

// Frequencies outside these bounds, in kHz, are told by mistake.
const (
	minTSC, maxTSC   = 10e3, 100e6
	minAPIC, maxAPIC = 100, 10e6
)

// startKVM has KVM fill the clock page and answers whether it does; it takes
// the frequency of the TSC from there, and the wall clock.
func (m *machine) startKVM() bool {
	if kvmFeatures(cpu.ID)&kvmClock2 == 0 {
		return false
	}
	cpu.WriteMSR(kvmClockMSR, m.clockPhys|1)
	c := clockAt(m.tables.mem, m.clockPhys)
	if m.tscKHz = clockKHz(c); m.tscKHz == 0 {
		cpu.WriteMSR(kvmClockMSR, 0)
		m.tables.mem.clear(m.clockPhys)
		return false
	}
	m.apicKHz = kvmAPIC(cpu.ID)
	m.info.Features |= rtabi.FeatureKVMClock
	if page := m.pages.page(m.tables.mem); page != 0 {
		cpu.WriteMSR(kvmWallMSR, page)
		m.info.Wall = m.kvmWall(page)
	}
	if m.info.Wall == 0 {
		if now := rtcWall(); now != 0 {
			m.info.Wall = now - int64(c.System)
		}
	}
	return true
}

// kvmFeatures answers KVM's feature bits, 0 under anything else.
func kvmFeatures(id func(leaf, sub uint32) (a, b, c, d uint32)) uint32 {
	if _, _, c, _ := id(1, 0); c&idHypervisor == 0 {
		return 0
	}
	for i := uint32(0); i < leafBlocks; i++ {
		base := uint32(hypervisorLeaf + i*leafStride)
		if _, b, c, d := id(base, 0); b == kvmB && c == kvmC && d == kvmD {
			f, _, _, _ := id(base+1, 0)
			return f
		}
	}
	return 0
}

// kvmAPIC is the rate of the local APIC timer at our divisor in kHz, if KVM
// tells it (QEMU has it do so only with a fixed TSC frequency), or 0.
func kvmAPIC(id func(leaf, sub uint32) (a, b, c, d uint32)) uint64 {
	top, b, c, d := id(hypervisorLeaf, 0)
	if b != kvmB || c != kvmC || d != kvmD || top < kvmTimings {
		return 0
	}
	_, bus, _, _ := id(kvmTimings, 0)
	if khz := uint64(bus) / 16; khz >= minAPIC && khz <= maxAPIC {
		return khz
	}
	return 0
}

// clockKHz is the frequency of the TSC that a clock page filled by a
// hypervisor stands for; 0 when the page is not filled, or with nonsense.
func clockKHz(c *rtabi.Clock) uint64 {
	if c.Version == 0 || c.Version&1 != 0 || c.Mul == 0 || c.Shift < -16 || c.Shift > 16 {
		return 0
	}
	// ns = (tsc << Shift) * Mul >> 32, and a kHz is 1e6 ns.
	khz := uint64(1e6) << 32 / uint64(c.Mul)
	if c.Shift < 0 {
		khz <<= uint(-c.Shift)
	} else {
		khz >>= uint(c.Shift)
	}
	if khz < minTSC || khz > maxTSC {
		return 0
	}
	return khz
}

// kvmWall is the wall clock at KVM's system time 0, as KVM wrote it to page
// (struct pvclock_wall_clock), or 0.
func (m *machine) kvmWall(page uint64) int64 {
	mem := m.tables.mem
	version, sec, ns := mem.load32(page), mem.load32(page+4), mem.load32(page+8)
	if version == 0 || version&1 != 0 || ns >= 1e9 {
		return 0
	}
	return int64(sec)*1e9 + int64(ns)
}
