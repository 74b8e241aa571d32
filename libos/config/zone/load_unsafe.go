package zone

import "unsafe"

// The loads here are what a search is made of. Each checks its bounds once, where
// slicing first and then putting octets together would do so several times.
//
// Invariant of each: the last octet that is read has been found to be inside, the
// first is at or before it, and x86 loads words from any address. The words are
// little-endian, as the tables are.

// word loads eight octets. at must be 0 to MaxName, or is taken for it.
func (f *Octets) word(at int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(f), at&0xff))
}

// put stores eight octets. at must be 0 to MaxName, or is taken for it.
func (f *Octets) put(at int, w uint64) {
	*(*uint64)(unsafe.Add(unsafe.Pointer(f), at&0xff)) = w
}

// A Octets holds a word at each place from 0 to 0xff.
var _ [unsafe.Sizeof(Octets{}) - 0x100 - 7]byte

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

// Search returns the node of the name f[at:at+size] with that hash, or None. The
// case of the name is any; it is found sooner in lower case. Search calls nothing on
// its way to such a name, so that all it works with stays in registers.
func (z Zone) Search(f *Octets, at, size int, hash uint64) Node {
	if uint(at)+uint(size) > MaxName { // so Tail octets follow
		return None
	}
	table := z.word(slotsPlace)
	slots, mask := uint64(uint32(table)), table>>32
	_ = z[slots+mask*slotSize+slotSize-1]
	base := unsafe.Pointer(unsafe.StringData(string(z)))
	for s := hash; ; s++ {
		slot := *(*uint64)(unsafe.Add(base, slots+s&mask*slotSize))
		if (slot^hash)>>32 != 0 {
			if slot == 0 {
				return None
			}
			continue
		}
		n := uint64(uint32(slot))
		// Behind each name in a Zone there are tables, so that reading Tail octets
		// beyond it stays inside.
		_ = z[n+nodeSize+uint64(size)+Tail-1]
		if size < 8 || *(*uint8)(unsafe.Add(base, n+lengthPlace)) != uint8(size) {
			return z.searchFolded(f, at, size, hash)
		}
		name, asked := unsafe.Add(base, n+nodeSize), unsafe.Add(unsafe.Pointer(f), at)
		for i := 0; i < size-8; i += 8 {
			if *(*uint64)(unsafe.Add(name, i)) != *(*uint64)(unsafe.Add(asked, i)) {
				return z.searchFolded(f, at, size, hash)
			}
		}
		if *(*uint64)(unsafe.Add(name, size-8)) != *(*uint64)(unsafe.Add(asked, size-8)) {
			return z.searchFolded(f, at, size, hash)
		}
		return Node(n)
	}
}

// copyTo copies z[from:from+n] to b[at:], and may write anything to Room octets more.
func (z Zone) copyTo(b *Message, at, from, n uint) {
	_, _ = z[from+n+Room-1], b[at+n+Room-1]
	p := unsafe.Add(unsafe.Pointer(unsafe.StringData(string(z))), from)
	q := unsafe.Add(unsafe.Pointer(b), at)
	for i := uint(0); i < n; i += 16 {
		*(*[16]byte)(unsafe.Add(q, i)) = *(*[16]byte)(unsafe.Add(p, i))
	}
}
