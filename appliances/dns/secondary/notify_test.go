package secondary

import (
	"net/netip"
	"testing"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/tsig/algorithm"
	"ampoule/appliances/dns/xfr"

	"github.com/miekg/dns"
)

// TestNotify has NOTIFY from a primary and from others, signed and not, for zones
// that are here and that are not.
func TestNotify(t *testing.T) {
	key := tsig.Key{Name: "\x01k\x00", Algorithm: &algorithm.SHA256, Secret: []byte("0123456789abcdef")}
	wrong := key
	wrong.Secret = []byte("fedcba9876543210")
	primary, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, tc := range []struct {
		what   string
		zone   string
		serial uint32
		from   netip.Addr
		key    *tsig.Key
		rcode  int
		wakes  bool
	}{
		{"from the primary", "example.org.", 6, primary, nil, dns.RcodeSuccess, true},
		{"signed, from the primary", "Example.ORG.", 6, primary, &key, dns.RcodeSuccess, true},
		{"signed, from elsewhere", "example.org.", 6, other, &key, dns.RcodeSuccess, true},
		{"from elsewhere", "example.org.", 6, other, nil, dns.RcodeRefused, false},
		{"signed wrongly", "example.org.", 6, primary, &wrong, dns.RcodeNotAuth, false},
		{"another zone", "example.net.", 6, primary, nil, dns.RcodeRefused, false},
		{"nothing new", "example.org.", 5, primary, nil, dns.RcodeSuccess, false},
		{"something older", "example.org.", 4, primary, nil, dns.RcodeSuccess, false},
	} {
		it := testItem(t, Config{Config: xfr.Config{Keys: tsig.Ring{key}}}, nil)
		it.conf.Primaries = []Primary{{Addr: netip.AddrPortFrom(primary, 53), Key: key.Name}}
		if err := it.replace(version(t, 5)); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		m.SetNotify(tc.zone)
		m.Answer = rrs(t, soaLine(int(tc.serial)))
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if tc.key != nil {
			msg, _ = tc.key.Sign(msg, time.Now())
		}
		buf := make([]byte, 4096)
		var r dns.Msg
		if err := r.Unpack(buf[:it.s.Notify(buf, msg, tc.from)]); err != nil || r.Rcode != tc.rcode || r.Opcode != dns.OpcodeNotify ||
			!r.Response || (r.IsTsig() != nil) != (tc.key != nil) {
			t.Errorf("%s: %v %v", tc.what, err, &r)
		}
		if wakes := len(it.wake) == 1; wakes != tc.wakes {
			t.Errorf("%s: checks the zone: %t", tc.what, wakes)
		}
		it.close()
	}
}
