package answer

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
)

// maker makes zones of bytes. Names are of few labels, so that aliases, wildcards
// and delegations meet.
type maker struct{ b []byte }

func (m *maker) byte() byte {
	if len(m.b) == 0 {
		return 0
	}
	c := m.b[0]
	m.b = m.b[1:]
	return c
}

var makerLabels = [...]string{"\x01a", "\x01*", "\x01b", "\x01s", "\x01\x00", "\x02\x01\x02", "\x01A", "\x05a.b\\c",
	"\x3faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\x200123456789abcdefghijklmnopqrstuv"}

// The zones that records go to; the second is below the first.
var makerOrigins = [...]string{"\x01z\x00", "\x01s\x01z\x00", "\x01y\x00"}

// name is up to three labels below one of the origins, or below the root.
func (m *maker) name(origin string) []byte {
	c := m.byte()
	var name []byte
	for range c & 3 {
		name = append(name, makerLabels[int(m.byte())%len(makerLabels)]...)
	}
	if c>>4 == 15 {
		origin = "\x00"
	} else if c>>4 > 9 {
		origin = makerOrigins[int(c>>2)%len(makerOrigins)]
	}
	return append(name, origin...)
}

// text is up to so many octets of the input.
func (m *maker) text(most int) []byte {
	n := min(int(m.byte()), most, len(m.b))
	t := m.b[:n]
	m.b = m.b[n:]
	return bytes.Clone(t)
}

// record makes a record below origin: most with data such as its type has, some with
// any.
func (m *maker) record(origin string) zone.Record {
	owner := m.name(origin)
	if !bytes.HasSuffix(owner, []byte(origin)) {
		owner = []byte(origin)
	}
	types := [...]uint16{1, 28, zone.TypeNS, zone.TypeCNAME, zone.TypeDNAME, 15, 16, 12, zone.TypeDS, zone.TypeRRSIG,
		zone.TypeNSEC, zone.TypeNSEC3, zone.TypeNSEC3PARAM, 33, 64, 65280, zone.TypeDNSKEY, 14}
	c := m.byte()
	r := zone.Record{Owner: owner, Type: types[int(c&0x7f)%len(types)], TTL: uint32(m.byte())}
	be := binary.BigEndian
	switch {
	case c&0x80 != 0:
		r.Data = m.text(255)
	case r.Type == 1:
		r.Data = []byte{192, 0, 2, m.byte()}
	case r.Type == zone.TypeNS || r.Type == zone.TypeCNAME || r.Type == zone.TypeDNAME || r.Type == 12:
		r.Data = m.name(origin)
	case r.Type == 14:
		r.Data = append(m.name(origin), m.name(origin)...)
	case r.Type == 15:
		r.Data = append([]byte{0, m.byte()}, m.name(origin)...)
	case r.Type == 33:
		r.Data = append([]byte{0, 1, 0, 1, 0, m.byte()}, m.name(origin)...)
	case r.Type == zone.TypeRRSIG:
		r.Data = be.AppendUint16(nil, types[int(m.byte())%len(types)])
		r.Data = append(r.Data, 13, 2, 0, 0, 0, 60, 0x70, 0, 0, 0, 0, 0, 0, 1, 0, 1)
		r.Data = append(append(r.Data, origin...), m.text(64)...)
	case r.Type == zone.TypeNSEC:
		r.Data = append(m.name(origin), m.text(10)...)
	case r.Type == zone.TypeNSEC3:
		r.Data = append([]byte{1, m.byte() & 1, 0, m.byte() & 7, 0, 20}, make([]byte, 20)...)
		copy(r.Data[6:], m.text(20))
		r.Data = append(r.Data, m.text(10)...)
	case r.Type == zone.TypeNSEC3PARAM:
		r.Data = []byte{1, 0, 0, m.byte() & 7, 0}
	default:
		r.Data = m.text(255)
	}
	for range c & 3 { // a large set now and then
		if r.Type == 16 {
			r.Data = append(r.Data, r.Data...)
		}
	}
	return r
}

// zones compiles what the input makes, nil if Compile refuses it: with answers of as
// many bytes as the first of the input says, and without.
func (m *maker) zones(t *testing.T) (ready, plain []zone.Zone) {
	room := math.MaxInt
	if c := int(m.byte()); c > 127 {
		room = (c - 127) * 64
	}
	records := make([][]zone.Record, len(makerOrigins))
	for n := 0; len(m.b) > 0 && n < 60; n++ {
		at := int(m.byte()) % (2 * len(makerOrigins))
		if at >= len(makerOrigins) {
			at = 0
		}
		records[at] = append(records[at], m.record(makerOrigins[at]))
	}
	for i, origin := range makerOrigins {
		if i > 0 && len(records[i]) == 0 {
			continue
		}
		soa := append([]byte("\x01n"+origin+"\x01h"+origin), make([]byte, 20)...)
		all := append(records[i], zone.Record{Owner: []byte(origin), Type: zone.TypeSOA, TTL: 60, Data: soa})
		z, err := zone.Compile([]byte(origin), all)
		if err != nil {
			continue
		}
		r, err := answers.AddWithin(z, room)
		if err != nil {
			t.Fatal(err)
		}
		// The last name's list and an answer are beyond the room.
		if room < math.MaxInt && len(r) > len(z)+room+4096 {
			t.Fatalf("%d bytes with answers, %d without and room for %d", len(r), len(z), room)
		}
		ready, plain = append(ready, r), append(plain, z)
	}
	return ready, plain
}

// FuzzZones compiles zones of any records and asks for all their names, for those
// above, beside and below: what Compile takes is answered without a panic, and by the
// answers made ahead as by those made when asked.
func FuzzZones(f *testing.F) {
	f.Add([]byte("\x00\x00\x11\x00\x03\x01\x12\x01\x00\x00\x12\x01\x00\x00\x05\x01"))
	f.Add(bytes.Repeat([]byte{0, 0x11, 1, 3, 60, 0x11, 2, 0, 0x11, 2, 4, 60, 0xa0, 1, 2, 3}, 12))
	f.Add(bytes.Repeat([]byte{0, 1, 9, 9, 60, 6, 4, 1, 2, 3, 4, 1, 2, 11, 0, 1, 7, 8, 9}, 12))
	f.Add(append([]byte{130}, bytes.Repeat([]byte{0, 0x12, 0, 2, 3, 60, 0xb1, 3, 1, 0x11, 1, 2, 60, 0xb1, 2}, 12)...))
	c := comparison{a: make([]byte, MaxMessage), b: make([]byte, MaxMessage), quick: make([]byte, 1400)}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &maker{b}
		ready, plain := m.zones(t)
		if len(ready) == 0 {
			return
		}
		var err error
		if c.fast, err = New(ready, cookieOptions); err != nil {
			t.Fatal(err)
		}
		if c.slow, err = New(plain, cookieOptions); err != nil {
			t.Fatal(err)
		}
		for _, z := range ready {
			for i := range min(z.Len(), 16) {
				name := z.Name(z.At(i))
				for _, label := range []string{"", "\x01a", "\x03Zzz"} {
					if len(label)+len(name) <= zone.MaxName {
						c.name(t, label+name)
					}
				}
			}
		}
	})
}

// comparison asks two servers with the same zones.
type comparison struct {
	fast, slow  *Server // with answers made ahead, without
	a, b, quick []byte
}

func (c *comparison) name(t *testing.T, name string) {
	t.Helper()
	for _, qtype := range []uint16{1, zone.TypeNS, zone.TypeCNAME, zone.TypeDS, zone.TypeRRSIG, 255} {
		for _, opt := range []string{"", "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"} {
			q := []byte{7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, byte(min(len(opt), 1))}
			q = binary.BigEndian.AppendUint16(append(q, name...), qtype)
			q = append(append(q, 0, 1), opt...)
			compareQuick(t, c.fast, q, c.a, c.quick)
			want := c.slow.Answer(c.a, q, UDP, testClient)
			if got := c.fast.Answer(c.b, q, UDP, testClient); !bytes.Equal(c.a[:want], c.b[:got]) {
				t.Fatalf("%x:\nwith answers    %x\nwithout answers %x", q, c.b[:got], c.a[:want])
			}
			if want > 1232 || want < 12 {
				t.Fatalf("%x: %d bytes", q, want)
			}
			c.slow.Answer(c.a, q, TCP, testClient)
		}
	}
}
