package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// TypeNS, TypeCNAME, TypeSOA and TypeDNAME are the record types that shape a
// zone (RFC 1035 section 3.2.2, RFC 6672).
const (
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypeDNAME = 39
)

// Record is one record of class IN before compilation.
type Record struct {
	Owner []byte // wire format, any case
	Type  uint16
	TTL   uint32 // seconds
	Data  []byte // wire format, names not compressed
}

// node is a name on its way into a Zone.
type node struct {
	name    []byte // lower case
	records []Record
	parent  *node
	wild    *node
	cut     *node
	at      uint32
	size    uint32
}

// Compile makes a Zone of the records. Records that are there twice are taken
// once; a set whose TTLs differ gets the least of them (RFC 2181 section 5.2).
// Compile fails on what a table cannot hold: a name outside the zone, no SOA at
// the apex or more than one, more than 65,535 records or bytes in a place
// counted by 16 bits. Whether the zone makes sense is for its author's tools to
// say. The records are not kept.
func Compile(origin []byte, records []Record) (Zone, error) {
	name, err := canonical(origin)
	if err != nil {
		return "", err
	}
	apex := &node{name: name}
	tree := map[string]*node{string(apex.name): apex}
	for _, r := range records {
		if name, err = canonical(r.Owner); err != nil {
			return "", err
		}
		n, err := grow(tree, apex, name)
		if err != nil {
			return "", err
		}
		n.records = append(n.records, r)
	}
	nodes := make([]*node, 0, len(tree))
	for _, n := range tree {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return CompareNames(a.name, b.name) })
	soa := 0
	for _, n := range nodes {
		n.sortRecords()
		n.place(apex)
		for _, r := range n.records {
			if r.Type == TypeSOA && n == apex {
				soa++
			}
		}
	}
	if soa != 1 {
		return "", fmt.Errorf("zone: %d SOA records at the apex, want 1", soa)
	}
	return encode(apex, nodes)
}

// grow returns the node of name and makes it and those between it and the apex
// if they are not there: empty non-terminals (RFC 4592 section 2.2.2).
func grow(tree map[string]*node, apex *node, name []byte) (*node, error) {
	if n := tree[string(name)]; n != nil {
		return n, nil
	}
	if len(name) <= len(apex.name) {
		return nil, errors.New("zone: a record's owner is outside the zone")
	}
	parent, err := grow(tree, apex, name[1+name[0]:])
	if err != nil {
		return nil, err
	}
	n := &node{name: name, parent: parent}
	if bytes.HasPrefix(name, []byte("\x01*")) {
		parent.wild = n
	}
	tree[string(name)] = n
	return n, nil
}

// place finds the delegation at or above n; parents come before children.
func (n *node) place(apex *node) {
	switch {
	case n == apex:
	case n.parent.cut != nil:
		n.cut = n.parent.cut
	case n.has(TypeNS):
		n.cut = n
	}
}

func (n *node) has(rrtype uint16) bool {
	return slices.ContainsFunc(n.records, func(r Record) bool { return r.Type == rrtype })
}

// sortRecords puts records in canonical order (RFC 4034 section 6.3) and drops
// duplicates.
func (n *node) sortRecords() {
	slices.SortStableFunc(n.records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), bytes.Compare(a.Data, b.Data))
	})
	n.records = slices.CompactFunc(n.records, func(a, b Record) bool {
		return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
	})
}

// sets cuts the sorted records into sets of one type.
func (n *node) sets() [][]Record {
	var sets [][]Record
	for rest := n.records; len(rest) > 0; {
		i := 1
		for i < len(rest) && rest[i].Type == rest[0].Type {
			i++
		}
		sets = append(sets, rest[:i])
		rest = rest[i:]
	}
	return sets
}

func encode(apex *node, nodes []*node) (Zone, error) {
	size := uint64(headerSize)
	for _, n := range nodes {
		s := nodeSize + len(n.name)
		for _, set := range n.sets() {
			s += rrsetSize
			for _, r := range set {
				s += 2 + len(r.Data)
			}
		}
		n.at, n.size = uint32(size), uint32(s)
		size += uint64(s)
	}
	order := size
	slots := order + uint64(len(nodes))*4
	count := uint64(1)
	for count < 2*uint64(len(nodes)) {
		count *= 2
	}
	if size = slots + count*slotSize; size > math.MaxUint32 {
		return "", fmt.Errorf("zone: %d bytes, the most is %d", size, uint32(math.MaxUint32))
	}
	b := make([]byte, 0, size)
	b = append(b, magic...)
	for _, v := range []uint64{uint64(len(nodes)), order, slots, count - 1, uint64(apex.at)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	var err error
	for i, n := range nodes {
		if b, err = n.append(b, i); err != nil {
			return "", err
		}
	}
	for _, n := range nodes {
		b = binary.LittleEndian.AppendUint32(b, n.at)
	}
	return Zone(append(b, hashTable(nodes, count)...)), nil
}

func (n *node) append(b []byte, position int) ([]byte, error) {
	at := func(m *node) uint32 {
		if m == nil {
			return 0
		}
		return m.at
	}
	sets := n.sets()
	var flags uint8
	for bit, t := range map[uint8]uint16{HasCNAME: TypeCNAME, HasDNAME: TypeDNAME} {
		if n.has(t) {
			flags |= bit
		}
	}
	le := binary.LittleEndian
	for _, v := range []uint32{at(n.parent), at(n.wild), at(n.cut), uint32(position)} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint16(b, uint16(len(sets)))
	b = append(b, flags, uint8(len(n.name)))
	b = append(b, n.name...)
	for _, set := range sets {
		if len(set) > math.MaxUint16 {
			return nil, fmt.Errorf("zone: %d records in one set, the most is %d", len(set), math.MaxUint16)
		}
		ttl, size := set[0].TTL, 0
		for _, r := range set {
			ttl, size = min(ttl, r.TTL), size+2+len(r.Data)
		}
		b = le.AppendUint16(b, set[0].Type)
		b = le.AppendUint16(b, uint16(len(set)))
		b = le.AppendUint32(b, ttl)
		b = le.AppendUint32(b, uint32(size))
		for _, r := range set {
			if len(r.Data) > math.MaxUint16 {
				return nil, fmt.Errorf("zone: %d bytes of record data, the most is %d", len(r.Data), math.MaxUint16)
			}
			b = append(le.AppendUint16(b, uint16(len(r.Data))), r.Data...)
		}
	}
	return b, nil
}

// hashTable is at most half full, so that a search for a name that is not
// there ends soon.
func hashTable(nodes []*node, count uint64) []byte {
	t := make([]byte, count*slotSize)
	var name Name
	for _, n := range nodes {
		if _, err := Set(&name, n.name); err != nil {
			panic(err) // canonical let it through
		}
		h := name.hash[0]
		s := uint64(uint32(h)) & (count - 1)
		for binary.LittleEndian.Uint32(t[s*slotSize+4:]) != 0 {
			s = (s + 1) & (count - 1)
		}
		binary.LittleEndian.PutUint32(t[s*slotSize:], uint32(h>>32))
		binary.LittleEndian.PutUint32(t[s*slotSize+4:], n.at)
	}
	return t
}

// CompareNames orders names in wire format and lower case as RFC 4034 section
// 6.1 says: by labels from the right, each as a string of octets.
func CompareNames(a, b []byte) int {
	la, lb := labels(a), labels(b)
	for i := 1; i <= len(la) && i <= len(lb); i++ {
		if c := bytes.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(la), len(lb))
}

func labels(name []byte) [][]byte {
	l := make([][]byte, 0, 8)
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		l = append(l, name[at+1:at+1+int(name[at])])
	}
	return l
}

// canonical returns a copy of name in lower case, or ErrName.
func canonical(name []byte) ([]byte, error) {
	var n Name
	if size, err := Set(&n, name); err != nil || size != len(name) {
		return nil, ErrName
	}
	return bytes.Clone(n.Bytes(0)), nil
}
