package xfr

import (
	"cmp"
	"encoding/binary"
	"iter"
	"strings"

	"ampoule/appliances/dns/wire"
	"ampoule/libos/config/zone"
)

// Record types that transfers look at.
const (
	typeNS   = zone.TypeNS
	typeSOA  = zone.TypeSOA
	typeIXFR = 251
	typeAXFR = 252

	classIN = 1
)

// record is a record of a compiled zone.
type record struct {
	owner  string // lower case
	rrtype uint16
	ttl    uint32
	data   string
}

// nodeRecords yields the records of one node.
func nodeRecords(z zone.Zone, n zone.Node, yield func(record) bool) bool {
	owner := z.Name(n)
	for it := z.RRsets(n); ; {
		set, ok := it.Next()
		if !ok {
			return true
		}
		for data, ok := set.Next(); ok; data, ok = set.Next() {
			r := record{owner, set.Type, set.TTL, data}
			if set.Type == zone.TypeRRSIG && len(data) > 2 {
				// A signature has the TTL of what it covers (RFC 4034 section 3); a
				// table has but one for all at a name.
				if covered, ok := z.RRset(n, uint16(data[0])<<8|uint16(data[1])); ok {
					r.ttl = covered.TTL
				}
			}
			if !yield(r) {
				return false
			}
		}
	}
}

// all yields the records of a zone, those of NSEC3 too, but not its SOA.
func all(z zone.Zone) iter.Seq[record] {
	return func(yield func(record) bool) {
		apex := z.Apex()
		some := func(n zone.Node) bool {
			return nodeRecords(z, n, func(r record) bool {
				return n == apex && r.rrtype == typeSOA || yield(r)
			})
		}
		for i := range z.Len() {
			if !some(z.At(i)) {
				return
			}
		}
		for i := range z.Hashed() {
			if !some(z.HashedAt(i)) {
				return
			}
		}
	}
}

// Records yields the records of a zone, its SOA first.
func Records(z zone.Zone) iter.Seq[zone.Record] {
	return func(yield func(zone.Record) bool) {
		first := soa(z)
		if !yield(first.compiler()) {
			return
		}
		for r := range all(z) {
			if !yield(r.compiler()) {
				return
			}
		}
	}
}

// compiler returns the record as compilers take it.
func (r *record) compiler() zone.Record {
	return zone.Record{Owner: []byte(r.owner), Type: r.rrtype, TTL: r.ttl, Data: []byte(r.data)}
}

// soa returns the SOA record of a zone.
func soa(z zone.Zone) record {
	apex := z.Apex()
	set, _ := z.RRset(apex, typeSOA)
	r := record{owner: z.Name(apex), rrtype: typeSOA, ttl: set.TTL}
	r.data, _ = set.Next()
	return r
}

// SOA is the numbers of an SOA record (RFC 1035 section 3.3.13); times are in
// seconds.
type SOA struct{ Serial, Refresh, Retry, Expire, Minimum uint32 }

// ReadSOA reads the numbers from an SOA record's data.
func ReadSOA(data string) (s SOA, ok bool) {
	if len(data) < 22 {
		return s, false
	}
	b := []byte(data[len(data)-20:])
	for i, v := range []*uint32{&s.Serial, &s.Refresh, &s.Retry, &s.Expire, &s.Minimum} {
		*v = binary.BigEndian.Uint32(b[4*i:])
	}
	return s, true
}

// ZoneSOA returns the numbers of the SOA record of a compiled zone.
func ZoneSOA(z zone.Zone) SOA {
	s, _ := ReadSOA(soa(z).data)
	return s
}

// Newer says whether serial number a is after b (RFC 1982 section 3.2). Of two
// that are 2^31 apart neither is.
func Newer(a, b uint32) bool { return int32(a-b) > 0 }

// compare orders the records of one name.
func (r *record) compare(o *record) int {
	return cmp.Or(cmp.Compare(r.rrtype, o.rrtype), strings.Compare(r.data, o.data))
}

// size is the octets of the record when its owner is not compressed.
func (r *record) size() int { return len(r.owner) + 10 + len(r.data) }

// appendRecord writes a record into a message whose question is at offset
// wire.HeaderSize and has the name origin; last is where the owner of the
// record before it stands, if that is the same, or 0. It returns where the owner
// stands.
func appendRecord(b []byte, r *record, origin string, last int) ([]byte, int) {
	be := binary.BigEndian
	at := len(b)
	switch {
	case last > 0 && last < 1<<14:
		b, at = be.AppendUint16(b, 0xc000|uint16(last)), last
	case strings.HasSuffix(r.owner, origin) && len(origin) > 1:
		// A suffix of octets is one of labels: owners are at or below the origin.
		b = append(b, r.owner[:len(r.owner)-len(origin)]...)
		b = be.AppendUint16(b, 0xc000|wire.HeaderSize)
	default:
		b = append(b, r.owner...)
	}
	b = be.AppendUint16(b, r.rrtype)
	b = be.AppendUint16(b, classIN)
	b = be.AppendUint32(b, r.ttl)
	b = be.AppendUint16(b, uint16(len(r.data)))
	return append(b, r.data...), at
}
