package pvh

import "unsafe"

// memory is physical memory as the boot code sees it: mapped one to one on the
// machine (base 0), a buffer in tests.
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

// bytes is n bytes of physical memory at addr.
func (m memory) bytes(addr uint64, n int) []byte { return unsafe.Slice((*byte)(m.at(addr)), n) }

func (m memory) clear(addr, n uint64) { clear(m.bytes(addr, int(n))) }
