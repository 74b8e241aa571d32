package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"ampoule/libos/format"
)

// TypeNS, TypeCNAME, TypeSOA and TypeDNAME are the record types that shape a
// zone (RFC 1035 section 3.2.2, RFC 6672), the others those of DNSSEC that do
// (RFC 4034, RFC 5155).
const (
	TypeNS         = 2
	TypeCNAME      = 5
	TypeSOA        = 6
	TypeDNAME      = 39
	TypeDS         = 43
	TypeRRSIG      = 46
	TypeNSEC       = 47
	TypeDNSKEY     = 48
	TypeNSEC3      = 50
	TypeNSEC3PARAM = 51
)

// Record is one record of class IN before compilation.
type Record struct {
	Owner []byte // wire format, any case
	Type  uint16
	TTL   uint32 // seconds
	Data  []byte // wire format, names not compressed
}

// entry is a record on its way into a Zone.
type entry struct {
	*Record
	name []byte // owner in lower case
	key  []byte // puts names into canonical order
}

// node is a name on its way into a Zone; others are named by their index, and
// index 0 is the apex or says that there is none.
type node struct {
	name    []byte
	entries []entry
	parent  int32
	wild    int32
	cut     int32
	at      uint32
}

// compiler makes a Zone.
type compiler struct {
	apex   []byte
	nodes  []node // in canonical order, the apex first
	hashed []node // of NSEC3 records, by hash
	depth  int    // labels of the longest name
	expiry uint32 // of the first signature, 0 if there is none
}

// Compile makes a Zone of the records. Records that are there twice are taken
// once; a set whose TTLs differ gets the least of them (RFC 2181 section 5.2).
// Compile fails on what a table cannot hold: a name outside the zone, no SOA at
// the apex or more than one, more than 65,535 records or bytes in a place
// counted by 16 bits, data that is not what an answer has to look into. Whether the zone makes sense is for its author's tools to
// say. The records are not kept.
//
// Beside the result it takes some 200 bytes a record and 80 a name while it
// works. A Zone from here has no ready answers; package answers adds them.
func Compile(origin []byte, records []Record) (Zone, error) {
	apex, err := canonical(origin)
	if err != nil {
		return "", err
	}
	entries := make([]entry, len(records))
	for i := range records {
		name, err := canonical(records[i].Owner)
		if err != nil {
			return "", err
		}
		if !below(name, apex) {
			return "", errors.New("zone: a record's owner is outside the zone")
		}
		if !wellFormed(records[i].Type, records[i].Data) {
			return "", format.Errorf("zone: malformed data of a record of type %d", records[i].Type)
		}
		entries[i] = entry{&records[i], name, sortKey(name)}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(a.Type, b.Type),
			bytes.Compare(a.Data, b.Data), cmp.Compare(a.TTL, b.TTL))
	})
	c := compiler{apex: apex, expiry: firstExpiry(records)}
	if err := c.plant(entries); err != nil {
		return "", err
	}
	soa := 0
	for _, e := range c.nodes[0].entries {
		if e.Type == TypeSOA {
			soa++
		}
	}
	if soa != 1 {
		return "", format.Errorf("zone: %d SOA records at the apex, want 1", soa)
	}
	return c.encode()
}

// firstExpiry returns when the first of the RRSIG records expires. Times are serial
// numbers (RFC 4034 section 3.1.5).
func firstExpiry(records []Record) (first uint32) {
	for i := range records {
		r := &records[i]
		if r.Type != TypeRRSIG || len(r.Data) < 12 {
			continue
		}
		if at := binary.BigEndian.Uint32(r.Data[8:]); first == 0 || int32(at-first) < 0 {
			first = at
		}
	}
	return first
}

// plant makes the nodes of the sorted entries.
func (c *compiler) plant(entries []entry) error {
	c.nodes = append(c.nodes, node{name: c.apex})
	path := []int32{0} // the last node and those above it
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && bytes.Equal(entries[n].name, entries[0].name) {
			n++
		}
		own := unique(entries[:n])
		entries = entries[n:]
		name := own[0].name
		if hashed, err := c.hash(name, own); err != nil {
			return err
		} else if hashed {
			continue
		}
		for !below(name, c.nodes[path[len(path)-1]].name) {
			path = path[:len(path)-1]
		}
		path = c.grow(path, name)
		at := path[len(path)-1]
		c.nodes[at].entries = own
		if at != 0 && c.nodes[at].cut == 0 && has(own, TypeNS) {
			c.nodes[at].cut = at
		}
	}
	return nil
}

// grow makes the node of name, the first that comes after the last one of path,
// and those between: empty non-terminals (RFC 4592 section 2.2.2).
func (c *compiler) grow(path []int32, name []byte) []int32 {
	parent := path[len(path)-1]
	above := c.nodes[parent].name
	if len(above) == len(name) {
		return path
	}
	child := name
	for next := child[1+child[0]:]; len(next) > len(above); next = child[1+child[0]:] {
		child = next
	}
	at := int32(len(c.nodes))
	c.nodes = append(c.nodes, node{name: child, parent: parent, cut: c.nodes[parent].cut})
	if bytes.HasPrefix(child, []byte("\x01*")) {
		c.nodes[parent].wild = at
	}
	return c.grow(append(path, at), name)
}

// hash keeps the node of an NSEC3 record, if it is one.
func (c *compiler) hash(name []byte, own []entry) (bool, error) {
	if !has(own, TypeNSEC3) || len(name) == len(c.apex) || len(name)-1-int(name[0]) != len(c.apex) {
		return false, nil
	}
	for _, e := range own {
		if e.Type != TypeNSEC3 && e.Type != TypeRRSIG {
			return false, format.Errorf("zone: a record of type %d beside an NSEC3 record", e.Type)
		}
	}
	if _, ok := decodeHash(name); !ok {
		return false, errors.New("zone: the owner of an NSEC3 record is no hash")
	}
	c.hashed = append(c.hashed, node{name: name, entries: own})
	return true, nil
}

func has(own []entry, rrtype uint16) bool {
	return slices.ContainsFunc(own, func(e entry) bool { return e.Type == rrtype })
}

// unique drops duplicates of sorted entries.
func unique(own []entry) []entry {
	return slices.CompactFunc(own, func(a, b entry) bool {
		return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
	})
}

// below says whether name is at or below suffix.
func below(name, suffix []byte) bool {
	for len(name) > len(suffix) {
		name = name[1+name[0]:]
	}
	return bytes.Equal(name, suffix)
}

// sortKey returns bytes whose order is the canonical order of names (RFC 4034
// section 6.1): labels from the right, each ended by a 0 that sorts before all
// that a label may go on with.
func sortKey(name []byte) []byte {
	var starts [128]uint8
	n := 0
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		starts[n] = uint8(at)
		n++
	}
	key := make([]byte, 0, len(name))
	for n--; n >= 0; n-- {
		at := int(starts[n])
		for _, c := range name[at+1 : at+1+int(name[at])] {
			if c < 2 {
				key = append(key, 1)
				c++
			}
			key = append(key, c)
		}
		key = append(key, 0)
	}
	return key
}

// CompareNames orders names in wire format and lower case as RFC 4034 section
// 6.1 says: by labels from the right, each as a string of octets.
func CompareNames(a, b []byte) int { return bytes.Compare(sortKey(a), sortKey(b)) }

// canonical returns a copy of name in lower case, or ErrName.
func canonical(name []byte) ([]byte, error) {
	var n Name
	if size, err := Set(&n, name); err != nil || size != len(name) {
		return nil, ErrName
	}
	return bytes.Clone(n.Bytes(0)), nil
}
