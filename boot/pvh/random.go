package pvh

import (
	"ampoule/boot/cpu"
	"ampoule/boot/probe"
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
	top, _, _, _ := cpu.ID(0, 0)
	_, _, c1, _ := cpu.ID(1, 0)
	good := false
	if c1&idRDRAND != 0 && m.stir(cpu.RDRAND) {
		m.info.Features |= rtabi.FeatureRDRAND
		good = true
	}
	if top >= 7 {
		if _, b7, _, _ := cpu.ID(7, 0); b7&idRDSEED != 0 && m.stir(cpu.RDSEED) {
			m.info.Features |= rtabi.FeatureRDSEED
			good = true
		}
	}
	for i := 0; i < int(found.NDevices) && i < len(found.Devices); i++ {
		if found.Devices[i].Kind == kindEntropy && m.stirDevice(i) {
			good = true
		}
	}
	if !good {
		return failEntropy
	}
	return failNone
}

// stir mixes 64 bytes from a generator into the seed, and says whether they can
// be trusted: every carry flag set, and plausible.
func (m *machine) stir(generator func() (uint64, bool)) bool {
	var v [8]uint64
	for i := range v {
		var ok bool
		if v[i], ok = generator(); !ok {
			return false
		}
	}
	return m.mix(&v)
}

// mix adds what a source gave to the seed, if it is plausible.
func (m *machine) mix(v *[8]uint64) bool {
	if !plausible(v) {
		return false
	}
	for i, w := range v {
		for k := 0; k < 8; k++ {
			m.info.Random[8*i+k] ^= byte(w >> (8 * k))
		}
	}
	return true
}

// plausible refuses what broken generators have been seen to return: a value
// of all zeros or ones, a value twice.
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

const (
	kindNet     = 1    // virtio 1.2, section 5.1
	kindEntropy = 4    // section 5.4
	drawLimit   = 2000 // ms for all of a device's answers
)

// stirDevice mixes 64 bytes of virtio-rng device i into the seed, and says
// whether it could. It is the one time that boot uses a device. The device is
// restarted afterwards, so that its driver finds an unused queue and an answer
// that comes late has no place to go; one that does not come back is given up.
func (m *machine) stirDevice(i int) bool {
	page := m.pages.page(m.tables.mem)
	if page == 0 {
		return false
	}
	var v [8]uint64
	good := m.draw(i, page, &v)
	faults := found.NFaults
	if probe.Restart(&bus, &request, &found, i) != probe.OK {
		found.Devices[i] = rtabi.Device{}
		m.reportFaults(int(faults))
	}
	m.tables.mem.clear(page)
	return good && m.mix(&v)
}

// draw asks device i for 64 bytes by way of page, as often as it answers with
// less (virtio 1.2, section 5.4.6). The device may answer with anything: a
// length of 0 or beyond what was asked for, another descriptor, or an index
// that jumps, makes it no source.
func (m *machine) draw(i int, page uint64, v *[8]uint64) bool {
	q, p := &found.Devices[i].Queues[0], &found.Ports[i]
	if q.Size == 0 {
		return false
	}
	avail, used := uint64(q.Ring)+rtabi.QueueAvailOff, uint64(q.Ring)+rtabi.QueueUsedOff
	// Nobody takes interrupts yet: neither with the event index nor without.
	bus.Write16(avail, availNoInterrupt)
	bus.Write16(avail+4+2*uint64(q.Size), 1<<15)
	began, have := cpu.TSC(), uint32(0)
	for n := uint16(1); have < 64; n++ {
		slot := uint64(n-1) & uint64(q.Size-1)
		bus.Write64(p.Desc[0], page+uint64(have))
		bus.Write32(p.Desc[0]+8, 64-have)
		bus.Write32(p.Desc[0]+12, rtabi.DescWrite)
		bus.Write16(avail+4+2*slot, 0)
		bus.Write16(avail+2, n)
		notify(p)
		for bus.Read16(used+2) == n-1 {
			if cpu.TSC()-began > drawLimit*m.tscKHz {
				return false
			}
			cpu.Pause()
		}
		id, size := bus.Read32(used+4+8*slot), bus.Read32(used+8+8*slot)
		if bus.Read16(used+2) != n || id != 0 || size == 0 || size > 64-have {
			return false
		}
		have += size
	}
	for k := range v {
		v[k] = bus.Read64(page + 8*uint64(k))
	}
	return true
}

const availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT (virtio 1.2, section 2.7.6)

// notify tells a device to look at its queue 0.
func notify(p *probe.Port) {
	if p.NotifyWidth == 2 {
		bus.Write16(p.Notify[0], uint16(p.NotifyValue[0]))
		return
	}
	bus.Write32(p.Notify[0], p.NotifyValue[0])
}
