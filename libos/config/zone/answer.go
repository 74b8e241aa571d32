package zone

import "encoding/binary"

// Places of the fields that answers are found by, which package answers fills:
// in the header, and in each node.
const (
	NXDomainPlace = 28
	AnswersPlace  = 20
)

// Values of the field out of an answer.
const (
	OutAlias = 1 // an alias was followed inside the zone
	OutLeft  = 2 // the last alias leads out of the zone
)

// Classes of answers, by which rate limiting counts.
const (
	ClassData = iota
	ClassNoData
	ClassNXDomain
	ClassReferral
	ClassError
)

const (
	listSize   = 10 // of an entry in a list of answers
	answerSize = 16 // of an answer before its places
)

// Answer is a ready answer: an offset, 0 if there is none.
type Answer uint32

// Answer returns what is ready for a question of a type and class IN at the name
// f[:size] of so many labels and that hash; signed says that DNSSEC records are wanted. 0: the
// server must make the answer. Types 128 to 255 are the server's in any case.
func (z Zone) Answer(f *Folded, size, labels int, hash uint64, rrtype uint16, signed bool) Answer {
	n := z.Search(f, 0, size, hash)
	if n == None {
		return z.absent(f, size, labels, rrtype, signed)
	}
	if cut := z.Cut(n); cut != None && cut != n {
		return z.listed(cut, 0, signed)
	}
	return z.listed(n, rrtype, signed)
}

// absent answers for a name that has no node: by its closest encloser (RFC 4592
// section 3.3.1).
func (z Zone) absent(f *Folded, size, labels int, rrtype uint16, signed bool) Answer {
	apex, at := z.Apex(), 0
	least, deepest := int(z[apex+19]), z.Depth()
	for {
		step := 1 + int(f[at])
		at += step
		size -= step
		labels--
		if size <= least {
			if string(f[at:at+size]) != z.Name(apex) {
				return 0
			}
			return z.under(apex, rrtype, signed)
		}
		if labels > deepest {
			continue
		}
		if n := z.Search(f, at, size, f.Hash(at, size)); n != None {
			return z.under(n, rrtype, signed)
		}
	}
}

// under answers for a name below its closest encloser n.
func (z Zone) under(n Node, rrtype uint16, signed bool) Answer {
	if cut := z.Cut(n); cut != None {
		return z.listed(cut, 0, signed)
	}
	if z.Flags(n)&HasDNAME != 0 {
		return 0
	}
	if wild := z.Wild(n); wild != None {
		return z.listed(wild, rrtype, signed)
	}
	nx := Answer(z.u32(NXDomainPlace))
	if signed && z.Signed() {
		return 0
	}
	return nx
}

// listed finds the answer of a type in the list of n.
func (z Zone) listed(n Node, rrtype uint16, signed bool) Answer {
	at := z.u32(uint32(n) + AnswersPlace)
	if at == 0 {
		return 0
	}
	for t := z.u16(at); t != rrtype && t != 0; t = z.u16(at) {
		at += listSize
	}
	if signed {
		at += 4
	}
	return Answer(z.u32(at + 2))
}

// Class returns the class of a: ClassData and so on.
func (z Zone) Class(a Answer) uint8 { return z[a+14] }

// Out says that a holds only while no other zone is asked: OutAlias, OutLeft, or
// 0 if it always does.
func (z Zone) Out(a Answer) uint8 { return z[a+15] }

// Size returns the octets of the sections of a.
func (z Zone) Size(a Answer) int { return int(z.u16(uint32(a) + 10)) }

// PutTruncated is Put without any record, and with TC.
func (z Zone) PutTruncated(a Answer, b []byte, size int, rd byte, more uint16) int {
	b = b[:12]
	w := z.word(uint32(a))
	binary.LittleEndian.PutUint64(b[2:], w&0xffff_ffff|uint64(rd)|flagTC)
	binary.BigEndian.PutUint16(b[10:], more)
	return 12 + size + 4
}

// flagTC is the bit TC (RFC 1035 section 4.1.1) in the first octet of the flags.
const flagTC = 2

// Put makes the message b, a query with a question whose name is of size octets,
// the answer a: all of the header but the identifier, and the sections. rd has
// the bit RD as in octet 2 of a header, more is the number of additional records
// that the caller will append. It returns the length, or 0 and changes nothing
// if that would be above limit, up to which b reaches.
func (z Zone) Put(a Answer, b []byte, size, limit int, rd byte, more uint16) int {
	head, tail := z.word(uint32(a)), z.word(uint32(a)+8)
	n := int(tail >> 16 & 0xffff)
	start := 12 + size + 4
	if start+n > limit {
		return 0
	}
	at := uint32(a) + answerSize
	from := at + uint32(tail>>40&0xff)*2
	copy(b[start:start+n], z[from:])
	if delta := size - int(tail>>32&0xff); delta != 0 {
		for ; at < from; at += 2 {
			p := b[start+int(z.u16(at)):]
			v := binary.BigEndian.Uint16(p) + uint16(delta)
			binary.BigEndian.PutUint16(p, v)
		}
	}
	b = b[:12]
	binary.LittleEndian.PutUint64(b[2:], head|uint64(rd))
	binary.BigEndian.PutUint16(b[10:], uint16(tail)+more)
	return start + n
}
