package dnsdiff

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzParse reads any answer twice: what the other reader of messages takes is read
// here too, with as many records, and an answer is equal to itself.
func FuzzParse(f *testing.F) {
	for _, lines := range [][]string{
		{"example.org. 60 SOA ns.example.org. host.example.org. 1 2 3 4 5", "example.org. 60 MX 10 mail.example.org."},
		{"a.example.org. 60 RRSIG A 8 2 60 20300101000000 20200101000000 1 example.org. AAAA", "a.example.org. 60 NSEC b.example.org. A"},
		{"_s._tcp.example.org. 60 SRV 1 2 3 a.example.org.", "h.example.org. 60 HTTPS 1 . alpn=h2"},
	} {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeANY)
		m.Response, m.Compress = true, true
		for _, l := range lines {
			rr, err := dns.NewRR(l)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.SetEdns0(1232, true)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ReadQuery(b)
		Question{Msg: b}.Dig()
		m, err := Parse(b)
		if err != nil {
			return
		}
		if !m.equal(m) {
			t.Error("an answer that differs from itself")
		}
		var other dns.Msg
		if other.Unpack(b) != nil {
			return
		}
		opts := 0
		for _, rr := range other.Extra {
			if rr.Header().Rrtype == dns.TypeOPT {
				opts++
			}
		}
		if m.EDNS != (opts == 1) {
			t.Errorf("EDNS %v, %d OPT records", m.EDNS, opts)
		}
		for i, n := range []int{len(other.Answer), len(other.Ns), len(other.Extra) - opts} {
			if len(m.Sections[i]) != n {
				t.Errorf("%d records in section %d, want %d", len(m.Sections[i]), i, n)
			}
		}
	})
}
