package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/boot/layout"
)

// Programmable interval timer (Intel 8254).
const (
	pitHz       = 1193182
	pitMode     = 0x43
	pitData     = 0x40
	pitOneShot  = 0x30        // channel 0, both bytes, mode 0
	pitReadBack = 0xc2        // latch count and status of channel 0
	pitExpired  = 1 << 7      // status: the count has passed zero
	pitUnloaded = 1 << 6      // status: the count is not yet loaded
	pitSpan     = pitHz / 150 // ticks to calibrate over: 6.7 ms
	pitTries    = 32
	pitPolls    = 1 << 16
	pitStuck    = 64 // polls in which a PIT that runs must have moved
)

// Local APIC timer (Intel SDM volume 3, section 11.5).
const (
	lapicPhys  = 0xfee00000
	lapicID    = 0x20
	lapicSVR   = 0xf0
	lapicOn    = 0x100
	lapicLVT   = 0x320
	lapicCount = 0x380
	lapicNow   = 0x390
	lapicDiv   = 0x3e0
	div16      = 3
	masked     = 1 << 16
)

// sample is one reading of three clocks at about one time.
type sample struct {
	pit, lapic, tsc uint64
	bad             bool // the PIT has expired, or is none
}

// takeSample reads the PIT, the local APIC timer and the TSC, the tightest of
// eight tries.
func takeSample() (s sample) {
	best := ^uint64(0)
	for i := 0; i < 8; i++ {
		before := cpu.TSC()
		bus.Out8(pitMode, pitReadBack)
		status := bus.In8(pitData)
		lo := bus.In8(pitData)
		hi := bus.In8(pitData)
		l := bus.Read32(lapicPhys + lapicNow)
		after := cpu.TSC()
		if after-before < best {
			best = after - before
			s = sample{uint64(hi)<<8 | uint64(lo), uint64(l), before + best/2, status&(pitExpired|pitUnloaded) != 0}
		}
	}
	return s
}

// calibrate measures the TSC and the local APIC timer against the PIT. A host
// that takes the CPU away for longer than the PIT counts makes a try useless, and
// a busy one does so again and again.
func (m *machine) calibrate() failure {
	for try := 0; try < pitTries; try++ {
		if m.measure() {
			return failNone
		}
	}
	return failClock
}

func (m *machine) measure() bool {
	bus.Out8(pitMode, pitOneShot)
	bus.Out8(pitData, 0xff) // from 65535: 55 ms
	bus.Out8(pitData, 0xff)
	bus.Write32(lapicPhys+lapicCount, 0xffffffff)
	first := takeSample()
	for i := 0; first.bad && i < pitStuck; i++ {
		first = takeSample()
	}
	for i := 0; i < pitPolls && !first.bad; i++ {
		last := takeSample()
		if last.bad || last.pit > first.pit || i > pitStuck && last.pit == first.pit {
			return false
		}
		if first.pit-last.pit >= pitSpan {
			return m.frequencies(&first, &last)
		}
		for j := 0; j < 64; j++ {
			cpu.Pause()
		}
	}
	return false
}

// frequencies computes them from two samples, and says whether they make sense.
func (m *machine) frequencies(first, last *sample) bool {
	ticks := first.pit - last.pit
	m.tscKHz = (last.tsc - first.tsc) * pitHz / ticks / 1000
	m.apicKHz = (first.lapic - last.lapic) * pitHz / ticks / 1000
	return m.tscKHz >= minTSC && m.tscKHz <= maxTSC && m.apicKHz >= minAPIC && m.apicKHz <= maxAPIC
}

// calibrateTimer measures the local APIC timer against the TSC, whose
// frequency is known, for 2 ms. It takes no PIT, which Cloud Hypervisor lacks.
func (m *machine) calibrateTimer() failure {
	bus.Write32(lapicPhys+lapicCount, 0xffffffff)
	l0, t0 := lapicSample()
	for cpu.TSC()-t0 < 2*m.tscKHz {
		cpu.Pause()
	}
	l1, t1 := lapicSample()
	m.apicKHz = (l0 - l1) * m.tscKHz / (t1 - t0)
	if m.apicKHz < minAPIC || m.apicKHz > maxAPIC {
		return failTimer
	}
	return failNone
}

// lapicSample reads the local APIC timer and the TSC, the tightest of eight
// tries.
func lapicSample() (lapic, tsc uint64) {
	best := ^uint64(0)
	for i := 0; i < 8; i++ {
		before := cpu.TSC()
		l := bus.Read32(lapicPhys + lapicNow)
		after := cpu.TSC()
		if after-before < best {
			best = after - before
			lapic, tsc = uint64(l), before+best/2
		}
	}
	return
}

// startClock finds the best clock and has the clock page filled: by KVM, or
// once and for all from the TSC. It reads the wall clock, too.
func (m *machine) startClock() failure {
	bus.Write32(lapicPhys+lapicSVR, lapicOn|layout.VectorSpurious)
	bus.Write32(lapicPhys+lapicDiv, div16)
	bus.Write32(lapicPhys+lapicLVT, masked)
	if m.startKVM() {
		if m.apicKHz == 0 {
			return m.calibrateTimer()
		}
		return failNone
	}
	if f := m.calibrate(); f != failNone {
		return f
	}
	m.info.Wall = rtcWall()
	m.ownClock(cpu.TSC())
	return failNone
}

// ownClock fills the clock page from the calibrated TSC, as a hypervisor would.
// Time 0 is when the TSC is at now.
func (m *machine) ownClock(now uint64) {
	// ns = (tsc << shift) * mul >> 32. The TSC is scaled to between 1 and 2 GHz,
	// so that mul has its 32 bits.
	hz, shift := m.tscKHz*1000, int8(0)
	for hz > 2e9 {
		hz, shift = hz/2, shift-1
	}
	for hz <= 1e9 && shift < 16 {
		hz, shift = hz*2, shift+1
	}
	mul := (uint64(1e9) << 32) / hz
	c := clockAt(m.tables.mem, m.clockPhys)
	c.TSC, c.System, c.Mul, c.Shift = now, 0, uint32(mul), shift
}

// gateClock converts the frequencies to what the gate and the runtime compute with.
func (m *machine) gateClock(tickHz uint64) (tick, tickCount, tscPerNS, countScale uint64) {
	tick = m.tscKHz * 1000 / tickHz
	tickCount = m.apicKHz * 1000 / tickHz
	tscPerNS = m.tscKHz << 32 / 1e6
	countScale = m.apicKHz << 32 / m.tscKHz
	return
}
