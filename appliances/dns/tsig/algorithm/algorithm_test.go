package algorithm

import (
	"encoding/base64"
	"testing"
	"time"

	"ampoule/appliances/dns/tsig"

	"github.com/miekg/dns"
)

// TestAlgorithms checks queries that miekg/dns signs with each algorithm.
func TestAlgorithms(t *testing.T) {
	secret := []byte("0123456789abcdef")
	for name, a := range map[string]*tsig.Algorithm{dns.HmacSHA1: &SHA1, dns.HmacSHA256: &SHA256, dns.HmacSHA384: &SHA384, dns.HmacSHA512: &SHA512} {
		m := new(dns.Msg)
		m.SetQuestion("example.", dns.TypeA)
		m.SetTsig("k.", name, 300, time.Now().Unix())
		b, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
		if err != nil {
			t.Fatal(err)
		}
		at, err := tsig.Locate(b)
		if err != nil {
			t.Fatal(err)
		}
		q, err := tsig.Ring{{Name: "\x01k\x00", Algorithm: a, Secret: secret}}.Verify(b, at, time.Now())
		if err != nil || q.Key() == nil {
			t.Errorf("%s: %v, %v", name, err, q.Error())
		}
	}
}
