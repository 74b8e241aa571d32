package site

import "encoding/binary"

const factor = 0x9e3779b97f4a7c15

// hash returns the hash of b, with a seed. It need not withstand an adversary: who
// asks cannot add to the table.
func hash(seed uint64, b []byte) uint64 {
	h := seed ^ uint64(len(b))<<32
	for len(b) >= 8 {
		h = mix(h ^ binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	var w uint64
	for i, c := range b {
		w |= uint64(c) << (8 * uint(i))
	}
	return mix(h ^ w)
}

// mix spreads what is in h over all of its bits.
func mix(h uint64) uint64 {
	h = (h + 1) * factor
	return h ^ h>>32
}

// findHost returns the number of the host of a name as in the Host field, or -1.
// Names are compared without regard to case, port and a dot at their end.
func (t Table) findHost(name []byte) int {
	other := t.u16(34) - 1
	if other == 0 && t.u32(8) == 1 {
		return 0 // all names are one host's
	}
	if h := t.findName(name); h >= 0 {
		return h
	}
	return other
}

// findName is findHost for the names that are in the table only.
func (t Table) findName(name []byte) int {
	var folded [256]byte
	n := 0
	for i, c := range name {
		if c == ':' && name[0] != '[' || i == len(folded) {
			break
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		folded[i] = c
		if n++; c == ']' {
			break
		}
	}
	if n > 1 && folded[n-1] == '.' {
		n--
	}
	key := folded[:n]
	if h := t.lookupName(key); h >= 0 {
		return h
	}
	if t.u16(36) != 0 {
		for i, c := range key {
			if c == '.' && i > 0 {
				key[i-1] = '*'
				if h := t.lookupName(key[i-1:]); h >= 0 {
					return h
				}
			}
		}
	}
	return -1
}

func (t Table) lookupName(name []byte) int {
	slots, mask := t.u32(12), t.u32(16)
	h := hash(0, name)
	for s := int(h) & mask; ; s = (s + 1) & mask {
		at := t.u32(slots + s*slotSize + 4)
		if at == 0 {
			return -1
		}
		if n := t.u16(at + 2); n == len(name) && string(t[at+4:at+4+n]) == string(name) {
			return t.u16(at)
		}
	}
}

// lookup returns the resource of a path, which is decoded and normal, or 0.
func (t Table) lookup(host int, path []byte) resource {
	slots, mask := t.u32(20), t.u32(24)
	h := hash(uint64(host), path)
	for s := int(h) & mask; ; s = (s + 1) & mask {
		at := slots + s*slotSize
		r := resource(t.u32(at + 4))
		if r == 0 {
			return 0
		}
		if t.u32(at) == int(h>>32) && t.u16(int(r)) == host && string(t.path(r)) == string(path) {
			return r
		}
	}
}
