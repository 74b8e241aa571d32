package zone

import (
	"encoding/binary"
	"math"

	"ampoule/libos/format"
)

// hashSize is the octets of a hash in an NSEC3 owner name (RFC 5155 section 5):
// SHA-1, the one algorithm there is.
const hashSize = 20

// hashedSize is the size of an entry of the NSEC3 table.
const hashedSize = hashSize + 4

// encode writes the tables.
func (c *compiler) encode() (Zone, error) {
	size := uint64(headerSize)
	for _, list := range [][]node{c.nodes, c.hashed} {
		for i := range list {
			n := &list[i]
			if size > math.MaxUint32 {
				break
			}
			n.at = uint32(size)
			size += n.size()
			c.depth = max(c.depth, countLabels(string(n.name)))
		}
	}
	order := size
	hashed := order + uint64(len(c.nodes))*4
	slots := hashed + uint64(len(c.hashed))*hashedSize
	count := slotCount(len(c.nodes))
	if size = slots + count*slotSize; size > math.MaxUint32 {
		return "", format.Errorf("zone: %d bytes, the most is %d", size, uint32(math.MaxUint32))
	}
	le := binary.LittleEndian
	b := make([]byte, 0, size)
	b = append(b, magic...)
	if len(c.hashed) == 0 {
		hashed = 0
	}
	signed := uint64(0)
	if has(c.nodes[0].entries, TypeRRSIG) {
		signed = 1
	}
	for _, v := range []uint64{uint64(len(c.nodes)), order, slots, count - 1, uint64(c.nodes[0].at),
		uint64(c.depth) | signed<<16, 0, hashed, uint64(len(c.hashed)), uint64(c.expiry)} {
		b = le.AppendUint32(b, uint32(v))
	}
	for _, list := range [][]node{c.nodes, c.hashed} {
		for i := range list {
			var err error
			if b, err = c.append(b, &list[i], i); err != nil {
				return "", err
			}
		}
	}
	for i := range c.nodes {
		b = le.AppendUint32(b, c.nodes[i].at)
	}
	for i := range c.hashed {
		hash, _ := decodeHash(c.hashed[i].name)
		b = le.AppendUint32(append(b, hash[:]...), c.hashed[i].at)
	}
	return Zone(append(b, c.hashTable(count)...)), nil
}

// size is the bytes that n takes.
func (n *node) size() uint64 {
	s := uint64(nodeSize + len(n.name))
	for i, e := range n.entries {
		if i == 0 || e.Type != n.entries[i-1].Type {
			s += rrsetSize
		}
		s += 2 + uint64(len(e.Data))
	}
	return s
}

// sets cuts the sorted entries into sets of one type.
func (n *node) sets() [][]entry {
	var sets [][]entry
	for rest := n.entries; len(rest) > 0; {
		i := 1
		for i < len(rest) && rest[i].Type == rest[0].Type {
			i++
		}
		sets = append(sets, rest[:i])
		rest = rest[i:]
	}
	return sets
}

// append writes n, which stands at a position of its table.
func (c *compiler) append(b []byte, n *node, position int) ([]byte, error) {
	at := func(i int32) uint32 {
		if i == 0 {
			return 0
		}
		return c.nodes[i].at
	}
	parent := uint32(0)
	if len(n.name) > len(c.apex) {
		parent = c.nodes[n.parent].at
	}
	var flags uint8
	if has(n.entries, TypeCNAME) {
		flags |= HasCNAME
	}
	if has(n.entries, TypeDNAME) {
		flags |= HasDNAME
	}
	sets := n.sets()
	le := binary.LittleEndian
	for _, v := range []uint32{parent, at(n.wild), at(n.cut), uint32(position)} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint16(b, uint16(len(sets)))
	b = append(b, flags, uint8(len(n.name)), 0, 0, 0, 0)
	b = append(b, n.name...)
	for _, set := range sets {
		var err error
		if b, err = appendSet(b, set); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendSet(b []byte, set []entry) ([]byte, error) {
	if len(set) > math.MaxUint16 {
		return nil, format.Errorf("zone: %d records in one set, the most is %d", len(set), math.MaxUint16)
	}
	ttl, size := set[0].TTL, 0
	for _, e := range set {
		ttl, size = min(ttl, e.TTL), size+2+len(e.Data)
	}
	le := binary.LittleEndian
	b = le.AppendUint16(b, set[0].Type)
	b = le.AppendUint16(b, uint16(len(set)))
	b = le.AppendUint32(b, ttl)
	b = le.AppendUint32(b, uint32(size))
	for _, e := range set {
		if len(e.Data) > math.MaxUint16 {
			return nil, format.Errorf("zone: %d bytes of record data, the most is %d", len(e.Data), math.MaxUint16)
		}
		b = append(le.AppendUint16(b, uint16(len(e.Data))), e.Data...)
	}
	return b, nil
}

// slotCount returns how many slots a hash table of n names has. It is at most half
// full, so that a search ends soon, and less where that costs little: most names are
// then found in the first slot.
func slotCount(n int) uint64 {
	count := uint64(2)
	for count < 2*uint64(n) {
		count *= 2
	}
	switch {
	case count <= 1024:
		count *= 4
	case count <= 4096:
		count *= 2
	}
	return count
}

func (c *compiler) hashTable(count uint64) []byte {
	t := make([]byte, count*slotSize)
	var name Octets
	for i := range c.nodes {
		n := &c.nodes[i]
		copy(name[:], n.name)
		h := name.Hash(0, len(n.name))
		s := uint64(uint32(h)) & (count - 1)
		for binary.LittleEndian.Uint32(t[s*slotSize:]) != 0 {
			s = (s + 1) & (count - 1)
		}
		binary.LittleEndian.PutUint64(t[s*slotSize:], h&^(1<<32-1)|uint64(n.at))
	}
	return t
}

// decodeHash decodes the first label of an NSEC3 owner name in lower case:
// base32 with the extended hex alphabet (RFC 4648 section 7).
func decodeHash(name []byte) (hash [hashSize]byte, ok bool) {
	if name[0] != hashSize*8/5 {
		return hash, false
	}
	var bits, n uint
	at := 0
	for _, c := range name[1 : 1+name[0]] {
		v := uint(c - '0')
		if c >= 'a' && c <= 'v' {
			v = uint(c-'a') + 10
		} else if c < '0' || c > '9' {
			return hash, false
		}
		bits, n = bits<<5|v, n+5
		if n >= 8 {
			n -= 8
			hash[at] = byte(bits >> n)
			at++
		}
	}
	return hash, true
}
