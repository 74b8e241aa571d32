package zone

// Tail is how many readable bytes must follow a name that is hashed or compared:
// it is read in words of eight, and what lies behind it is masked.
const Tail = 8

const (
	every  = 0x0101010101010101
	upper  = 0x80 * every
	factor = 0x9e3779b97f4a7c15
)

// lowerWord puts the ASCII letters of eight octets into lower case (RFC 4343).
// Length octets are below 64 and so are no letters.
func lowerWord(w uint64) uint64 {
	low := w &^ uint64(upper)
	atLeastA := low + (0x80-'A')*every
	aboveZ := low + (0x7f-'Z')*every
	return w | (atLeastA^aboveZ)&^w&upper>>2
}

// Folded is a name in lower case with Tail octets of anything behind it.
type Folded [(MaxName+7)/8*8 + Tail]byte

// Set makes f the name at b[at:at+size], whose case is any, and returns its hash.
// Tail more octets of b must be there; size is at most MaxName.
func (f *Folded) Set(b []byte, at, size int) uint64 {
	h := uint64(size)
	for i := 0; ; i += 8 {
		w := lowerWord(word(b, at+i))
		f.put(i, w)
		if size <= i+8 {
			return Mix(h ^ w<<(uint(i+8-size)*8&63))
		}
		h = Mix(h ^ w)
	}
}

// Hash returns the hash of the name f[at:at+size]. It need not withstand an
// adversary: those who choose the names of a zone own it, and those who ask
// cannot add to it.
func (f *Folded) Hash(at, size int) uint64 {
	h := uint64(size)
	for ; size > 8; size -= 8 {
		h = Mix(h ^ f.word(at))
		at += 8
	}
	return Mix(h ^ f.word(at)<<(uint(8-size)*8&63))
}

// Mix spreads what is in h over all of its bits.
func Mix(h uint64) uint64 {
	h = (h + 1) * factor
	return h ^ h>>32
}

// Search returns the node of the name f[at:at+size] with that hash, or None.
func (z Zone) Search(f *Folded, at, size int, hash uint64) Node {
	slots, mask := z.u32(12), z.u32(16)
	for s := uint32(hash) & mask; ; s = (s + 1) & mask {
		slot := z.word(slots + s*slotSize)
		n := Node(slot >> 32)
		if n == None {
			return None
		}
		if uint32(slot) != uint32(hash>>32) || int(z[n+19]) != size {
			continue
		}
		// Behind each name in a Zone there are tables, so that reading Tail octets
		// beyond it stays inside.
		name, i, left := uint32(n)+nodeSize, at, size
		for left > 8 && f.word(i) == z.word(name) {
			name, i, left = name+8, i+8, left-8
		}
		if left <= 8 && (f.word(i)^z.word(name))<<(uint(8-left)*8&63) == 0 {
			return n
		}
	}
}
