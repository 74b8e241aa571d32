package zone

import "math/bits"

// Tail is how many readable bytes must follow a name that is hashed or compared:
// it is read in words of eight, and what lies behind it is masked.
const Tail = 8

const (
	every    = 0x0101010101010101
	upper    = 0x80 * every
	caseless = 0x20 * every
	factor   = 0x9e3779b97f4a7c15
)

// lowerWord puts the ASCII letters of eight octets into lower case (RFC 4343).
// Length octets are below 64 and so are no letters.
func lowerWord(w uint64) uint64 {
	low := w &^ uint64(upper)
	atLeastA := low + (0x80-'A')*every
	aboveZ := low + (0x7f-'Z')*every
	return w | (atLeastA^aboveZ)&^w&upper>>2
}

// Octets holds a name in wire format with Tail octets of anything behind it.
type Octets [(MaxName+7)/8*8 + Tail]byte

// Read returns the octets and the hash of the name at the start of f, whose case is
// any, taking the first octet of zero for its end. It does not look at the labels:
// what Search then finds is a name of that size, but a name may also have such an
// octet in a label, and what is not found may be no name at all. The size is 0 if
// there is none among as many octets as a name may have.
func (f *Octets) Read() (size int, hash uint64) {
	for i := 0; i <= MaxName; i += 8 {
		w := f.word(i)
		if zero := (w - every) & upper; zero != 0 { // there are zeros, or octets of 0x81 and more
			if zero &^= w; zero != 0 { // the lowest bit is in the first of the zeros
				return i + bits.TrailingZeros64(zero)/8 + 1, Mix(hash ^ (w|caseless)&(zero^(zero-1)))
			}
		}
		hash = stir(hash, w)
	}
	return 0, 0
}

// Lower makes f the name at the start of b in lower case. size is its octets, at
// most MaxName.
func (f *Octets) Lower(b *Octets, size int) {
	for i := 0; i < size; i += 8 {
		f.put(i, lowerWord(b.word(i)))
	}
}

// Hash returns the hash of the name f[at:at+size], the same for any case. It need
// not withstand an adversary: those who choose the names of a zone own it, and
// those who ask cannot add to it.
func (f *Octets) Hash(at, size int) (hash uint64) {
	for ; size > 8; size -= 8 {
		hash = stir(hash, f.word(at))
		at += 8
	}
	return Mix(hash ^ (f.word(at)|caseless)&(^uint64(0)>>(uint(8-size)*8&63)))
}

// End returns the last octets of the name f[:size], eight or as many as there are,
// the last one highest, the same for any case.
func (f *Octets) End(size int) uint64 {
	if size < 8 {
		return f.word(0)<<(uint(8-size)*8&63) | caseless
	}
	return f.word(size-8) | caseless
}

// stir adds eight octets that are not the last to a hash.
func stir(hash, w uint64) uint64 {
	return bits.RotateLeft64((hash^(w|caseless))*factor, 32)
}

// Mix spreads what is in h over all of its bits.
func Mix(h uint64) uint64 {
	high, low := bits.Mul64(h, factor)
	return high ^ low
}

// searchFolded is Search for a name that is short, or not in lower case, or that has
// half of its hash with another.
func (z Zone) searchFolded(f *Octets, at, size int, hash uint64) Node {
	slots, mask := z.u32(slotsPlace), z.u32(slotsPlace+4)
	for s := uint32(hash); ; s++ {
		slot := z.word(slots + s&mask*slotSize)
		n := uint32(slot)
		if n == 0 {
			return None
		}
		if (slot^hash)>>32 == 0 && int(z[n+lengthPlace]) == size && z.folds(n+nodeSize, f, at, size) {
			return Node(n)
		}
	}
}

// folds says whether f[at:at+size] in lower case is z[name:].
func (z Zone) folds(name uint32, f *Octets, at, size int) bool {
	for ; size > 8; size -= 8 {
		if z.word(name) != lowerWord(f.word(at)) {
			return false
		}
		name, at = name+8, at+8
	}
	return (z.word(name)^lowerWord(f.word(at)))<<(uint(8-size)*8&63) == 0 // what is behind is shifted out
}
