//go:build !ampoule

package probe

import (
	"encoding/binary"
	"fmt"
)

// fake is a machine with RAM, virtio-mmio devices and a PCI bus. An access that
// nothing answers reads as ones, as on QEMU; strays counts them.
type fake struct {
	ram    []byte // from address 0
	mmio   map[uint64]*fakeVirtio
	pci    *fakePCI
	rom    tables // where it is set, everything else reads as zero
	strays int
	loads  int
}

func newFake() *fake {
	f := &fake{ram: make([]byte, 4<<20), mmio: map[uint64]*fakeVirtio{}}
	for i := range f.ram {
		f.ram[i] = 0xa5 // whoever needs zeroes has to write them
	}
	return f
}

func (f *fake) bus() *Bus {
	return &Bus{M: &Machine{Load: f.load, Store: f.store, In: f.in, Out: f.out}}
}

func (f *fake) load(addr uint64, size int) uint64 {
	f.loads++
	if n := uint64(len(f.ram)); addr < n && addr+uint64(size) <= n {
		var b [8]byte
		copy(b[:], f.ram[addr:addr+uint64(size)])
		return binary.LittleEndian.Uint64(b[:])
	}
	if f.rom != nil {
		return f.rom.load(addr, size)
	}
	if d, base := f.device(addr); d != nil {
		return d.mmioLoad(addr-base, size)
	}
	if f.pci != nil {
		if v, ok := f.pci.load(addr, size); ok {
			return v
		}
	}
	f.strays++
	return 1<<(8*size) - 1
}

func (f *fake) store(addr uint64, size int, v uint64) {
	if n := uint64(len(f.ram)); addr < n && addr+uint64(size) <= n {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		copy(f.ram[addr:], b[:size])
		return
	}
	if d, base := f.device(addr); d != nil {
		d.mmioStore(addr-base, size, v)
		return
	}
	if f.pci != nil && f.pci.store(addr, size, v) {
		return
	}
	f.strays++
}

func (f *fake) device(addr uint64) (*fakeVirtio, uint64) {
	base := addr &^ 511
	return f.mmio[base], base
}

func (f *fake) in(port uint16, size int) uint32 {
	if f.pci != nil {
		if v, ok := f.pci.in(port, size); ok {
			return v
		}
	}
	return uint32(1<<(8*size) - 1)
}

func (f *fake) out(port uint16, size int, v uint32) {
	if f.pci != nil {
		f.pci.out(port, size, v)
	}
}

// fakeQueue is what a device was told of a queue.
type fakeQueue struct {
	size, enabled     uint32
	desc, avail, used uint64
	vector            uint16
}

// fakeVirtio is a virtio device that keeps to the order of virtio 1.2, section
// 3.1.1, and notes in wrong whatever breaks it. The fields up to evil say what
// it is; those of evil how it misbehaves.
type fakeVirtio struct {
	magic, version uint32
	kind           uint32
	features       uint64
	config         []byte
	max            []uint32 // size limits of the queues

	evil struct {
		neverResets  bool
		refuses      bool // never sets FEATURES_OK
		restless     bool // the generation changes with each read
		settles      int  // restless for so many reads
		busyQueues   bool
		deafQueues   bool // queues never enable
		dies         bool // NEEDS_RESET after DRIVER_OK
		noVectors    bool
		notifyOff    uint16
		setNotifyOff bool
	}

	status        uint8
	devSel, drSel uint32
	accepted      uint64
	sel           uint32
	queues        [8]fakeQueue
	generation    uint32
	resets        int
	configVector  uint16
	wrong         []string
}

func newVirtio(kind uint32) *fakeVirtio {
	d := &fakeVirtio{magic: magicValue, version: 2, kind: kind, features: 1 << 32, status: 0x0f}
	for i := range d.queues {
		d.queues[i].enabled = 1 // as a firmware leaves them; a reset clears it
	}
	switch kind {
	case kindNet:
		d.features |= 1<<5 | 1<<15 | 1<<28 | 1<<29 | 1<<34 | 1<<35 | 1<<40
		d.config = []byte{2, 3, 4, 5, 6, 7, 1, 0, 1, 0, 0xdc, 5}
		d.max = []uint32{1024, 200}
	case kindEntropy:
		d.max = []uint32{8}
	}
	return d
}

func (d *fakeVirtio) complain(format string, a ...any) {
	d.wrong = append(d.wrong, fmt.Sprintf(format, a...))
}

func (d *fakeVirtio) writeStatus(v uint8) {
	if v == 0 {
		d.resets++
		if d.evil.neverResets {
			return
		}
		d.status, d.accepted, d.configVector = 0, 0, 0
		for i := range d.queues {
			d.queues[i] = fakeQueue{}
			if d.evil.busyQueues {
				d.queues[i].enabled = 1
			}
		}
		return
	}
	if v&statusFailed != 0 {
		d.status = v
		return
	}
	order := map[uint8]uint8{0: 1, 1: 3, 3: 11, 11: 15}
	if order[d.status] != v {
		d.complain("status %#x after %#x", v, d.status)
	}
	if v == 11 && d.evil.refuses {
		v = 3
	}
	if v == 15 && d.evil.dies {
		v |= statusNeedsReset
	}
	d.status = v
}

func (d *fakeVirtio) readGeneration() uint32 {
	if d.evil.restless || d.evil.settles > 0 {
		d.evil.settles--
		d.generation++
	}
	return d.generation
}

func (d *fakeVirtio) readConfig(off uint64, size int) uint64 {
	if off%uint64(size) != 0 {
		d.complain("configuration read of %d bytes at %d", size, off)
	}
	var b [8]byte
	for i := range b {
		b[i] = 0xff
		if off+uint64(i) < uint64(len(d.config)) {
			b[i] = d.config[off+uint64(i)]
		}
	}
	return binary.LittleEndian.Uint64(b[:]) & (1<<(8*size) - 1)
}

func (d *fakeVirtio) queueMax() uint32 {
	if d.sel >= uint32(len(d.max)) {
		return 0
	}
	return d.max[d.sel]
}

// queue is the selected queue, which may be changed only between FEATURES_OK
// and its enabling.
func (d *fakeVirtio) queue(change bool) *fakeQueue {
	q := &d.queues[d.sel%uint32(len(d.queues))]
	if change && (d.status != 11 || q.enabled != 0) {
		d.complain("queue %d changed with status %#x, enabled %d", d.sel, d.status, q.enabled)
	}
	return q
}

func (d *fakeVirtio) accept(v uint32) {
	if d.status != 3 {
		d.complain("features written with status %#x", d.status)
	}
	d.accepted = d.accepted&^(0xffffffff<<(32*d.drSel)) | uint64(v)<<(32*d.drSel)
}

func (d *fakeVirtio) enable(v uint32) {
	q := d.queue(true)
	if !d.evil.deafQueues {
		q.enabled = v
	}
}

func half(p *uint64, high bool, v uint64) {
	if high {
		*p = *p&0xffffffff | v<<32
		return
	}
	*p = *p&^0xffffffff | v
}

func (d *fakeVirtio) mmioLoad(off uint64, size int) uint64 {
	if off >= 0x100 {
		return d.readConfig(off-0x100, size)
	}
	if size != 4 {
		d.complain("register %#x read with %d bytes", off, size)
	}
	switch off {
	case 0x00:
		return uint64(d.magic)
	case 0x04:
		return uint64(d.version)
	case 0x08:
		return uint64(d.kind)
	case 0x10:
		return d.features >> (32 * d.devSel) & 0xffffffff
	case 0x34:
		return uint64(d.queueMax())
	case 0x44:
		return uint64(d.queue(false).enabled)
	case 0x70:
		return uint64(d.status)
	case 0xfc:
		return uint64(d.readGeneration())
	}
	d.complain("register %#x read", off)
	return 0
}

func (d *fakeVirtio) mmioStore(off uint64, size int, v uint64) {
	if size != 4 {
		d.complain("register %#x written with %d bytes", off, size)
	}
	switch off {
	case 0x14:
		d.devSel = uint32(v)
	case 0x20:
		d.accept(uint32(v))
	case 0x24:
		d.drSel = uint32(v)
	case 0x30:
		d.sel = uint32(v)
	case 0x38:
		d.queue(true).size = uint32(v)
	case 0x44:
		d.enable(uint32(v))
	case 0x70:
		d.writeStatus(uint8(v))
	case 0x80, 0x84:
		half(&d.queue(true).desc, off == 0x84, v)
	case 0x90, 0x94:
		half(&d.queue(true).avail, off == 0x94, v)
	case 0xa0, 0xa4:
		half(&d.queue(true).used, off == 0xa4, v)
	default:
		d.complain("register %#x written", off)
	}
}
