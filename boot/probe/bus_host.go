//go:build !ampoule

package probe

import "ampoule/libos/rt/rtabi"

// Bus is the machine. On the host it leads to a Machine of the test's making.
type Bus struct {
	Base uint64 // where the machine's boot code has physical address 0; of no use here
	M    *Machine
}

// Machine answers for hardware. Size is the width of an access in bytes.
type Machine struct {
	Load  func(addr uint64, size int) uint64
	Store func(addr uint64, size int, v uint64)
	In    func(port uint16, size int) uint32
	Out   func(port uint16, size int, v uint32)
}

// Read8 and its like read one naturally sized value at a physical address.
func (b *Bus) Read8(addr uint64) uint8   { return uint8(b.M.Load(addr, 1)) }
func (b *Bus) Read16(addr uint64) uint16 { return uint16(b.M.Load(addr, 2)) }
func (b *Bus) Read32(addr uint64) uint32 { return uint32(b.M.Load(addr, 4)) }
func (b *Bus) Read64(addr uint64) uint64 { return b.M.Load(addr, 8) }

// Write8 and its like write one naturally sized value to a physical address.
func (b *Bus) Write8(addr uint64, v uint8)   { b.M.Store(addr, 1, uint64(v)) }
func (b *Bus) Write16(addr uint64, v uint16) { b.M.Store(addr, 2, uint64(v)) }
func (b *Bus) Write32(addr uint64, v uint32) { b.M.Store(addr, 4, uint64(v)) }
func (b *Bus) Write64(addr uint64, v uint64) { b.M.Store(addr, 8, v) }

// ClearPage clears a page of RAM.
func (b *Bus) ClearPage(addr uint64) {
	for i := uint64(0); i < rtabi.PageSize; i += 8 {
		b.Write64(addr+i, 0)
	}
}

// In8 and its like read an I/O port.
func (b *Bus) In8(port uint16) uint8   { return uint8(b.M.In(port, 1)) }
func (b *Bus) In16(port uint16) uint16 { return uint16(b.M.In(port, 2)) }
func (b *Bus) In32(port uint16) uint32 { return b.M.In(port, 4) }

// Out8 and its like write an I/O port.
func (b *Bus) Out8(port uint16, v uint8)   { b.M.Out(port, 1, uint32(v)) }
func (b *Bus) Out16(port uint16, v uint16) { b.M.Out(port, 2, uint32(v)) }
func (b *Bus) Out32(port uint16, v uint32) { b.M.Out(port, 4, v) }
