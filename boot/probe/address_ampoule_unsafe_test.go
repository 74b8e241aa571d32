//go:build ampoule

package probe

import "unsafe"

// address gives where a variable is. It stays there: the test keeps the
// pointer, and the heap does not move.
func address(p *[16]byte) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
