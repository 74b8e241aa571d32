package answer

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ampoule/libos/config/zone"

	"github.com/miekg/dns"
)

// checkMessage checks what holds for any answer to any bytes.
func checkMessage(t testing.TB, query, answer []byte, limit int) {
	t.Helper()
	silent := len(query) < headerSize || query[2]&0x80 != 0
	if len(answer) == 0 {
		if !silent {
			t.Fatalf("no answer to %x", query)
		}
		return
	}
	if silent {
		t.Fatalf("an answer to %x", query)
	}
	if len(answer) > limit {
		t.Fatalf("%d bytes, the limit is %d", len(answer), limit)
	}
	var m dns.Msg
	if err := m.Unpack(answer); err != nil {
		t.Fatalf("%x is answered by %x: %v", query, answer, err)
	}
	switch {
	case !bytes.Equal(answer[:2], query[:2]):
		t.Fatal("another identifier")
	case !m.Response || m.RecursionAvailable || m.AuthenticatedData || m.CheckingDisabled || m.Zero:
		t.Fatalf("flags: %v", &m)
	case m.Opcode != int(query[2]>>3&15) || m.RecursionDesired != (query[2]&1 != 0):
		t.Fatal("opcode or RD is not copied")
	case len(m.Question) > 1:
		t.Fatal("several questions")
	}
	if len(m.Question) == 1 {
		end := headerSize
		for answer[end] != 0 {
			end += 1 + int(answer[end])
		}
		if end += 5; !bytes.Equal(answer[headerSize:end], query[headerSize:end]) {
			t.Fatal("the question is not the client's, to the letter")
		}
	}
	if len(m.Answer)+len(m.Ns) > 0 && (m.Rcode != noError && m.Rcode != nxDomain && m.Rcode != yxDomain) {
		t.Fatalf("records with rcode %d", m.Rcode)
	}
}

// FuzzAnswer gives the server any bytes, over both transports.
func FuzzAnswer(f *testing.F) {
	s := testServer(f)
	for _, q := range readQuestions(f) {
		f.Add(q.msg, q.tcp)
	}
	buf := make([]byte, MaxMessage)
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		transport, limit := UDP, DefaultUDP
		if tcp {
			transport, limit = TCP, MaxMessage
		}
		before := bytes.Clone(msg)
		n := s.Answer(buf, msg, transport, Client{})
		if !bytes.Equal(before, msg) {
			t.Fatal("the query was changed")
		}
		checkMessage(t, msg, buf[:n], limit)
	})
}

// TestLimits asks for the largest sets with every buffer size and checks that
// no answer is larger, and that TC is set exactly when something is left out.
func TestLimits(t *testing.T) {
	s := testServer(t)
	buf := make([]byte, MaxMessage)
	for _, name := range []string{"large.example.org.", "huge.example.org.", "many.example.org.", "chain0.example.org."} {
		var whole dns.Msg
		for size := 0; size <= 1300; size++ {
			q := new(dns.Msg)
			q.SetQuestion(name, dns.TypeA)
			q.SetEdns0(uint16(size), false)
			msg, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if err := whole.Unpack(buf[:s.Answer(buf, msg, TCP, Client{})]); err != nil || whole.Truncated {
				t.Fatalf("over TCP: %v, %v", whole.Truncated, err)
			}
			n := s.Answer(buf, msg, UDP, Client{})
			checkMessage(t, msg, buf[:n], min(max(size, 512), DefaultUDP))
			var m dns.Msg
			if err := m.Unpack(buf[:n]); err != nil {
				t.Fatal(err)
			}
			less := len(m.Answer) < len(whole.Answer) || len(m.Ns) < len(whole.Ns)
			if m.Truncated != less {
				t.Errorf("%s with %d: TC %v, %d+%d of %d+%d records", name, size, m.Truncated,
					len(m.Answer), len(m.Ns), len(whole.Answer), len(whole.Ns))
			}
		}
	}
}

// TestLongChain checks that an alias chain of 64 ends without an
// error and without a loop.
func TestLongChain(t *testing.T) {
	origin := packName(t, "x.")
	records := []zone.Record{
		{Owner: origin, Type: typeSOA, TTL: 1, Data: append([]byte{0, 0}, make([]byte, 20)...)},
		{Owner: packName(t, "a.x."), Type: typeDNAME, TTL: 1, Data: packName(t, "b.a2.x.")},
		{Owner: packName(t, "a2.x."), Type: typeDNAME, TTL: 1, Data: packName(t, "a.x.")},
	}
	z, err := zone.Compile(origin, records)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New([]zone.Zone{z}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := new(dns.Msg)
	q.SetQuestion("q.a.x.", dns.TypeA)
	msg, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	n := s.Answer(buf, msg, TCP, Client{})
	checkMessage(t, msg, buf[:n], MaxMessage)
	if records := binary.BigEndian.Uint16(buf[6:]); records < 2 || records > 128 {
		t.Errorf("%d records", records)
	}
}

func TestNewRefuses(t *testing.T) {
	z, _ := loadZone(t, "test.")
	for what, f := range map[string]func() (*Server, error){
		"a string that is no zone": func() (*Server, error) { return New([]zone.Zone{"zone"}, Options{}) },
		"a zone twice":             func() (*Server, error) { return New([]zone.Zone{z, z}, Options{}) },
		"a size too small":         func() (*Server, error) { return New([]zone.Zone{z}, Options{UDPSize: 511}) },
		"a size too large":         func() (*Server, error) { return New([]zone.Zone{z}, Options{UDPSize: 4097}) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestAllocs holds the package to its promise of not allocating.
func TestAllocs(t *testing.T) {
	s := testServer(t)
	buf := make([]byte, MaxMessage)
	for _, q := range readQuestions(t) {
		if n := testing.AllocsPerRun(3, func() { s.Answer(buf, q.msg, TCP, Client{}) }); n != 0 {
			t.Errorf("%s: %v allocations", q.text, n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	s := testServer(b)
	buf := make([]byte, MaxMessage)
	for _, c := range []struct{ what, name, rrtype string }{
		{"data", "www.example.org.", "A"},
		{"nxdomain", "nothing.example.org.", "A"},
		{"nodata", "www.example.org.", "TXT"},
		{"wildcard", "x.wild.example.org.", "A"},
		{"alias3", "alias3.example.org.", "A"},
		{"referral", "x.sub.example.org.", "A"},
		{"refused", "example.com.", "A"},
		{"large", "large.example.org.", "TXT"},
	} {
		q, err := newQuestion(c.name, c.rrtype, []string{"edns=1232"})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Answer(buf, q.msg, UDP, Client{})
			}
		})
	}
}

// TestRoot serves the root zone beside another.
func TestRoot(t *testing.T) {
	root, err := zone.Compile([]byte{0}, []zone.Record{
		{Owner: []byte{0}, Type: typeSOA, TTL: 1, Data: make([]byte, 22)},
		{Owner: packName(t, "test."), Type: typeNS, TTL: 1, Data: packName(t, "a.nic.test.")},
		{Owner: packName(t, "a.nic.test."), Type: typeA, TTL: 1, Data: []byte{192, 0, 2, 1}},
		{Owner: packName(t, "org."), Type: typeNS, TTL: 1, Data: packName(t, "a.nic.test.")},
	})
	if err != nil {
		t.Fatal(err)
	}
	test, _ := loadZone(t, "test.")
	s, err := New([]zone.Zone{root, test}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	for _, c := range []struct {
		name, rrtype, want string
	}{
		{".", "A", "\tNOERROR aa\n\tau . 0 in soa . . 0 0 0 0 0\n"},
		{"com.", "A", "\tNXDOMAIN aa\n\tau . 0 in soa . . 0 0 0 0 0\n"},
		{"x.org.", "A", "\tNOERROR\n\tau org. 1 in ns a.nic.test.\n\tad a.nic.test. 1 in a 192.0.2.1\n"},
		{"test.", "DS", "\tNOERROR aa\n\tau . 0 in soa . . 0 0 0 0 0\n"},
		{"test.", "NS", "\tNOERROR aa\n\tan test. 60 in ns a.nic.test.\n\tad a.nic.test. 60 in a 203.0.113.1\n"},
	} {
		q, err := newQuestion(c.name, c.rrtype, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(buf[:s.Answer(buf, q.msg, UDP, Client{})]); got != c.want {
			t.Errorf("%s %s\ngot\n%swant\n%s", c.name, c.rrtype, got, c.want)
		}
	}
}
