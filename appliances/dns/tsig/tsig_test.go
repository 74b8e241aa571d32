package tsig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"testing"
	"time"

	"ampoule/libos/config/zone"

	"github.com/miekg/dns"
)

// The algorithms as package algorithm has them, which can't be imported here.
var (
	SHA1   = Algorithm{"\x09hmac-sha1\x00", 20, func(s []byte) hash.Hash { return hmac.New(sha1.New, s) }}
	SHA256 = Algorithm{"\x0bhmac-sha256\x00", 32, func(s []byte) hash.Hash { return hmac.New(sha256.New, s) }}
	SHA384 = Algorithm{"\x0bhmac-sha384\x00", 48, func(s []byte) hash.Hash { return hmac.New(sha512.New384, s) }}
	SHA512 = Algorithm{"\x0bhmac-sha512\x00", 64, func(s []byte) hash.Hash { return hmac.New(sha512.New, s) }}
)

var (
	now    = time.Unix(1_800_000_000, 0)
	secret = []byte("0123456789abcdef0123456789abcdef")
	ring   = Ring{
		{"\x01a\x07example\x00", &SHA256, secret},
		{"\x01b\x00", &SHA512, secret[:20]},
		{"\x01c\x00", &SHA1, secret[:16]},
		{"\x01d\x00", &SHA384, secret[:16]},
	}
	names = []string{"a.example.", "b.", "c.", "d."}
)

// signed makes a query and has miekg/dns sign it.
func signed(t testing.TB, i int, at time.Time) (msg []byte, mac string) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.Example.org.", dns.TypeA)
	m.SetEdns0(1232, true)
	alg, _, _ := dns.UnpackDomainName([]byte(ring[i].Algorithm.Name), 0)
	m.SetTsig(names[i], alg, fudge, at.Unix())
	b, mac, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(ring[i].Secret), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b, mac
}

func locate(t testing.TB, msg []byte) int {
	t.Helper()
	at, err := Locate(msg)
	if err != nil || at == 0 {
		t.Fatalf("no TSIG record: %d, %v", at, err)
	}
	return at
}

// TestServer checks requests and answers of several messages against miekg/dns.
func TestServer(t *testing.T) {
	for i := range ring {
		msg, mac := signed(t, i, now)
		q, err := ring.Verify(msg, locate(t, msg), now)
		if err != nil || q.Error() != OK || q.Key() != &ring[i] {
			t.Fatalf("%s: %v, %v", names[i], err, q)
		}
		for n := range 3 {
			m := new(dns.Msg)
			m.SetQuestion("www.example.org.", dns.TypeA)
			m.Response = true
			b, _ := m.Pack()
			buf := make([]byte, len(b)+q.Size())
			size := q.Append(buf, copy(buf, b), now)
			if size > len(buf) {
				t.Fatalf("%d octets, Size said %d", size, len(buf))
			}
			if err := verifyMiekg(buf[:size], ring[i].Secret, mac, n > 0); err != nil {
				t.Errorf("%s: message %d: %v", names[i], n, err)
			}
			if err := m.Unpack(buf[:size]); err != nil {
				t.Fatal(err)
			}
			mac = m.IsTsig().MAC
		}
	}
}

func verifyMiekg(msg, secret []byte, mac string, timers bool) error {
	// It looks at the clock, so the message says now, which signs too: check by
	// signing again instead.
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return err
	}
	got := m.IsTsig()
	if got == nil {
		return errors.New("not signed")
	}
	want := got.MAC
	_, again, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), mac, timers)
	if err != nil {
		return err
	}
	if again != want {
		return errors.New("another MAC")
	}
	return nil
}

// TestErrors has each error of RFC 8945 section 5.2.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		what   string
		ring   Ring
		change func(msg []byte, at int) []byte
		now    time.Time
		want   Error
		signed bool
	}{
		{what: "right", ring: ring, want: OK, signed: true},
		{what: "clock at the limit", ring: ring, now: now.Add(fudge * time.Second), want: OK, signed: true},
		{what: "unknown key", ring: ring[1:], want: BadKey},
		{what: "no key", want: BadKey},
		{what: "other algorithm", ring: Ring{{ring[0].Name, &SHA512, secret}}, want: BadKey},
		{what: "other secret", ring: Ring{{ring[0].Name, &SHA256, secret[1:]}}, want: BadSig},
		{what: "changed question", ring: ring, want: BadSig,
			change: func(m []byte, _ int) []byte { m[13] ^= 0x20; return m }},
		{what: "changed flags", ring: ring, want: BadSig,
			change: func(m []byte, _ int) []byte { m[2] ^= 1; return m }},
		{what: "changed time", ring: ring, want: BadSig, change: func(m []byte, at int) []byte { m[at+len(ring[0].Name)+10+13+5]++; return m }},
		{what: "clock behind", ring: ring, now: now.Add(-(fudge + 1) * time.Second), want: BadTime, signed: true},
		{what: "clock ahead", ring: ring, now: now.Add((fudge + 1) * time.Second), want: BadTime, signed: true},
		{what: "truncated to 16", ring: ring, want: BadTrunc, signed: true,
			change: func(m []byte, at int) []byte { return truncate(m, at, 16) }},
		{what: "new identifier", ring: ring, want: OK, signed: true,
			change: func(m []byte, _ int) []byte { m[0]++; return m }},
	} {
		if tc.now.IsZero() {
			tc.now = now
		}
		msg, mac := signed(t, 0, now)
		if tc.change != nil {
			msg = tc.change(msg, locate(t, msg))
		}
		q, err := tc.ring.Verify(msg, locate(t, msg), tc.now)
		if err != nil || q.Error() != tc.want || (q.Key() != nil) != (tc.want == OK) {
			t.Errorf("%s: %v, %v", tc.what, err, q.Error())
			continue
		}
		if err := refused(q, tc.now, msg, mac, tc.want, tc.signed); err != nil {
			t.Errorf("%s: answered by %v", tc.what, err)
		}
	}
}

// refused checks the TSIG record of the answer to a query that was verified, as
// want says. mac is that of the query.
func refused(q *Request, at time.Time, msg []byte, mac string, want Error, signed bool) error {
	buf := make([]byte, 512)
	copy(buf, msg[:12])
	copy(buf[4:], make([]byte, 8))
	n := q.Append(buf, 12, at)
	var m dns.Msg
	if err := m.Unpack(buf[:n]); err != nil {
		return err
	}
	s := m.IsTsig()
	if s == nil || s.Error != uint16(want) || (s.MACSize > 0) != signed {
		return fmt.Errorf("%v", s)
	}
	if want == BadTime && (s.OtherLen != 6 || s.TimeSigned != uint64(now.Unix())) {
		return fmt.Errorf("%v, the times are wrong", s)
	}
	if !signed || want == BadTrunc {
		return nil
	}
	return verifyMiekg(buf[:n], secret, mac, false)
}

// truncate cuts the MAC of a record.
func truncate(m []byte, at, size int) []byte {
	be := binary.BigEndian
	data := at + len(ring[0].Name) + 10
	mac := data + len(SHA256.Name) + 8
	old := int(be.Uint16(m[mac:]))
	be.PutUint16(m[mac:], uint16(size))
	be.PutUint16(m[data-2:], be.Uint16(m[data-2:])-uint16(old-size))
	return append(m[:mac+2+size], m[mac+2+old:]...)
}

// TestMalformed has signatures that are not even wrong.
func TestMalformed(t *testing.T) {
	msg, _ := signed(t, 0, now)
	at := locate(t, msg)
	for _, size := range []int{0, 9, 15} {
		m := truncate(bytes.Clone(msg), at, size)
		if _, err := ring.Verify(m, at, now); err == nil {
			t.Errorf("a MAC of %d octets is taken", size)
		}
	}
	for cut := at; cut < len(msg); cut++ {
		if _, err := Locate(msg[:cut]); err == nil {
			t.Errorf("%d octets of %d pass", cut, len(msg))
		}
		if _, err := ring.Verify(msg[:cut], at, now); err == nil {
			t.Errorf("%d octets of %d are taken", cut, len(msg))
		}
	}
	if _, err := ring.Verify(append(bytes.Clone(msg), 0), at, now); err == nil {
		t.Error("an octet too many is taken")
	}
	two := append(bytes.Clone(msg), msg[at:]...)
	two[11]++
	if _, err := Locate(two); err == nil {
		t.Error("two signatures pass")
	}
}

// TestClient checks answers of several messages that miekg/dns signs, some not
// signed, and what is wrong with others.
func TestClient(t *testing.T) {
	plain := new(dns.Msg)
	plain.SetQuestion("example.org.", dns.TypeAXFR)
	b, _ := plain.Pack()
	query, x := ring[0].Sign(b, now)
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		t.Fatal(err)
	}
	if err := verifyMiekg(query, secret, "", false); err != nil {
		t.Fatal(err)
	}
	mac := q.IsTsig().MAC
	for i := range 4 {
		m := new(dns.Msg)
		m.SetReply(plain)
		m.SetTsig(names[0], dns.HmacSHA256, fudge, now.Unix())
		var answer []byte
		answer, mac, _ = dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), mac, i > 0)
		for bit := range len(answer) * 8 {
			copied := *x
			bad := bytes.Clone(answer)
			bad[bit/8] ^= 1 << (bit % 8)
			same := foldsAway(answer, bad)
			if _, err := copied.Verify(bad, now); err == nil && copied.Whole() && !same {
				t.Fatalf("message %d with bit %d changed is taken", i, bit)
			}
		}
		if _, err := x.Verify(answer, now); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !x.Whole() {
			t.Error("not whole behind a signature")
		}
	}
	m := new(dns.Msg)
	m.SetReply(plain)
	b, _ = m.Pack()
	for i := range 100 {
		if _, err := x.Verify(bytes.Clone(b), now); (err == nil) != (i < maxGap) || x.Whole() {
			t.Fatalf("message %d without signature: %v", i, err)
		}
	}
	_, fresh := ring[0].Sign(query[:len(query):len(query)], now)
	if _, err := fresh.Verify(bytes.Clone(b), now); err == nil {
		t.Error("an answer without a signature is taken")
	}
	var none *Exchange
	if _, err := none.Verify(bytes.Clone(b), now); err != nil || !none.Whole() {
		t.Errorf("an answer to a query that was not signed: %v", err)
	}
}

// foldsAway says that messages differ in what no signature covers: the case of
// the names in the record, and the identifier, for which the record has its own.
func foldsAway(a, b []byte) bool {
	for i := range a {
		if zone.Lower(a[i]) != zone.Lower(b[i]) {
			return i < 2
		}
	}
	return true
}

// TestGap has a signature behind messages that had none.
func TestGap(t *testing.T) {
	plain := new(dns.Msg)
	plain.SetQuestion("example.org.", dns.TypeAXFR)
	b, _ := plain.Pack()
	query, x := ring[0].Sign(b, now)
	q, err := ring.Verify(query, locate(t, query), now)
	if err != nil || q.Key() == nil {
		t.Fatal(err)
	}
	body, _ := plain.Pack()
	buf := make([]byte, 512)
	n := q.Append(buf, copy(buf, body), now)
	if _, err := x.Verify(buf[:n], now); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Verify(bytes.Clone(body), now); err != nil {
		t.Fatal(err)
	}
	// The last message signs that between too.
	d := q.key.digest(q.mac)
	d.Write(body)
	r := record{name: ring[0].Name, algorithm: SHA256.Name, signed: uint64(now.Unix()), fudge: fudge}
	last := bytes.Clone(body)
	r.id = binary.BigEndian.Uint16(last)
	count(last)
	d.message(last, len(last), r.id)
	d.timers(&r)
	r.mac = d.Sum(nil)
	if got, err := x.Verify(r.append(last), now); err != nil || !bytes.Equal(got, body) || !x.Whole() {
		t.Errorf("%v, %x", err, got)
	}
}

// FuzzVerify gives both ends any messages.
func FuzzVerify(f *testing.F) {
	for i := range ring {
		msg, _ := signed(f, i, now)
		f.Add(msg)
		at := locate(f, msg)
		f.Add(msg[:at])
		f.Add(append(msg[:at:at], msg[at+len(ring[i].Name):]...))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		at, err := Locate(msg)
		if err != nil {
			return
		}
		_, x := ring[0].Sign(make([]byte, 12), now)
		if _, err := x.Verify(bytes.Clone(msg), now); err == nil {
			t.Error("an answer with a MAC that nobody made is taken")
		}
		if at == 0 {
			return
		}
		q, err := ring.Verify(msg, at, now)
		if err != nil {
			return
		}
		buf := make([]byte, 12+q.Size())
		if n := q.Append(buf, 12, now); n > len(buf) {
			t.Errorf("%d octets, Size said %d", n-12, q.Size())
		}
		if _, err := Locate(buf); err != nil && q.Error() == OK {
			t.Error(err)
		}
	})
}
