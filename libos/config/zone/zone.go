// Package zone holds DNS zones in compiled form: a read-only table of names and
// records in wire format (RFC 1035 section 3, RFC 4034 section 6) that a name
// server searches without parsing, allocating or following pointers.
//
// A compiled zone is a string, since string constants lie in memory that is
// never writable on the appliance. tools/configc writes it into Go source at
// build time; Compile can also make one at run time.
//
// Layout; integers are little-endian, offsets count bytes from the start:
//
//	header   0  magic    u32   "AZ\x00\x03"
//	         4  nodes    u32   number of nodes
//	         8  order    u32   offset of the order table
//	        12  slots    u32   offset of the hash table
//	        16  mask     u32   number of slots, a power of two, less one
//	        20  apex     u32   offset of the apex's node
//	        24  depth    u16   labels of the name that has most
//	        26  signed   u16   1: there are RRSIG records at the apex
//	        28  nxdomain u32   the answer for names that are not there, 0: none
//	        32  hashed   u32   offset of the NSEC3 table, 0: none
//	        36  count    u32   entries of the NSEC3 table
//	        40  expiry   u32   when the first RRSIG record expires, in seconds since
//	                           1970 modulo 2^32, 0: none does
//	node     0  parent   u32   the node one label up, 0 at the apex
//	         4  wild     u32   the child "*", 0 if there is none
//	         8  cut      u32   the highest delegation at or above, 0 if none
//	        12  position u32   place in the order table
//	        16  rrsets   u16   how many follow the name; 0: empty non-terminal
//	        18  flags    u8
//	        19  length   u8    octets of the name
//	        20  answers  u32   offset of the node's answers, 0: none
//	        24  name           in lower case
//	rrset    0  type     u16
//	         2  count    u16   records
//	         4  ttl      u32   seconds
//	         8  size     u32   bytes of the records that follow
//	record   0  length   u16
//	         2  rdata          names not compressed
//	order    nodes x u32       node offsets in canonical order (RFC 4034 section 6.1)
//	hashed   count x 24 bytes  hash of 20 octets, node offset; by hash (RFC 5155)
//	slots    (mask+1) x 8      node offset, high half of the hash; offset 0: free
//
// Nodes of NSEC3 records stand in the hashed table alone: those names are not
// part of the name space of the zone (RFC 5155 section 7.2.8).
//
// Ready answers, which package answers makes and adds behind all that:
//
//	answers  0  entries: type u16, plain u32, signed u32; type 0 is the last
//	answer   0  flags    u16   big-endian, as in the header, with the rcode
//	         2  question u16   big-endian, 1
//	         4  answer   u16   big-endian, number of records
//	         6  auth     u16   big-endian, number of records
//	         8  extra    u16   number of records
//	        10  size     u16   bytes of the sections
//	        12  question u8    octets of the name that the pointers stand for
//	        13  pointers u8    how many must be moved
//	        14  class    u8    what rate limiting counts it as
//	        15  out      u8    1: an alias leads out of the zone
//	        16  places   pointers x u16   in the sections
//	            sections       as they stand behind the question
//
// plain and signed are the offsets of the answers without and with the DO bit; 0
// says that the server has to make the answer by itself. The entry of type 0
// answers for all types not listed; nodes below a delegation have its list from there
// on. Behind the last answer are Room octets of zero. Compression pointers count from the start
// of the message, so those in an answer for names of several lengths are moved by
// the difference of the lengths.
package zone

import "errors"

// Zone is a compiled zone. The zero value holds nothing and matches nothing.
type Zone string

// Node is the place of a name in its Zone, an offset. None is not a node.
type Node uint32

// None says that there is no such node.
const None Node = 0

// Flags of a node: record types that change how a search goes on.
const (
	HasCNAME = 1 << iota
	HasDNAME
)

const (
	magic      = "AZ\x00\x03"
	headerSize = 44
	nodeSize   = 24
	rrsetSize  = 12
	slotSize   = 8
	slotsPlace = 12

	lengthPlace = 19
)

var errFormat = errors.New("zone: not a compiled zone of this version")

// Check says whether z is a compiled zone of this version. It does not look
// into the nodes: they come from Compile.
func (z Zone) Check() error {
	if len(z) < headerSize || z[:4] != magic || z.Apex() == None {
		return errFormat
	}
	return nil
}

// Len returns the number of nodes, empty non-terminals included.
func (z Zone) Len() int { return int(z.u32(4)) }

// Apex returns the node of the zone's origin.
func (z Zone) Apex() Node { return Node(z.u32(20)) }

// At returns the i-th node in canonical order.
func (z Zone) At(i int) Node { return Node(z.u32(z.u32(8) + uint32(i)*4)) }

// Depth returns the number of labels of the name that has most.
func (z Zone) Depth() int { return int(z.u16(24)) }

// Signed says whether the zone is signed: whether its apex has RRSIG records.
func (z Zone) Signed() bool { return z[26] != 0 }

// Expiry returns when the first signature of the zone expires, in seconds since
// 1970 modulo 2^32 (RFC 4034 section 3.1.5), or 0 if nothing is signed.
func (z Zone) Expiry() uint32 { return z.u32(40) }

// Parent returns the node one label up, or None at the apex.
func (z Zone) Parent(n Node) Node { return Node(z.u32(uint32(n))) }

// Wild returns the wildcard directly below n, or None.
func (z Zone) Wild(n Node) Node { return Node(z.u32(uint32(n) + 4)) }

// Cut returns the highest delegation at or above n, or None. What lies there is
// the child zone's, except the NS and DS records of the delegation itself.
func (z Zone) Cut(n Node) Node { return Node(z.u32(uint32(n) + 8)) }

// Position returns the place of n in canonical order.
func (z Zone) Position(n Node) int { return int(z.u32(uint32(n) + 12)) }

// Flags returns the HasCNAME and HasDNAME bits of n.
func (z Zone) Flags(n Node) uint8 { return z[n+18] }

// Name returns the name of n in wire format and lower case.
func (z Zone) Name(n Node) string {
	return string(z[n+nodeSize : n+nodeSize+Node(z[n+19])])
}

// Find looks for the node of name, or else for its closest encloser, the
// longest existing ancestor (RFC 4592 section 3.3.1). name must be at or below
// the apex. depth is the number of labels of name that are not in the node's
// name; 0 means that the node is name's own.
func (z Zone) Find(name *Name) (n Node, depth int) {
	apex := int(z[z.Apex()+19])
	for i := max(0, name.Labels()-z.Depth()); name.Size(i) > apex; i++ {
		if n := z.lookup(name, i); n != None {
			return n, i
		}
	}
	return z.Apex(), name.Labels() - countLabels(z.Name(z.Apex()))
}

// Lookup returns the node of name, or None. name may be any name.
func (z Zone) Lookup(name *Name) Node { return z.lookup(name, 0) }

// lookup returns the node of name without its first i labels, or None.
func (z Zone) lookup(name *Name, i int) Node {
	return z.Search(&name.wire, int(name.start[i]), name.Size(i), name.Hash(i))
}

// RRset is one set of records of a node. The zero value is an empty set.
type RRset struct {
	Type    uint16
	Count   int
	TTL     uint32 // seconds
	records Zone
}

// Find returns the records of one type at n; ok is false when there are none.
func (z Zone) RRset(n Node, rrtype uint16) (set RRset, ok bool) {
	for it := z.RRsets(n); ; {
		set, ok := it.Next()
		if !ok || set.Type == rrtype {
			return set, ok
		}
	}
}

// RRsets returns an iterator over the sets of n, in the order of their types.
func (z Zone) RRsets(n Node) Iterator {
	return Iterator{rest: z[n+nodeSize+Node(z[n+19]):], left: int(z.u16(uint32(n) + 16))}
}

// Iterator walks over the sets of one node.
type Iterator struct {
	rest Zone
	left int
}

// Next returns the next set; ok is false after the last.
func (it *Iterator) Next() (set RRset, ok bool) {
	if it.left == 0 {
		return RRset{}, false
	}
	end := rrsetSize + it.rest.u32(8)
	set = RRset{
		Type:    it.rest.u16(0),
		Count:   int(it.rest.u16(2)),
		TTL:     it.rest.u32(4),
		records: it.rest[rrsetSize:end],
	}
	it.rest, it.left = it.rest[end:], it.left-1
	return set, true
}

// Next takes the first record off the set and returns its data; ok is false
// when the set is empty.
func (s *RRset) Next() (rdata string, ok bool) {
	if len(s.records) == 0 {
		return "", false
	}
	end := 2 + uint32(s.records.u16(0))
	rdata = string(s.records[2:end])
	s.records = s.records[end:]
	return rdata, true
}
