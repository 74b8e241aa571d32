package zone

import "unsafe"

// The loads here are what a search is made of. Each checks its bounds once, where
// slicing first and then putting octets together would do so several times.
//
// Invariant of each: the last octet that is read has been found to be inside, the
// first is at or before it, and x86 loads words from any address. The words are
// little-endian, as the tables are.

// word loads eight octets of a name.
func word(b []byte, at int) uint64 {
	_ = b[uint(at)+7]
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
}

// word loads eight octets. at must be 0 to MaxName, or is taken for it.
func (f *Folded) word(at int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(f), at&0xff))
}

// put stores eight octets. at must be 0 to MaxName, or is taken for it.
func (f *Folded) put(at int, w uint64) {
	*(*uint64)(unsafe.Add(unsafe.Pointer(f), at&0xff)) = w
}

// A Folded holds a word at each place from 0 to 0xff.
var _ [unsafe.Sizeof(Folded{}) - 0x100 - 7]byte

// word loads eight octets.
func (z Zone) word(at uint32) uint64 {
	_ = z[uint64(at)+7]
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.StringData(string(z))), at))
}

func (z Zone) u32(at uint32) uint32 {
	_ = z[uint64(at)+3]
	return *(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.StringData(string(z))), at))
}

func (z Zone) u16(at uint32) uint16 {
	_ = z[uint64(at)+1]
	return *(*uint16)(unsafe.Add(unsafe.Pointer(unsafe.StringData(string(z))), at))
}
