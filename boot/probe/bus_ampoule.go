//go:build ampoule

package probe

// Bus is the machine: physical memory and I/O ports. The accessors are assembly,
// so that the compiler can neither merge, split, drop nor reorder an access to a
// device.
type Bus struct {
	Base uint64 // where physical address 0 is mapped
}

// Read8 and its like read one naturally sized value at a physical address.
func (b *Bus) Read8(addr uint64) uint8   { return load8(b.Base + addr) }
func (b *Bus) Read16(addr uint64) uint16 { return load16(b.Base + addr) }
func (b *Bus) Read32(addr uint64) uint32 { return load32(b.Base + addr) }
func (b *Bus) Read64(addr uint64) uint64 { return load64(b.Base + addr) }

// Write8 and its like write one naturally sized value to a physical address.
func (b *Bus) Write8(addr uint64, v uint8)   { store8(b.Base+addr, v) }
func (b *Bus) Write16(addr uint64, v uint16) { store16(b.Base+addr, v) }
func (b *Bus) Write32(addr uint64, v uint32) { store32(b.Base+addr, v) }
func (b *Bus) Write64(addr uint64, v uint64) { store64(b.Base+addr, v) }

// ClearPage clears a page of RAM.
func (b *Bus) ClearPage(addr uint64) { clearPage(b.Base + addr) }

// In8 and its like read an I/O port.
func (*Bus) In8(port uint16) uint8   { return in8(port) }
func (*Bus) In16(port uint16) uint16 { return in16(port) }
func (*Bus) In32(port uint16) uint32 { return in32(port) }

// Out8 and its like write an I/O port.
func (*Bus) Out8(port uint16, v uint8)   { out8(port, v) }
func (*Bus) Out16(port uint16, v uint16) { out16(port, v) }
func (*Bus) Out32(port uint16, v uint32) { out32(port, v) }

// The following are in bus_amd64.s.

func load8(addr uint64) uint8
func load16(addr uint64) uint16
func load32(addr uint64) uint32
func load64(addr uint64) uint64
func store8(addr uint64, v uint8)
func store16(addr uint64, v uint16)
func store32(addr uint64, v uint32)
func store64(addr uint64, v uint64)
func clearPage(addr uint64)
func in8(port uint16) uint8
func in16(port uint16) uint16
func in32(port uint16) uint32
func out8(port uint16, v uint8)
func out16(port uint16, v uint16)
func out32(port uint16, v uint32)
