package xfr

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"ampoule/libos/config/zone"
)

// delta is the difference between two versions of a zone: records packed one
// behind the other.
type delta struct {
	from, to       uint32 // serial numbers
	first, last    record // the SOA records
	deleted, added string
}

func (d *delta) size() int {
	return len(d.deleted) + len(d.added) + d.first.size() + d.last.size() + 64
}

// Journal is the differences between the versions that a zone had, the oldest
// first, up to a number of bytes. The zero value has none. It is not changed:
// Append returns another.
type Journal struct {
	deltas []delta
	size   int
}

// Size returns the bytes that the journal holds.
func (j *Journal) Size() int {
	if j == nil {
		return 0
	}
	return j.size
}

// Append returns the journal with the step from one version of a zone to the next,
// and without the oldest ones as far as it would be above limit bytes.
func (j *Journal) Append(old, new zone.Zone, limit int) *Journal {
	d, ok := diff(old, new, limit)
	if !ok || d.size() > limit {
		return nil
	}
	next := &Journal{size: d.size()}
	if j != nil && len(j.deltas) > 0 && j.deltas[len(j.deltas)-1].to == d.from {
		keep := len(j.deltas)
		for keep > 0 && next.size+j.deltas[keep-1].size() <= limit {
			keep--
			next.size += j.deltas[keep].size()
		}
		next.deltas = slices.Clone(j.deltas[keep:])
	}
	next.deltas = append(next.deltas, d)
	return next
}

// since returns the steps from a version to the last one, or none.
func (j *Journal) since(serial uint32) []delta {
	if j == nil {
		return nil
	}
	for i := range j.deltas {
		if j.deltas[i].from == serial {
			return j.deltas[i:]
		}
	}
	return nil
}

// differ collects a delta.
type differ struct {
	deleted, added []byte
	limit          int
}

// diff compares two versions of a zone. It gives up beyond limit bytes.
func diff(old, new zone.Zone, limit int) (delta, bool) {
	d := differ{limit: limit}
	var n zone.Name
	for i := range old.Len() {
		a := old.At(i)
		zone.Set(&n, old.Name(a))
		d.nodes(old, a, new, new.Lookup(&n))
	}
	for i := range new.Len() {
		b := new.At(i)
		zone.Set(&n, new.Name(b))
		if old.Lookup(&n) == zone.None {
			d.nodes(old, zone.None, new, b)
		}
	}
	d.hashed(old, new)
	first, last := soa(old), soa(new)
	return delta{from: ZoneSOA(old).Serial, to: ZoneSOA(new).Serial, first: first.clone(), last: last.clone(),
		deleted: string(d.deleted), added: string(d.added)}, !d.full()
}

// clone is the record apart from its zone, so that the zone can be forgotten.
func (r *record) clone() record {
	return record{strings.Clone(r.owner), r.rrtype, r.ttl, strings.Clone(r.data)}
}

func (d *differ) full() bool { return len(d.deleted)+len(d.added) > d.limit }

// hashed compares the NSEC3 records, which both zones have in the order of their
// names.
func (d *differ) hashed(old, new zone.Zone) {
	i, j := 0, 0
	for i < old.Hashed() || j < new.Hashed() {
		a, b := zone.None, zone.None
		c := 0
		if i == old.Hashed() {
			c = 1
		} else if j == new.Hashed() {
			c = -1
		} else {
			c = strings.Compare(old.Name(old.HashedAt(i)), new.Name(new.HashedAt(j)))
		}
		if c <= 0 {
			a = old.HashedAt(i)
			i++
		}
		if c >= 0 {
			b = new.HashedAt(j)
			j++
		}
		d.nodes(old, a, new, b)
	}
}

// nodes compares the records of one name, of which either may be None. Both are
// in the order of types and data.
func (d *differ) nodes(old zone.Zone, a zone.Node, new zone.Zone, b zone.Node) {
	if d.full() {
		return
	}
	before, after := list(old, a), list(new, b)
	for len(before) > 0 || len(after) > 0 {
		c := 0
		switch {
		case len(before) == 0:
			c = 1
		case len(after) == 0:
			c = -1
		default:
			c = before[0].compare(&after[0])
		}
		same := c == 0 && before[0].ttl == after[0].ttl
		if c <= 0 {
			if !same {
				d.deleted = pack(d.deleted, &before[0])
			}
			before = before[1:]
		}
		if c >= 0 {
			if !same {
				d.added = pack(d.added, &after[0])
			}
			after = after[1:]
		}
	}
}

// list returns the records of a node but for the zone's SOA.
func list(z zone.Zone, n zone.Node) (records []record) {
	if n == zone.None {
		return nil
	}
	nodeRecords(z, n, func(r record) bool {
		if r.rrtype != typeSOA {
			records = append(records, r)
		}
		return true
	})
	return records
}

// pack appends a record as it stands in a delta.
func pack(b []byte, r *record) []byte {
	le := binary.LittleEndian
	b = append(b, byte(len(r.owner)))
	b = le.AppendUint16(b, r.rrtype)
	b = le.AppendUint32(b, r.ttl)
	b = le.AppendUint16(b, uint16(len(r.data)))
	return append(append(b, r.owner...), r.data...)
}

// unpack yields packed records.
func unpack(s string) iter.Seq[record] {
	return func(yield func(record) bool) {
		for len(s) > 0 {
			le := binary.LittleEndian
			head := []byte(s[:9])
			owner, data := 9+int(head[0]), 9+int(head[0])+int(le.Uint16(head[7:]))
			r := record{s[9:owner], le.Uint16(head[1:]), le.Uint32(head[3:]), s[owner:data]}
			if s = s[data:]; !yield(r) {
				return
			}
		}
	}
}
