//go:build !ampoule

package pvh

import (
	"math"
	"math/big"
	"testing"
	"time"

	"ampoule/boot/cpu"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

const clockPage = 0x30000

// withClock gives a machine with a clock page.
func withClock(t testing.TB) (*machine, *hardware, *rtabi.Clock) {
	m, hw := newMachine(t)
	m.clockPhys = clockPage
	return m, hw, clockAt(m.tables.mem, clockPage)
}

// ns converts TSC ticks as the runtime does (pvclock): shift, multiply to 96
// bits, and drop 32.
func ns(c *rtabi.Clock, tsc uint64) *big.Int {
	d := tsc - c.TSC
	if c.Shift < 0 {
		d >>= uint(-c.Shift)
	} else {
		d <<= uint(c.Shift)
	}
	v := new(big.Int).Mul(new(big.Int).SetUint64(d), big.NewInt(int64(c.Mul)))
	return v.Add(v.Rsh(v, 32), new(big.Int).SetUint64(c.System))
}

// frequencies in kHz, from 100 MHz to 6 GHz.
func frequencies() []uint64 {
	f := []uint64{100e3, 499999, 500e3, 500001, 999999, 1e6, 1e6 + 1, 1999999, 2e6, 2e6 + 1, 2394456, 3999999, 4e6, 4e6 + 1, 6e6}
	for khz := uint64(100e3); khz < 6e6; khz += 77777 {
		f = append(f, khz)
	}
	return f
}

// relative is the error of got, as a part of want.
func relative(got, want float64) float64 { return math.Abs(got-want) / want }

func TestOwnClock(t *testing.T) {
	m, _, c := withClock(t)
	for _, khz := range append(frequencies(), minTSC, maxTSC) {
		*c = rtabi.Clock{}
		m.tscKHz = khz
		const start = 123456789
		m.ownClock(start)
		if c.Version&1 != 0 || c.System != 0 || c.TSC != start {
			t.Fatalf("%d kHz: %+v", khz, c)
		}
		for _, seconds := range []uint64{1, 3600, 366 * 86400} {
			got, _ := new(big.Float).SetInt(ns(c, start+seconds*khz*1000)).Float64()
			if e := relative(got, float64(seconds)*1e9); e > 1e-6 {
				t.Errorf("%d kHz: %d s are %.0f ns, off by %g", khz, seconds, got, e)
			}
		}
		// No jump as the TSC goes on.
		if a, b := ns(c, start+1e15), ns(c, start+1e15+1000); a.Cmp(b) > 0 {
			t.Errorf("%d kHz: time goes back", khz)
		}
	}
}

// clockKHz must undo what KVM does to make a clock page of a frequency.
func TestClockKHz(t *testing.T) {
	m, _, c := withClock(t)
	for _, khz := range frequencies() {
		m.tscKHz = khz
		m.ownClock(0)
		c.Version = 2
		if got := clockKHz(c); relative(float64(got), float64(khz)) > 2e-6 {
			t.Errorf("%d kHz came back as %d", khz, got)
		}
	}
	good := rtabi.Clock{Version: 2, Mul: 1 << 31, Shift: -1} // 4 GHz
	if got := clockKHz(&good); got != 4e6 {
		t.Errorf("4 GHz came back as %d kHz", got)
	}
	for _, change := range []func(*rtabi.Clock){
		func(c *rtabi.Clock) { c.Version = 0 },
		func(c *rtabi.Clock) { c.Version = 3 },
		func(c *rtabi.Clock) { c.Mul = 0 },
		func(c *rtabi.Clock) { c.Mul = 1 },
		func(c *rtabi.Clock) { c.Shift = -128 },
		func(c *rtabi.Clock) { c.Shift = 127 },
		func(c *rtabi.Clock) { c.Shift = 16 },
	} {
		bad := good
		if change(&bad); clockKHz(&bad) != 0 {
			t.Errorf("%+v passes for %d kHz", bad, clockKHz(&bad))
		}
	}
}

// The gate's arithmetic has 64 bits: no factor may lose any, and the tick must
// fit the timer's 32.
func TestGateClock(t *testing.T) {
	var m machine
	for _, m.tscKHz = range append(frequencies(), minTSC, maxTSC) {
		for _, m.apicKHz = range []uint64{minAPIC, 1000, 62500, 1e6 / 16, 1e6, 4e6, maxAPIC} {
			tick, count, perNS, scale := m.gateClock(layout.TickHz)
			tsc, apic := float64(m.tscKHz)*1000, float64(m.apicKHz)*1000
			for _, c := range []struct {
				name      string
				got, want float64
			}{
				{"tick", float64(tick), tsc / layout.TickHz},
				{"timer count", float64(count), apic / layout.TickHz},
				{"TSC per ns", float64(perNS) / (1 << 32), tsc / 1e9},
				{"counts per TSC", float64(scale) / (1 << 32), apic / tsc},
			} {
				if relative(c.got, c.want) > 1e-3 {
					t.Errorf("%d, %d kHz: %s is %g, want %g", m.tscKHz, m.apicKHz, c.name, c.got, c.want)
				}
			}
			if count == 0 || count > 1<<32-1 {
				t.Errorf("%d kHz: a timer count of %d", m.apicKHz, count)
			}
		}
	}
}

// TestCalibrate measures a PIT and a timer that run at known rates.
func TestCalibrate(t *testing.T) {
	for _, hz := range []float64{1e9, 2.4e9, 4e9} {
		m, hw, _ := withClock(t)
		hw.tscHz, hw.lapic.hz, hw.pit.there = hz, 62.5e6, true
		if f := m.calibrate(); f != failNone {
			t.Fatalf("%g Hz: %v", hz, f)
		}
		if relative(float64(m.tscKHz)*1000, hz) > 0.01 || relative(float64(m.apicKHz), 62500) > 0.01 {
			t.Errorf("%g Hz: measured %d and %d kHz", hz, m.tscKHz, m.apicKHz)
		}
		m.apicKHz = 0
		if f := m.calibrateTimer(); f != failNone || relative(float64(m.apicKHz), 62500) > 0.02 {
			t.Errorf("%g Hz: timer at %d kHz, %v", hz, m.apicKHz, f)
		}
	}
}

// A host that takes the CPU away for longer than the PIT counts must not
// falsify the result.
func TestCalibrateInterrupted(t *testing.T) {
	for away := 1; away <= pitTries; away++ {
		m, hw, _ := withClock(t)
		hw.lapic.hz, hw.pit.there, hw.pit.away = 62.5e6, true, away
		f := m.calibrate()
		for again := 0; f == failClock && away+hw.pit.taken >= pitTries && away < pitTries && again < 100; again++ {
			// The tries that were left ran into a host that did so itself.
			hw.pit.loads, hw.pit.taken = 0, 0
			f = m.calibrate()
		}
		if away == pitTries && f != failClock {
			t.Errorf("away each time: %v", f)
		}
		if away < pitTries && (f != failNone || relative(float64(m.tscKHz), 2e6) > 0.01) {
			t.Errorf("away %d times: %v, %d kHz", away, f, m.tscKHz)
		}
	}
}

// Machines without a clock end with a reason, and soon.
func TestNoClock(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*hardware)
	}{
		{"no PIT", func(hw *hardware) { hw.lapic.hz = 1e6 }},
		{"a PIT that stands", func(hw *hardware) { hw.pit.there, hw.pit.stuck, hw.lapic.hz = true, true, 1e6 }},
		{"no timer", func(hw *hardware) { hw.pit.there = true }},
	} {
		m, hw, _ := withClock(t)
		tc.set(hw)
		began := time.Now()
		if f := m.calibrate(); f != failClock {
			t.Errorf("%s: %v", tc.name, f)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s: it took %v", tc.name, d)
		}
	}
	m, _, _ := withClock(t)
	m.tscKHz = 2e6
	if f := m.calibrateTimer(); f != failTimer {
		t.Errorf("no timer, against the TSC: %v", f)
	}
}

// cpuid answers leaves from a table, zeros otherwise.
type cpuid map[uint32][4]uint32

func (c cpuid) id(leaf, sub uint32) (a, b, cc, d uint32) {
	v := c[leaf]
	return v[0], v[1], v[2], v[3]
}

func TestKVMFeatures(t *testing.T) {
	const features = 0x01007efb
	hypervisor := [4]uint32{0, 0, idHypervisor, 0}
	kvm := func(top uint32) [4]uint32 { return [4]uint32{top, kvmB, kvmC, kvmD} }
	tcg := [4]uint32{hypervisorLeaf + 1, 0x54474354, 0x43544743, 0x47435447}
	for _, tc := range []struct {
		name string
		cpuid
		features uint32
		apic     uint64
	}{
		{"KVM", cpuid{1: hypervisor, 0x40000000: kvm(0x40000001), 0x40000001: {features}}, features, 0},
		{"old KVM", cpuid{1: hypervisor, 0x40000000: kvm(0), 0x40000001: {features}}, features, 0},
		{"KVM that tells", cpuid{1: hypervisor, 0x40000000: kvm(0x40000010), 0x40000001: {features}, 0x40000010: {2e6, 1e6}}, features, 62500},
		{"KVM that tells nonsense", cpuid{1: hypervisor, 0x40000000: kvm(0x40000010), 0x40000001: {features}, 0x40000010: {2e6, 1}}, features, 0},
		{"KVM behind Hyper-V", cpuid{1: hypervisor, 0x40000000: {0x40000005, 0x7263694d, 0x666f736f, 0x76482074},
			0x40000100: kvm(0x40000101), 0x40000101: {features}}, features, 0},
		{"TCG", cpuid{1: hypervisor, 0x40000000: tcg, 0x40000001: {features}}, 0, 0},
		{"no hypervisor", cpuid{0x40000000: kvm(0x40000001), 0x40000001: {features}}, 0, 0},
		{"nothing", cpuid{}, 0, 0},
	} {
		if got := kvmFeatures(tc.id); got != tc.features {
			t.Errorf("%s: features %#x, want %#x", tc.name, got, tc.features)
		}
		if got := kvmAPIC(tc.id); tc.features != 0 && got != tc.apic {
			t.Errorf("%s: timer at %d kHz, want %d", tc.name, got, tc.apic)
		}
	}
}

func TestKVMWall(t *testing.T) {
	m, hw := newMachine(t)
	for _, tc := range []struct {
		version, sec, ns uint32
		want             int64
	}{
		{2, 1700000000, 999999999, 1700000000_999999999},
		{4, 1 << 31, 0, 1 << 31 * 1e9},
		{0, 1700000000, 1, 0},
		{3, 1700000000, 1, 0},
		{2, 1700000000, 1e9, 0},
	} {
		hw.mem.store32(clockPage, tc.version)
		hw.mem.store32(clockPage+4, tc.sec)
		hw.mem.store32(clockPage+8, tc.ns)
		if got := m.kvmWall(clockPage); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

// The two readings that belong together are close together.
func TestTakeSample(t *testing.T) {
	_, hw, _ := withClock(t)
	hw.pit.there, hw.lapic.hz = true, 1e6
	before := cpu.TSC()
	s := takeSample()
	if s.tsc < before || s.tsc > cpu.TSC() {
		t.Errorf("sample at %d, began at %d", s.tsc, before)
	}
	hw.pit.there = false
	if !takeSample().bad {
		t.Error("a sample without a PIT is good")
	}
}
