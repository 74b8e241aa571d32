package netif

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzParse: what is read is what netip reads, but for zones.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "0.0.0.0", "192.0.2.1", "255.255.255.255", "256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.", ".1.2.3", "1..2.3",
		"::", "::1", "1::", "2001:db8::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
		"1:2:3:4::5:6:7:8", ":", ":::", "1::2::3", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "12345::", "::ffff:192.0.2.1", "::192.0.2.1",
		"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "1.2.3.4:1::", "::1.2.3.4:1", "FE80::AbCd", "fe80::1%eth0", "::g", "::1.2.3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		ok4, ok6 := err == nil && want.Is4(), err == nil && !want.Is4() && !strings.Contains(s, "%")
		if a, ok := parse4(s); ok != ok4 || ok && a != want {
			t.Errorf("parse4(%q) = %v, %v; netip: %v, %v", s, a, ok, want, err)
		}
		if a, ok := parse6(s); ok != ok6 || ok && a != want {
			t.Errorf("parse6(%q) = %v, %v; netip: %v, %v", s, a, ok, want, err)
		}
	})
}
