package netif

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"ampoule/libos/netif/netiftest"
)

// The two hosts of a test: a is .1 and ::1, b is .2 and ::2.
const (
	addrA4, addrB4 = "10.1.2.1", "10.1.2.2"
	addrA6, addrB6 = "fd00::1", "fd00::2"
)

func testConfig(v4, v6 string) Config {
	return Config{
		IPv4: netip.PrefixFrom(netip.MustParseAddr(v4), 24),
		IPv6: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(v6), 64)},
	}
}

func testLimits() Limits {
	l := DefaultLimits(256 << 20)
	l.TimeWait, l.FinWait = 50*time.Millisecond, 200*time.Millisecond
	return l
}

// newTestStack brings up a stack on dev that is closed, and whose device is
// checked, when the test ends.
func newTestStack(t testing.TB, dev *netiftest.Device, cfg Config, l Limits) *Stack {
	t.Helper()
	s, err := New(dev, cfg, Options{Limits: l, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if n := s.Stats().Panics; n != 0 {
			t.Errorf("%s: the stack panicked %d times", dev.Name(), n)
		}
	})
	return s
}

// pair is two stacks on one wire.
func pair(t testing.TB, a, b netiftest.Options) (*Stack, *Stack) {
	t.Helper()
	da, db := netiftest.Pair(a, b)
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	return newTestStack(t, da, testConfig(addrA4, addrA6), testLimits()),
		newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
}
