package answer

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/tsig/algorithm"
	"ampoule/libos/config/zone"

	"github.com/miekg/dns"
)

// TestSigned sends signed queries and has miekg/dns check the answers' signatures:
// the one with a known key is answered, the others get NOTAUTH and the reason.
func TestSigned(t *testing.T) {
	z, _ := loadZone(t, "example.org.")
	secret := "MDEyMzQ1Njc4OWFiY2RlZg=="
	raw, _ := base64.StdEncoding.DecodeString(secret)
	s, err := New([]zone.Zone{z}, Options{Keys: tsig.Ring{{Name: "\x01k\x00", Algorithm: &algorithm.SHA256, Secret: raw}},
		Limit: Limit{Rate: 1}, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key, secret string
		skew        int64
		name        string
		rcode       int
		err         uint16
	}{
		{"k.", secret, 0, "example.org.", dns.RcodeSuccess, 0},
		{"k.", secret, 0, "nowhere.example.org.", dns.RcodeNameError, 0},
		{"k.", secret, 0, "huge.example.org.", dns.RcodeSuccess, 0},
		{"K.", secret, 0, "example.net.", dns.RcodeRefused, 0},
		{"k.", secret, -400, "example.org.", dns.RcodeNotAuth, dns.RcodeBadTime},
		{"k.", "AAAA", 0, "example.org.", dns.RcodeNotAuth, dns.RcodeBadSig},
		{"x.", secret, 0, "example.org.", dns.RcodeNotAuth, dns.RcodeBadKey},
		{strings.Repeat(strings.Repeat("x", 49)+".", 5), secret, 0, strings.Repeat(strings.Repeat("x", 45)+".", 5) + "example.org.", dns.RcodeNotAuth, dns.RcodeBadKey},
	} {
		for range 3 { // more often than the rate limit lets others
			m := new(dns.Msg)
			m.SetQuestion(tc.name, dns.TypeA)
			m.SetTsig(tc.key, dns.HmacSHA256, 300, time.Now().Unix()+tc.skew)
			b, mac, err := dns.TsigGenerate(m, tc.secret, "", false)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			from := Client{Addr: [2]uint64{0x01020304}, V4: true}
			if tc.rcode == dns.RcodeNotAuth {
				from = Client{} // not limited
			}
			n := s.Answer(buf, b, UDP, from)
			var r dns.Msg
			if err := r.Unpack(buf[:n]); err != nil {
				t.Fatalf("%s %s: %v", tc.key, tc.name, err)
			}
			sig := r.IsTsig()
			if r.Rcode != tc.rcode || sig == nil || sig.Error != tc.err || len(r.Question) != 1 {
				t.Errorf("%s %s: %v", tc.key, tc.name, &r)
				continue
			}
			if tc.err == dns.RcodeBadSig || tc.err == dns.RcodeBadKey {
				if sig.MACSize != 0 {
					t.Errorf("%s %s: a signature that nobody can check", tc.key, tc.name)
				}
			} else if err := dns.TsigVerify(buf[:n], secret, mac, false); err != nil && tc.skew == 0 {
				t.Errorf("%s %s: %v", tc.key, tc.name, err)
			}
		}
	}
}

// TestSet changes zones while they are served.
func TestSet(t *testing.T) {
	z, _ := loadZone(t, "example.net.")
	s, err := New([]zone.Zone{z}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string, rcode int) {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeSOA)
		b, _ := m.Pack()
		full := make([]byte, 4096)
		var r dns.Msg
		if err := r.Unpack(full[:s.Answer(full, b, UDP, Client{})]); err != nil || r.Rcode != rcode {
			t.Errorf("%s: %v %v, want %s", name, err, &r, dns.RcodeToString[rcode])
		}
		var q Scratch
		quick := make([]byte, 1500)
		copy(quick, b)
		if n := s.Quick(&q, quick, len(b), &Client{}); n >= 0 && string(quick[:n]) != string(full[:n]) {
			t.Errorf("%s: Quick gives another answer", name)
		}
	}
	const child = "\x05child\x07example\x03net\x00"
	ask("child.example.net.", dns.RcodeSuccess) // a referral
	if err := s.Set(child, ""); err != nil {
		t.Fatal(err)
	}
	ask("child.example.net.", dns.RcodeServerFailure)
	ask("a.child.example.net.", dns.RcodeServerFailure)
	ask("example.net.", dns.RcodeSuccess)
	if z, ok := s.Zone(child); z != "" || !ok {
		t.Error("a zone without content is not there")
	}
	c, _ := loadZone(t, "child.example.net.")
	if err := s.Set(child, c); err != nil {
		t.Fatal(err)
	}
	ask("child.example.net.", dns.RcodeSuccess)
	ask("nowhere.child.example.net.", dns.RcodeSuccess) // a wildcard is there
	s.Remove(child)
	s.Remove("\x07example\x03net\x00")
	ask("child.example.net.", dns.RcodeRefused)
	if s.Set(child, z) == nil || s.Set(child, "junk") == nil || s.Set("\x03ab", "") == nil {
		t.Error("what is no content of that zone is taken")
	}
}
