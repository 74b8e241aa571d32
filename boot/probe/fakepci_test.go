//go:build !ampoule

package probe

import (
	"encoding/binary"
	"fmt"
)

// fakePCI is configuration mechanism 1 and the functions behind it.
type fakePCI struct {
	addr uint32
	fns  map[function]*fakeFn
}

// fakeFn is one function. Its writable registers are the command, the BARs and
// the MSI-X control word.
type fakeFn struct {
	cfg     [256]byte
	barSize [6]uint64 // 0: not there; the upper half of a 64-bit BAR has none
	virtio  *fakeVirtio
	msix    uint32 // offset of the capability
	table   []byte
	wrong   []string
}

// Layout of BAR 4 of a fakeFn.
const (
	fakeCommon = 0x0000
	fakeISR    = 0x1000
	fakeConfig = 0x2000
	fakeNotify = 0x3000
	fakeTable  = 0x4000
	fakeBAR    = 0x8000
	fakeMul    = 4
)

func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }
func get32(b []byte) uint32    { return binary.LittleEndian.Uint32(b) }

// newFn makes a modern device of a kind with BAR 4 at addr, which is 64 bits
// wide, and entries MSI-X entries.
func newFn(kind uint32, addr uint64, entries int) *fakeFn {
	fn := &fakeFn{virtio: newVirtio(kind), table: make([]byte, entries*16)}
	c := fn.cfg[:]
	put16(c[0:], 0x1af4)
	put16(c[2:], uint16(0x1040+kind))
	put16(c[4:], commandIO|commandMaster) // as a firmware may leave it
	put16(c[6:], statusCaps)
	c[cfgCapPtr] = 0x40
	put32(c[0x20:], uint32(addr)|barType64|8)
	put32(c[0x24:], uint32(addr>>32))
	fn.barSize[4] = fakeBAR
	fn.cap(0x40, 0x50, virtioCapCommon, fakeCommon, 0x38)
	fn.cap(0x50, 0x60, virtioCapISR, fakeISR, 1)
	fn.cap(0x60, 0x70, virtioCapDevice, fakeConfig, 0x100)
	fn.cap(0x70, 0x84, virtioCapNotify, fakeNotify, 0x100)
	c[0x72] = 20
	put32(c[0x80:], fakeMul)
	fn.msix = 0x84
	copy(c[0x84:], []byte{capMSIX, 0})
	put16(c[0x86:], uint16(entries-1))
	put32(c[0x88:], fakeTable|4)
	put32(c[0x8c:], 0x6000|4)
	return fn
}

func (fn *fakeFn) cap(at, next, kind int, off, n uint32) {
	copy(fn.cfg[at:], []byte{capVendor, byte(next), 16, byte(kind), 4, 0, 0, 0})
	put32(fn.cfg[at+8:], off)
	put32(fn.cfg[at+12:], n)
}

func newBridge(secondary, last byte) *fakeFn {
	fn := &fakeFn{}
	put16(fn.cfg[0:], 0x8086)
	put16(fn.cfg[4:], commandMemory|commandMaster)
	fn.cfg[cfgClass], fn.cfg[cfgHeader] = classBridge, headerBridge
	fn.cfg[cfgSecondary], fn.cfg[cfgLastBus] = secondary, last
	return fn
}

func (fn *fakeFn) command() uint16 { return binary.LittleEndian.Uint16(fn.cfg[4:]) }

func (fn *fakeFn) control() uint16 { return binary.LittleEndian.Uint16(fn.cfg[fn.msix+2:]) }

func (fn *fakeFn) complain(format string, a ...any) {
	fn.wrong = append(fn.wrong, fmt.Sprintf(format, a...))
}

// bar gives the address of a BAR.
func (fn *fakeFn) bar(i int) uint64 {
	v := uint64(get32(fn.cfg[0x10+4*i:]))
	if v&barPort == 0 && v&barType == barType64 && i < 5 {
		v |= uint64(get32(fn.cfg[0x14+4*i:])) << 32
	}
	return v &^ 0xf
}

func (fn *fakeFn) write(off uint32, size int, v uint32) {
	switch {
	case off == cfgCommand && size == 2:
		put16(fn.cfg[off:], uint16(v))
	case fn.msix != 0 && off == fn.msix+2 && size == 2:
		fixed := fn.control() &^ (msixEnable | msixMaskAll)
		put16(fn.cfg[off:], fixed|uint16(v)&(msixEnable|msixMaskAll))
	case off >= cfgBAR0 && off < cfgBAR0+24 && size == 4:
		if fn.command()&(commandIO|commandMemory) != 0 {
			fn.complain("BAR written while decoding")
		}
		i := (off - cfgBAR0) / 4
		old := get32(fn.cfg[off:])
		if s := fn.barSize[i]; s != 0 {
			put32(fn.cfg[off:], v&uint32(-s)|old&0xf)
		} else if i > 0 && fn.barSize[i-1] != 0 && get32(fn.cfg[off-4:])&barType == barType64 {
			put32(fn.cfg[off:], v&uint32(-fn.barSize[i-1]>>32))
		}
	default:
		fn.complain("configuration register %#x written with %d bytes", off, size)
	}
}

func (p *fakePCI) in(port uint16, size int) (uint32, bool) {
	if port == portAddress && size == 4 {
		return p.addr, true
	}
	if port < portData || port+uint16(size) > portData+4 || p.addr>>31 == 0 {
		return 0, false
	}
	fn := p.fns[function(p.addr>>8&0xffff)]
	if fn == nil {
		return 1<<(8*size) - 1, true
	}
	var b [4]byte
	copy(b[:size], fn.cfg[p.addr&0xfc+uint32(port-portData):])
	return get32(b[:]), true
}

func (p *fakePCI) out(port uint16, size int, v uint32) {
	if port == portAddress && size == 4 {
		p.addr = v
		return
	}
	if port < portData || port+uint16(size) > portData+4 || p.addr>>31 == 0 {
		return
	}
	if fn := p.fns[function(p.addr>>8&0xffff)]; fn != nil {
		fn.write(p.addr&0xfc+uint32(port-portData), size, v)
	}
}

// at finds the virtio function that decodes an address in its BAR 4.
func (p *fakePCI) at(addr uint64) (*fakeFn, uint64) {
	for _, fn := range p.fns {
		if b := fn.bar(4); fn.virtio != nil && fn.command()&commandMemory != 0 && b != 0 && addr >= b && addr < b+fakeBAR {
			return fn, addr - b
		}
	}
	return nil, 0
}

func (p *fakePCI) load(addr uint64, size int) (uint64, bool) {
	fn, off := p.at(addr)
	switch {
	case fn == nil:
		return 0, false
	case off < fakeCommon+0x38:
		return fn.virtio.pciLoad(off, size), true
	case off >= fakeConfig && off < fakeConfig+0x100:
		return fn.virtio.readConfig(off-fakeConfig, size), true
	}
	fn.complain("%d bytes read at %#x of the BAR", size, off)
	return 0, true
}

func (p *fakePCI) store(addr uint64, size int, v uint64) bool {
	fn, off := p.at(addr)
	switch {
	case fn == nil:
		return false
	case off < fakeCommon+0x38:
		if fn.command()&commandMaster != 0 && fn.virtio.resets == 0 {
			fn.complain("bus master before the reset")
		}
		fn.virtio.pciStore(off, size, v)
	case off >= fakeTable && off+4 <= fakeTable+uint64(len(fn.table)) && size == 4:
		if c := fn.control(); c&msixMaskAll == 0 {
			fn.complain("MSI-X table written unmasked")
		}
		put32(fn.table[off-fakeTable:], uint32(v))
	default:
		fn.complain("%d bytes written at %#x of the BAR", size, off)
	}
	return true
}

var commonWidths = map[uint64]int{
	0: 4, 4: 4, 8: 4, 0xc: 4, 0x10: 2, 0x12: 2, 0x14: 1, 0x15: 1, 0x16: 2, 0x18: 2, 0x1a: 2, 0x1c: 2, 0x1e: 2,
	0x20: 4, 0x24: 4, 0x28: 4, 0x2c: 4, 0x30: 4, 0x34: 4,
}

func (d *fakeVirtio) pciLoad(off uint64, size int) uint64 {
	if commonWidths[off] != size {
		d.complain("common field %#x read with %d bytes", off, size)
	}
	q := d.queue(false)
	switch off {
	case 0x04:
		return d.features >> (32 * d.devSel) & 0xffffffff
	case 0x12:
		return uint64(len(d.max))
	case 0x14:
		return uint64(d.status)
	case 0x15:
		return uint64(d.readGeneration() & 0xff)
	case 0x18:
		if q.size != 0 {
			return uint64(q.size)
		}
		return uint64(d.queueMax())
	case 0x1a:
		if d.evil.noVectors {
			return noVector
		}
		return uint64(q.vector)
	case 0x1c:
		return uint64(q.enabled)
	case 0x1e:
		if d.evil.setNotifyOff {
			return uint64(d.evil.notifyOff)
		}
		return uint64(d.sel)
	}
	d.complain("common field %#x read", off)
	return 0
}

func (d *fakeVirtio) pciStore(off uint64, size int, v uint64) {
	if commonWidths[off] != size {
		d.complain("common field %#x written with %d bytes", off, size)
	}
	switch off {
	case 0x00:
		d.devSel = uint32(v)
	case 0x08:
		d.drSel = uint32(v)
	case 0x0c:
		d.accept(uint32(v))
	case 0x10:
		d.configVector = uint16(v)
	case 0x14:
		d.writeStatus(uint8(v))
	case 0x16:
		d.sel = uint32(v)
	case 0x18:
		d.queue(true).size = uint32(v)
	case 0x1a:
		d.queue(true).vector = uint16(v)
	case 0x1c:
		d.enable(uint32(v))
	case 0x20, 0x24:
		half(&d.queue(true).desc, off == 0x24, v)
	case 0x28, 0x2c:
		half(&d.queue(true).avail, off == 0x2c, v)
	case 0x30, 0x34:
		half(&d.queue(true).used, off == 0x34, v)
	default:
		d.complain("common field %#x written", off)
	}
}
