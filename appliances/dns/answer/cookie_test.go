package answer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	mrand "math/rand/v2"
	"net/netip"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// give is answer for octets.
func (c *cookies) give(out *[fullCookie]byte, in []byte, from *Client, now uint32) bool {
	var k cookie
	var sent [fullCookie]byte
	full := copy(sent[:], in) == fullCookie
	k.load(sent[:])
	good := c.answer(&k, full, from, now)
	k.put(out)
	return good
}

// TestCookieVectors are the examples of RFC 9018 appendix A.
func TestCookieVectors(t *testing.T) {
	const (
		first = "e5e973e5a6b2a43f48e7dc849e37bfcf"
		old   = "dd3bdf9344b678b185a6f5cb60fca715"
		fresh = "445536bcd2513298075a5d379663c962"
	)
	for name, c := range map[string]struct {
		secrets      []string
		client       string
		now          uint32
		cookie, want string
		good         bool
	}{
		"learning": {[]string{first}, "198.51.100.100", 1559731985, "2464c4abcf10c957",
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480", false},
		"the same returned": {[]string{first}, "198.51.100.100", 1559731985 + 600, "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480", true},
		"renewed": {[]string{first}, "198.51.100.100", 1559734385, "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
			"2464c4abcf10c957010000005cf7a871d4a564a1442aca77", true},
		"reserved bits": {[]string{first}, "203.0.113.203", 1559734700, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			"fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", false}, // expired by then
		"secret rolled over": {[]string{fresh, old}, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			"22681ab97d52c298010000005cf7c609a6bb79d16625507a", true},
	} {
		var shared [][16]byte
		for _, s := range c.secrets {
			shared = append(shared, [16]byte(unhex(t, s)))
		}
		jar, err := newCookies(shared, c.now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		from := NewClient(netip.MustParseAddr(c.client))
		var out [fullCookie]byte
		good := jar.give(&out, unhex(t, c.cookie), &from, c.now)
		if !bytes.Equal(out[:], unhex(t, c.want)) || good != c.good {
			t.Errorf("%s: %x %v, want %s %v", name, out, good, c.want, c.good)
		}
	}
}

// TestCookieReserved checks that what a server must not care for is still hashed.
func TestCookieReserved(t *testing.T) {
	jar, err := newCookies([][16]byte{[16]byte(unhex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf"))}, 0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := NewClient(netip.MustParseAddr("203.0.113.203"))
	var out [fullCookie]byte
	if !jar.give(&out, unhex(t, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"), &from, 0x5cf78f71+60) {
		t.Error("a good cookie with reserved bits is refused")
	}
}

func TestCookieRefused(t *testing.T) {
	const now = 2_000_000_000
	jar, err := newCookies([][16]byte{{1}}, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, other := NewClient(netip.MustParseAddr("192.0.2.1")), NewClient(netip.MustParseAddr("192.0.2.2"))
	var c, out [fullCookie]byte
	jar.give(&c, []byte("clientco"), &from, now)
	change := func(at int) []byte {
		b := bytes.Clone(c[:])
		b[at] ^= 1
		return b
	}
	for name, try := range map[string]struct {
		cookie []byte
		from   Client
		now    uint32
		good   bool
	}{
		"as it was given":   {c[:], from, now, true},
		"young":             {c[:], from, now + cookieAge, true},
		"from a fast clock": {c[:], from, now - cookieAhead, true},
		"old":               {c[:], from, now + cookieAge + 1, false},
		"from the future":   {c[:], from, now - cookieAhead - 1, false},
		"another address":   {c[:], other, now, false},
		"another client":    {change(0), from, now, false},
		"another version":   {change(8), from, now, false},
		"another time":      {change(15), from, now, false},
		"another hash":      {change(23), from, now, false},
	} {
		if good := jar.give(&out, try.cookie, &try.from, try.now); good != try.good {
			t.Errorf("%s: good %v", name, good)
		}
	}
}

// TestCookieRotation checks that secrets made here are replaced, and that a
// cookie lives through that.
func TestCookieRotation(t *testing.T) {
	const now = 2_000_000_000
	jar, err := newCookies(nil, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := NewClient(netip.MustParseAddr("2001:db8::1"))
	var a, b, out [fullCookie]byte
	client := []byte("clientco")
	jar.give(&a, client, &from, now+cookieRotate-1)
	secret := jar.secrets.Load().first
	jar.give(&b, client, &from, now+cookieRotate)
	if k := jar.secrets.Load(); k.first == secret || k.others[0] != secret {
		t.Fatal("the secret is not replaced")
	}
	for what, c := range map[string][]byte{"before": a[:], "after": b[:]} {
		if !jar.give(&out, c, &from, now+cookieRotate+10) {
			t.Errorf("a cookie from %s the rotation is refused", what)
		}
	}
}

// hexCookie is a good cookie of the client.
func hexCookie(s *Server, from Client) string {
	var c [fullCookie]byte
	s.cookies.give(&c, []byte("clientco"), &from, s.clock.moment().seconds)
	return hex.EncodeToString(c[:])
}

// TestCookieKnown compares answers from cookies that are known with those from none,
// over time and the change of secrets.
func TestCookieKnown(t *testing.T) {
	const start = 2_000_000_000
	jar, err := newCookies(nil, start, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clients := []Client{NewClient(netip.MustParseAddr("192.0.2.1")), NewClient(netip.MustParseAddr("192.0.2.2")),
		NewClient(netip.MustParseAddr("2001:db8::1"))}
	q, sent := &Scratch{known: new(known)}, []cookie{{client: 1}, {client: 257}, {client: 2}}
	rng := mrand.New(mrand.NewPCG(1, 2))
	now, hits := uint32(start), 0
	for range 200_000 {
		now += []uint32{0, 0, 0, 0, 1, 60, 1000}[rng.IntN(7)]
		i := rng.IntN(len(sent))
		from := &clients[rng.IntN(len(clients))]
		try := sent[i]
		full := try.stamp != 0 && rng.IntN(4) > 0
		switch rng.IntN(20) {
		case 0:
			try.hash ^= 1
		case 1:
			try.stamp ^= 1 << rng.IntN(64)
		}
		jar.current(now) // so that both find the same secrets
		made := try
		good := jar.answer(&made, full, from, now)
		e := &q.known[uint8(try.client)]
		if e.by == jar.secrets.Load() && e.from == *from && e.cookie == made {
			hits++
		}
		q.cookie, q.full, q.seconds = try, full, now
		if !full {
			q.cookie.stamp = stampOf(now) // as it is read
		}
		got := full
		if !e.is(q, from, jar.secrets.Load()) {
			got = e.learn(jar, q, from)
		}
		if got != good || e.cookie != made {
			t.Fatalf("%+v of %+v at %d: %+v %v, want %+v %v", try, from, now, e.cookie, got, made, good)
		}
		sent[i] = made
	}
	if hits < 1000 {
		t.Errorf("%d answers were known", hits)
	}
}
