package pvh

import (
	"unsafe"

	"ampoule/boot/layout"
)

// memory is physical memory as the boot code sees it: from layout.Direct on the
// machine, a buffer in tests.
type memory struct{ base uintptr }

// at trusts the caller that addr is physical memory: every address that comes
// here is from the memory map or from pageAlloc, or is checked by the caller.
func (m memory) at(addr uint64) unsafe.Pointer {
	p := m.base + uintptr(addr)
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

func (m memory) load(addr uint64) uint64       { return *(*uint64)(m.at(addr)) }
func (m memory) store(addr, v uint64)          { *(*uint64)(m.at(addr)) = v }
func (m memory) load32(addr uint64) uint32     { return *(*uint32)(m.at(addr)) }
func (m memory) store32(addr uint64, v uint32) { *(*uint32)(m.at(addr)) = v }
func (m memory) load8(addr uint64) uint8       { return *(*uint8)(m.at(addr)) }

// clear zeroes the page at addr.
func (m memory) clear(addr uint64) { *(*[layout.Page]byte)(m.at(addr)) = [layout.Page]byte{} }

// code is the place of the gate's code at addr.
func (m memory) code(addr uint64) *[layout.GateCodeSize]byte {
	return (*[layout.GateCodeSize]byte)(m.at(addr))
}
