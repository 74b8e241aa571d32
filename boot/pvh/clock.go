package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/libos/rt/rtabi"
)

// KVM's paravirtual interface (Linux, Documentation/virt/kvm/x86/cpuid.rst and
// msr.rst).
const (
	kvmLeaf        = 0x40000000
	kvmFeatures    = 0x40000001
	kvmTimings     = 0x40000010 // as VMware: EAX TSC kHz, EBX APIC bus kHz
	kvmClock2      = 1 << 3
	kvmClockStable = 1 << 24
	kvmWallMSR     = 0x4b564d00
	kvmClockMSR    = 0x4b564d01
)

// Programmable interval timer and local APIC timer.
const (
	pitHz      = 1193182
	pitMode    = 0x43
	pitData    = 0x40
	pitSpan    = pitHz / 150 // ticks to calibrate over: 6.7 ms
	lapicPhys  = 0xfee00000
	lapicSVR   = 0xf0
	lapicLVT   = 0x320
	lapicCount = 0x380
	lapicNow   = 0x390
	lapicDiv   = 0x3e0
	div16      = 3
	masked     = 1 << 16
)

// sample is one reading of three clocks at about one time.
type sample struct{ pit, lapic, tsc uint64 }

// takeSample reads the PIT (by latch), the local APIC timer and the TSC, the
// tightest of eight tries.
func (m *machine) takeSample() (s sample) {
	best := ^uint64(0)
	for i := 0; i < 8; i++ {
		before := cpu.TSC()
		cpu.Out8(pitMode, 0)
		lo := cpu.In8(pitData)
		hi := cpu.In8(pitData)
		l := m.tables.mem.load32(lapicPhys + lapicNow)
		after := cpu.TSC()
		if after-before < best {
			best = after - before
			s = sample{uint64(hi)<<8 | uint64(lo), uint64(l), before + best/2}
		}
	}
	return s
}

// calibrate measures the TSC and the local APIC timer against the PIT.
func (m *machine) calibrate() failure {
	mem := m.tables.mem
	cpu.Out8(pitMode, 0x30) // channel 0, one shot, from 65535: 55 ms
	cpu.Out8(pitData, 0xff)
	cpu.Out8(pitData, 0xff)
	mem.store32(lapicPhys+lapicCount, 0xffffffff)
	first := m.takeSample()
	last := first
	for i := 0; first.pit-last.pit < pitSpan; i++ {
		if i > 1<<20 || last.pit > first.pit {
			return failClock
		}
		for j := 0; j < 64; j++ {
			cpu.Pause()
		}
		last = m.takeSample()
	}
	ticks := first.pit - last.pit
	m.tscKHz = (last.tsc - first.tsc) * pitHz / ticks / 1000
	m.apicKHz = (first.lapic - last.lapic) * pitHz / ticks / 1000
	if m.tscKHz == 0 || m.apicKHz == 0 {
		return failClock
	}
	return failNone
}

// startClock finds the best clock, fills the clock page at physical address
// page, and reads the wall clock.
func (m *machine) startClock(page uint64) failure {
	mem := m.tables.mem
	mem.store32(lapicPhys+lapicSVR, 0x100|0x3f) // enabled, spurious vector
	mem.store32(lapicPhys+lapicDiv, div16)
	mem.store32(lapicPhys+lapicLVT, masked)
	kvm := m.kvmFeatures()
	if kvm&kvmClock2 != 0 {
		m.info.Features |= rtabi.FeatureKVMClock
		cpu.WriteMSR(kvmClockMSR, page|1)
		m.info.Wall = m.kvmWall()
	}
	if m.tscKHz == 0 || m.apicKHz == 0 {
		if f := m.calibrate(); f != failNone {
			return f
		}
	}
	if kvm&kvmClock2 == 0 {
		m.ownClock(page)
		m.info.Wall = m.rtcWall()
	}
	return failNone
}

// ownClock fills the clock page from the calibrated TSC, as a hypervisor would.
func (m *machine) ownClock(page uint64) {
	c := clockAt(m.tables.mem, page)
	// ns = tsc * mul >> 32, with the TSC halved until mul fits.
	khz, shift := m.tscKHz, int8(0)
	for khz > 1e6 {
		khz, shift = (khz+1)/2, shift-1
	}
	for khz <= 5e5 {
		khz, shift = khz*2, shift+1
	}
	hz := m.tscKHz * 1000
	if shift < 0 {
		hz >>= uint(-shift)
	} else {
		hz <<= uint(shift)
	}
	mul := (uint64(1e9) << 32) / (hz + 1)
	c.TSC, c.System, c.Mul, c.Shift = cpu.TSC(), 0, uint32(mul), shift
}

// kvmFeatures answers KVM's feature bits, 0 under another hypervisor, and
// takes the timer frequencies if KVM tells them.
func (m *machine) kvmFeatures() uint32 {
	top, b, c, d := cpu.ID(kvmLeaf, 0)
	if b != 0x4b4d564b || c != 0x564b4d56 || d != 0x4d { // "KVMKVMKVM\0\0\0"
		return 0
	}
	if top >= kvmTimings {
		tsc, bus, _, _ := cpu.ID(kvmTimings, 0)
		m.tscKHz, m.apicKHz = uint64(tsc), uint64(bus)/16
	}
	f, _, _, _ := cpu.ID(kvmFeatures, 0)
	return f
}

// kvmWall asks KVM for the wall clock at its system time 0.
func (m *machine) kvmWall() int64 {
	page := m.pages.page(m.tables.mem)
	if page == 0 {
		return 0
	}
	cpu.WriteMSR(kvmWallMSR, page)
	mem := m.tables.mem
	sec, ns := mem.load32(page+4), mem.load32(page+8)
	return int64(sec)*1e9 + int64(ns)
}

// rtcWall reads the battery-backed clock (MC146818), in ns since 1970.
func (m *machine) rtcWall() int64 {
	var a, b [7]int64
	for try := 0; ; try++ {
		readRTC(&a)
		readRTC(&b)
		if a == b || try == 8 {
			return rtcTime(&a)
		}
	}
}

// readRTC reads seconds, minutes, hours, day, month, year and status B, once
// no update is in progress.
func readRTC(r *[7]int64) {
	for i := 0; i < 1<<16 && rtc(0x0a)&0x80 != 0; i++ {
	}
	for i, reg := range [7]uint8{0, 2, 4, 7, 8, 9, 0x0b} {
		r[i] = int64(rtc(reg))
	}
}

func rtc(reg uint8) uint8 {
	cpu.Out8(0x70, reg|0x80)
	return cpu.In8(0x71)
}

// rtcTime converts what readRTC read; years are those of this century.
func rtcTime(raw *[7]int64) int64 {
	r := *raw
	pm := r[2] & 0x80
	r[2] &= 0x7f
	if r[6]&4 == 0 { // BCD
		for i := 0; i < 6; i++ {
			r[i] = r[i]>>4*10 + r[i]&15
		}
	}
	if r[6]&2 == 0 { // 12 hours
		r[2] %= 12
		if pm != 0 {
			r[2] += 12
		}
	}
	return (civilDays(2000+r[5], r[4], r[3])*86400 + r[2]*3600 + r[1]*60 + r[0]) * 1e9
}

// civilDays is the number of days from 1970-01-01 to a date of the Gregorian
// calendar, after H. Hinnant's days_from_civil.
func civilDays(y, m, d int64) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	return 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 719469
}

// gateClock converts the frequencies to what the gate computes with.
func (m *machine) gateClock(tickHz uint64) (tick, tickCount, tscPerNS, countScale uint64) {
	tick = m.tscKHz * 1000 / tickHz
	tickCount = m.apicKHz * 1000 / tickHz
	tscPerNS = m.tscKHz << 32 / 1e6
	countScale = m.apicKHz << 32 / m.tscKHz
	return
}
