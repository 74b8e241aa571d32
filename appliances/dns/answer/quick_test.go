package answer

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"

	"github.com/miekg/dns"
)

// apart are origins none of which is below another.
var apart = []string{"example.org.", "example.net.", "test.", "nsec.example.", "nsec3.example."}

// readyServer is testServer with ready answers.
func readyServer(t testing.TB, o Options) *Server { return serverOf(t, origins, o) }

// serverOf is readyServer for some of the zones.
func serverOf(t testing.TB, origins []string, o Options) *Server {
	t.Helper()
	o.Rand = crand.Reader
	var zones []zone.Zone
	for _, o := range origins {
		zones = append(zones, readyZone(t, o))
	}
	s, err := New(zones, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readyZone is a test zone with ready answers.
func readyZone(t testing.TB, origin string) zone.Zone {
	t.Helper()
	z, _ := loadZone(t, origin)
	z, err := answers.Add(z)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// corpus makes questions about all names of the test zones, near them and with
// all types and options that matter.
type corpus struct {
	rng   *rand.Rand
	names []string // wire format
}

func newCorpus(t testing.TB, origins []string) *corpus {
	t.Helper()
	c := &corpus{rng: rand.New(rand.NewPCG(1, 2))}
	for _, o := range origins {
		_, rrs := loadZone(t, o)
		for _, rr := range rrs {
			c.names = append(c.names, string(packName(t, strings.ToLower(rr.Header().Name))))
		}
	}
	return c
}

// name makes a name: one that is there, a child, a parent, a sibling, in any case.
func (c *corpus) name() []byte {
	name := c.names[c.rng.IntN(len(c.names))]
	for range c.rng.IntN(3) {
		switch c.rng.IntN(6) {
		case 0:
			if name[0] != 0 {
				name = name[1+name[0]:]
			}
		case 1:
			name = "\x01*" + name
		case 2:
			label := make([]byte, 1+c.rng.IntN(20))
			for i := range label {
				label[i] = byte('a' + c.rng.IntN(26))
			}
			name = string(byte(len(label))) + string(label) + name
		case 5:
			any := [...]byte{0, 0, ' ', '@', '[', 0x80, 0x81, 0xff}
			name = "\x02" + string(any[c.rng.IntN(len(any))]) + string(any[c.rng.IntN(len(any))]) + name
		case 3:
			name = "\x03www" + name
		case 4:
			other := c.names[c.rng.IntN(len(c.names))]
			name = other[:1+other[0]] + strings.TrimPrefix(name, other[:1+other[0]])
			if other[0] == 0 {
				name = "\x00"
			}
		}
	}
	b := []byte(name)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' && c.rng.IntN(4) == 0 {
			b[i] -= 'a' - 'A'
		}
	}
	return b
}

var corpusTypes = []uint16{1, 1, 1, 28, 2, 5, 6, 12, 15, 16, 33, 35, 39, 43, 46, 47, 48, 50, 65, 99, 255, 257, 65280, 0, 41, 252}

// query makes a query; most are well-formed.
func (c *corpus) query() []byte {
	q := binary.BigEndian.AppendUint16(nil, uint16(c.rng.Uint32()))
	flags := [...]uint16{0, 0, 0x100, 0x100, 0x110, 0x130, 0x20, 0x400, 0x40}[c.rng.IntN(9)]
	q = binary.BigEndian.AppendUint16(q, flags)
	edns := c.rng.IntN(3) > 0
	extra := byte(0)
	if edns {
		extra = 1
	}
	q = append(q, 0, 1, 0, 0, 0, 0, 0, extra)
	q = append(q, c.name()...)
	q = binary.BigEndian.AppendUint16(q, corpusTypes[c.rng.IntN(len(corpusTypes))])
	q = append(q, 0, [...]byte{1, 1, 1, 1, 1, 1, 1, 1, 3, 255}[c.rng.IntN(10)])
	if edns {
		size := [...]uint16{0, 511, 512, 513, 1232, 4096, uint16(c.rng.UintN(1500))}[c.rng.IntN(7)]
		do := [...]byte{0, 0x80}[c.rng.IntN(2)]
		q = append(q, 0, 0, 41)
		q = binary.BigEndian.AppendUint16(q, size)
		q = append(q, 0, [...]byte{0, 0, 0, 0, 0, 0, 0, 1}[c.rng.IntN(8)], do, 0)
		options := [...]string{"", "", "", "\x00\x03\x00\x00", "\x00\x0c\x00\x02\x00\x00", "\x00\x0a\x00\x08abcdefgh",
			"\x00\x0a\x00\x18abcdefghijklmnopqrstuvwx", "\x00\x0a\x00\x09abcdefghi"}[c.rng.IntN(8)]
		q = append(q, 0, byte(len(options)))
		q = append(q, options...)
	}
	if c.rng.IntN(50) == 0 {
		q[c.rng.IntN(len(q))] ^= 1 << c.rng.IntN(8)
	}
	return q
}

// scratch is what Quick needs, told the time.
func scratch(s *Server) *Scratch {
	q := new(Scratch)
	s.Tell(q)
	return q
}

// compareQuick asks both ways and says whether there was a ready answer.
func compareQuick(t testing.TB, s *Server, query, slow, quick []byte) bool {
	t.Helper()
	for i := range quick {
		quick[i] = 0xa5
	}
	copy(quick, query)
	from := testClient
	n := s.Quick(scratch(s), quick, len(query), &from)
	if n < 0 {
		if !bytes.Equal(quick[:len(query)], query) {
			t.Fatalf("%x: passed on, but changed", query)
		}
		return false
	}
	want := slow[:s.Answer(slow, query, UDP, testClient)]
	if !bytes.Equal(quick[:n], want) {
		var a, b dns.Msg
		a.Unpack(quick[:n])
		b.Unpack(want)
		t.Fatalf("%x:\nready %x\n%v\nmade  %x\n%v", query, quick[:n], &a, want, &b)
	}
	return true
}

// TestQuick compares ready answers with those of the full server, byte by byte.
func TestQuick(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testQuick(t, readyServer(t, Options{})) })
	t.Run("cookies", func(t *testing.T) { testQuick(t, readyServer(t, cookieOptions)) })
	t.Run("apart", func(t *testing.T) {
		s := serverOf(t, apart, Options{})
		if len(s.view.Load().origins.few) != len(apart) {
			t.Fatal("zones that are few and not nested are not searched directly")
		}
		testQuick(t, s)
	})
}

// TestQuickAlone has one zone at a time: where one zone is below another, answers
// behind aliases are none of those that are ready, so that TestQuick has few of them.
func TestQuickAlone(t *testing.T) {
	slow, quick := make([]byte, MaxMessage), make([]byte, 1400)
	for _, origin := range origins {
		s, err := New([]zone.Zone{readyZone(t, origin)}, Options{Rand: crand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		c := newCorpus(t, []string{origin})
		ready := 0
		const count = 30_000
		for range count {
			if compareQuick(t, s, c.query(), slow, quick) {
				ready++
			}
		}
		if ready < count/8 {
			t.Errorf("%s: %d of %d questions have a ready answer", origin, ready, count)
		}
	}
}

// cookieOptions give cookies, and the same at any time.
var cookieOptions = Options{Cookies: true, CookieSecrets: [][16]byte{{1}}, NSID: "ns1",
	Now: func() time.Time { return time.Unix(2_000_000_000, 0) }}

func testQuick(t *testing.T, s *Server) {
	t.Helper()
	slow, quick := make([]byte, MaxMessage), make([]byte, 1400)
	ready := 0
	for _, q := range readQuestions(t) {
		if compareQuick(t, s, q.msg, slow, quick) {
			ready++
		}
	}
	if ready < 100 {
		t.Errorf("%d of the recorded questions have a ready answer", ready)
	}
	c := newCorpus(t, origins)
	ready = 0
	const count = 200_000
	for range count {
		if compareQuick(t, s, c.query(), slow, quick) {
			ready++
		}
	}
	t.Logf("%d of %d questions have a ready answer", ready, count)
	if ready < count/5 {
		t.Errorf("%d of %d questions have a ready answer", ready, count)
	}
}

// FuzzQuick gives any bytes to both.
func FuzzQuick(f *testing.F) {
	s := serverOf(f, apart, cookieOptions)
	for _, q := range readQuestions(f) {
		f.Add(q.msg)
	}
	slow, quick := make([]byte, MaxMessage), make([]byte, 1400)
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) <= len(quick) {
			compareQuick(t, s, msg, slow, quick)
		}
	})
}

var testClient = NewClient(netip.MustParseAddr("192.0.2.77"))

// TestQuickAllocs holds ready answers to not allocating, with cookies and limits.
func TestQuickAllocs(t *testing.T) {
	s := readyServer(t, Options{Cookies: true, Limit: Limit{Rate: 1000}})
	from := testClient
	var q Scratch
	b := make([]byte, 1400)
	for _, text := range []string{"www.example.org. A", "nothing.example.org. A edns=1232", "x.wild.example.org. A edns=1232 do",
		"x.sub.example.org. A", "www.nsec.example. A edns=1232 do", "www.example.org. A edns=1232 option=10:0102030405060708"} {
		f := strings.Fields(text)
		question, err := newQuestion(f[0], f[1], f[2:])
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			s.Tell(&q)
			if s.Quick(&q, b, copy(b, question.msg), &from) < 0 {
				t.Fatalf("%s: no ready answer", text)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
