package secondary

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/wire"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
)

// FuzzTransfer gives a client any messages, to a question for a zone and to one for
// a difference, and asks what came of it.
func FuzzTransfer(f *testing.F) {
	old := version(f, 5, "x.example.org. 60 A 192.0.2.5")
	for _, lines := range [][]string{
		{soaLine(6), ns, a, "*.w.example.org. 60 CNAME ns", "d.example.org. 60 DNAME example.net.", soaLine(6)},
		{soaLine(6), soaLine(5), "x.example.org. 60 A 192.0.2.5", soaLine(6), "b.example.org. 60 MX 1 ns.example.org.", soaLine(6)},
		{soaLine(5)},
		{soaLine(6), ns, a, "example.org. 60 NSEC3PARAM 1 0 0 -", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.org. 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A", soaLine(6)},
	} {
		f.Add(message(f, typeAXFR, rrs(f, lines...)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, content := range []zone.Zone{"", old} {
			r := newReceiver(origin, content, 1<<16)
			z, err := receive(r, bytes.Clone(data))
			if err != nil {
				if strings.Contains(err.Error(), "can't be compiled") {
					t.Fatal(err)
				}
				continue
			}
			ask(t, z)
		}
	})
}

// ask asks a zone for all that it has.
func ask(t *testing.T, z zone.Zone) {
	t.Helper()
	s, err := answer.New([]zone.Zone{z}, answer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, answer.MaxMessage)
	for rec := range xfr.Records(z) {
		for _, prefix := range []string{"", "\x01y"} {
			if len(prefix)+len(rec.Owner) > 255 {
				continue
			}
			for _, qtype := range []uint16{rec.Type, 1, 255} {
				q := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}, prefix...)
				q = binary.BigEndian.AppendUint16(append(q, rec.Owner...), qtype)
				q = append(q, 0, 1, 0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0)
				n := s.Answer(buf, q, answer.TCP, answer.Client{})
				var quick answer.Scratch
				b := make([]byte, 4096)
				s.Quick(&quick, b, copy(b, q), &answer.Client{})
				if n == 0 {
					t.Fatalf("no answer for %q", rec.Owner)
				}
			}
		}
	}
}

// FuzzZone puts any records between the SOA records of a zone or a difference, so
// that more of what is made up becomes one.
func FuzzZone(f *testing.F) {
	old := version(f, 5, "x.example.org. 60 A 192.0.2.5")
	first := message(f, typeAXFR, rrs(f, soaLine(6))...)
	end := message(f, typeAXFR, rrs(f, soaLine(6), soaLine(6))...)[len(first):]
	from := message(f, typeAXFR, rrs(f, soaLine(6), soaLine(5))...)[len(first):]
	for _, line := range []string{ns, "*.w.example.org. 60 CNAME ns.example.org.", "d.example.org. 60 DNAME example.net.", "x.example.org. 60 A 192.0.2.5",
		"example.org. 60 NSEC3PARAM 1 0 0 -", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.org. 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A",
		"example.org. 60 RRSIG A 8 2 60 20300101000000 20200101000000 1 example.org. AAAA", "s.example.org. 60 NS ns.s.example.org."} {
		f.Add(message(f, typeAXFR, rrs(f, soaLine(6), ns, line)...)[len(first):], false)
		f.Add(message(f, typeAXFR, rrs(f, soaLine(6), line)...)[len(first):], true)
	}
	f.Fuzz(func(t *testing.T, data []byte, difference bool) {
		m, content := bytes.Clone(first), zone.Zone("")
		count := 2
		if difference {
			m, content = append(append(m, from...), end...), old
			count = 4
		}
		for at := len(m); ; count++ {
			rr, err := wire.ReadRR(append(m[:len(m):len(m)], data...), at)
			if err != nil {
				break
			}
			at = rr.End
			data, m = data[at-len(m):], append(m, data[:at-len(m)]...)
		}
		m = append(m, end...)
		binary.BigEndian.PutUint16(m[6:], uint16(count))
		z, err := receive(newReceiver(origin, content, 1<<16), m)
		if err == nil {
			ask(t, z)
		} else if strings.Contains(err.Error(), "can't be compiled") {
			t.Fatal(err)
		}
	})
}
