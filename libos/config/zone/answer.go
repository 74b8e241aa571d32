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
	// ListSize is that of an entry in a list of answers, in bytes.
	ListSize   = 10
	answerSize = 16 // of an answer before its places
)

// Answer is a ready answer: an offset, 0 if there is none.
type Answer uint32

// Listed returns what is ready for a question of a type and class IN at the name of
// the node n; signed says that DNSSEC records are wanted. 0: the server must make the
// answer, as it must for types 128 to 255 in any case.
func (z Zone) Listed(n Node, rrtype uint16, signed bool) Answer {
	at := z.u32(uint32(n) + AnswersPlace)
	if at == 0 {
		return 0
	}
	for {
		e := z.word(at) // type, and the answer without DO
		if uint16(e) == rrtype || uint16(e) == 0 {
			if uint16(e) == 0 && !Ordinary(rrtype) {
				return 0
			}
			if signed {
				return Answer(z.u32(at + 6))
			}
			return Answer(e >> 16)
		}
		at += ListSize
	}
}

// Ordinary says whether data may be of a type: those of questions and messages alone
// (RFC 6895 section 3.1) are for the server to look at.
func Ordinary(rrtype uint16) bool {
	return rrtype-128 >= 128 && rrtype != 0 && rrtype != typeOPT
}

const typeOPT = 41

// Absent is Listed for the name f[:size] of so many labels, in lower case, which has
// no node. It goes by the closest encloser (RFC 4592 section 3.3.1).
func (z Zone) Absent(f *Octets, size, labels int, rrtype uint16, signed bool) Answer {
	if !Ordinary(rrtype) {
		return 0
	}
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
		return z.Listed(cut, anyOther, signed)
	}
	if z.Flags(n)&HasDNAME != 0 {
		return 0
	}
	if wild := z.Wild(n); wild != None {
		return z.Listed(wild, rrtype, signed)
	}
	nx := Answer(z.u32(NXDomainPlace))
	if signed && z.Signed() {
		return 0
	}
	return nx
}

// anyOther is a type that no node lists (RFC 6895 section 3.1: reserved).
const anyOther = 65535

// Class returns the class of a: ClassData and so on.
func (z Zone) Class(a Answer) uint8 { return z[a+14] }

// Out says that a holds only while no other zone is asked: OutAlias, OutLeft, or
// 0 if it always does.
func (z Zone) Out(a Answer) uint8 { return z[a+15] }

// Size returns the octets of the sections of a.
func (z Zone) Size(a Answer) int { return int(z.u16(uint32(a) + 10)) }

// Message is the beginning of a message over UDP: as much as every client takes (RFC
// 1035 section 2.3.4), and Room.
type Message [512 + Room]byte

// Room is how many octets behind the end of an answer may be overwritten while it is
// copied.
const Room = 16

// Put makes the message b, a query with a question whose name is of size octets, the
// answer a: all of the header but the identifier, and the sections. more is the number
// of additional records that the caller will append. It returns the length, or 0 and
// changes nothing if that would be above limit, which is at most 512.
func (z Zone) Put(a Answer, b *Message, size, limit int, more uint16) int {
	head, tail := z.word(uint32(a)), z.word(uint32(a)+8)
	start, n := messageHeader+uint(size)+4, sectionSize(tail)
	if start+n > uint(limit) {
		return 0
	}
	putHeader(b, head, uint16(tail)+more)
	z.copyTo(b, start, sections(a, tail), n)
	if delta := size - madeFor(tail); delta != 0 {
		z.movePointers(a, tail, b[start:], uint16(delta))
	}
	return int(start + n)
}

// PutLong is Put for any limit up to the length of b.
func (z Zone) PutLong(a Answer, b []byte, size, limit int, more uint16) int {
	head, tail := z.word(uint32(a)), z.word(uint32(a)+8)
	start, n := messageHeader+uint(size)+4, sectionSize(tail)
	if start+n > uint(limit) {
		return 0
	}
	copy(b[start:start+n], z[sections(a, tail):])
	z.movePointers(a, tail, b[start:], uint16(size-madeFor(tail)))
	putHeader((*Message)(b), head, uint16(tail)+more)
	return int(start + n)
}

// Truncate takes all records from an answer that Put made, with a name of size octets,
// and sets TC. It returns the length.
func Truncate(b *Message, size int, more uint16) int {
	putHeader(b, uint64(binary.LittleEndian.Uint32(b[2:])|flagTC), more)
	return messageHeader + size + 4
}

// sectionSize returns the octets of the sections of an answer whose second eight
// octets are tail; sections where they begin, and madeFor the size of the name for
// which its pointers are right.
func sectionSize(tail uint64) uint        { return uint(tail >> 16 & 0xffff) }
func sections(a Answer, tail uint64) uint { return uint(a) + answerSize + uint(tail>>40&0xff)*2 }
func madeFor(tail uint64) int             { return int(tail >> 32 & 0xff) }

// movePointers adds delta to the compression pointers of the answer a that stands in b.
func (z Zone) movePointers(a Answer, tail uint64, b []byte, delta uint16) {
	for at := uint(a) + answerSize; at < sections(a, tail); at += 2 {
		p := b[z.u16(uint32(at)):]
		binary.BigEndian.PutUint16(p, binary.BigEndian.Uint16(p)+delta)
	}
}

// putHeader makes the header of a query that of an answer: head is the flags and
// counts up to the authority section, of which RD is the query's.
func putHeader(b *Message, head uint64, extra uint16) {
	binary.LittleEndian.PutUint64(b[2:], head|uint64(b[2]&flagRD))
	binary.BigEndian.PutUint16(b[10:], extra)
}

// The header of a message (RFC 1035 section 4.1.1): its size, and bits of the first
// octet of the flags.
const (
	messageHeader = 12

	flagTC = 2
	flagRD = 1
)
