package answers

import (
	"bytes"
	"testing"

	"ampoule/libos/config/zone"
)

// records makes records of bytes: owner as labels below the origin, type, TTL and
// data, each behind its length.
func records(b []byte) []zone.Record {
	next := func(most int) []byte {
		if len(b) == 0 {
			return nil
		}
		n := min(int(b[0]), most, len(b)-1)
		field := b[1 : 1+n]
		b = b[1+n:]
		return field
	}
	all := []zone.Record{{Owner: []byte("\x01z\x00"), Type: zone.TypeSOA, TTL: 60, Data: make([]byte, 22)}}
	for len(b) > 2 && len(all) < 40 {
		owner := append(bytes.Clone(next(60)), "\x01z\x00"...)
		if len(b) == 0 {
			break
		}
		types := [...]uint16{1, zone.TypeNS, zone.TypeCNAME, zone.TypeDNAME, 15, 16, zone.TypeDS, zone.TypeRRSIG, zone.TypeNSEC, zone.TypeNSEC3}
		rrtype := types[int(b[0])%len(types)]
		b = b[1:]
		all = append(all, zone.Record{Owner: owner, Type: rrtype, TTL: 60, Data: next(255)})
	}
	return all
}

// FuzzAdd compiles zones of any records and asks for all their names, for those
// beside them and below, with and without DNSSEC: what Compile takes is answered
// without a panic, within the limit.
func FuzzAdd(f *testing.F) {
	f.Add([]byte("\x02\x01a\x00\x04\xc0\x00\x02\x01"))
	f.Add([]byte("\x02\x01*\x02\x05\x01b\x01z\x00\x02\x01b\x00\x04\xc0\x00\x02\x01"))
	f.Add([]byte("\x02\x01a\x03\x05\x01b\x01z\x00\x04\x01x\x01b\x00\x04\xc0\x00\x02\x01"))
	f.Add([]byte("\x02\x01s\x01\x07\x01n\x01s\x01z\x00\x04\x01n\x01s\x00\x04\xc0\x00\x02\x01"))
	f.Add([]byte("\x00\x07\x13\x00\x06\x08\x01\x01\x00\x00\x00\x3c\x7f\xff\xff\xff\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := records(b)
		z, err := zone.Compile([]byte("\x01z\x00"), all)
		if err != nil {
			return
		}
		if z, err = Add(z); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1232)
		for _, r := range all {
			for _, prefix := range []string{"", "\x01a", "\x01*", "\x03zzz\x01a"} {
				for _, qtype := range []uint16{1, zone.TypeNS, zone.TypeCNAME, zone.TypeDS, typeRRSIG, typeANY} {
					name := prefix + string(r.Owner)
					q := Response{Type: qtype, DO: qtype != zone.TypeNS}
					n, err := zone.Set(&q.Name, name)
					if err != nil {
						continue
					}
					q.Question(buf, append([]byte(name[:n]), byte(qtype>>8), byte(qtype), 0, 1), 1)
					for q.Step(z) {
						if !q.Name.Below(z.Name(z.Apex())) {
							break
						}
					}
					q.Finish()
					if q.Size() > len(buf) {
						t.Fatalf("%d bytes", q.Size())
					}
				}
			}
		}
	})
}
