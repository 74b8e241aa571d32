package netif

import (
	"net/netip"
	"strings"
	"testing"
)

func TestConfigCheck(t *testing.T) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	for _, c := range []struct {
		cfg  Config
		want string // in the error; empty: none
	}{
		{Config{}, "neither"},
		{Config{IPv4: p("10.0.0.1/24")}, ""},
		{Config{IPv4: p("10.0.0.1/24"), Gateway4: a("10.0.0.254")}, ""},
		{Config{IPv4: p("10.0.0.1/24"), Gateway4: a("10.0.1.254")}, "Gateway4"},
		{Config{IPv4: p("10.0.0.1/24"), Gateway4: a("10.0.0.1")}, "Gateway4"},
		{Config{IPv4: p("fd00::1/64")}, "IPv4"},
		{Config{IPv4: p("224.0.0.1/24")}, "IPv4"},
		{Config{IPv4: p("0.0.0.0/0")}, "IPv4"},
		{Config{IPv6: []netip.Prefix{p("fd00::1/64")}, Gateway6: a("fe80::1")}, ""},
		{Config{IPv6: []netip.Prefix{p("fd00::1/64")}, Gateway6: a("fd00::2")}, ""},
		{Config{IPv6: []netip.Prefix{p("fd00::1/64")}, Gateway6: a("fd01::2")}, "Gateway6"},
		{Config{IPv6: []netip.Prefix{p("fd00::1/64"), p("10.0.0.1/8")}}, "IPv6[1]"},
		{Config{IPv6: []netip.Prefix{p("ff02::1/64")}}, "IPv6[0]"},
		{Config{IPv4: p("10.0.0.1/24"), Gateway6: a("fe80::1")}, "Gateway6"},
	} {
		err := c.cfg.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	both, four, six := &Stack{v4: true, v6: true}, &Stack{v4: true}, &Stack{v6: true}
	for _, c := range []struct {
		s                *Stack
		network, address string
		want             string // family and v6only, or part of the error
	}{
		{both, "tcp", ":53", "dual"}, {both, "tcp4", ":53", "4"}, {both, "tcp6", ":53", "6"},
		{four, "tcp", ":53", "4"}, {six, "tcp", ":53", "6"}, {four, "tcp6", ":53", "no address"},
		{both, "tcp", "10.0.0.1:53", "4"}, {both, "tcp", "[fd00::1]:53", "6"},
		{both, "tcp6", "10.0.0.1:53", "no address"}, {six, "tcp", "10.0.0.1:53", "no address"},
		{both, "tcp", "fd00::1:53", "brackets"}, {both, "tcp", "[10.0.0.1]:53", "brackets"},
		{both, "tcp", "[fd00::1:53", "missing ]"}, {both, "tcp", "[fe80::1%eth0]:53", "brackets"},
		{both, "tcp", "localhost:53", "brackets"}, {both, "tcp", "53", "missing port"},
		{both, "tcp", ":65536", "port"}, {both, "tcp", ":http", "port"}, {both, "udp", ":53", "unknown network"},
		{both, "tcp5", ":53", "unknown network"},
	} {
		e, err := c.s.resolve("tcp", c.network, c.address)
		got := map[bool]string{true: "6", false: "dual"}[e.only6]
		if e.proto == typeIPv4 {
			got = "4"
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || err == nil && got != c.want {
			t.Errorf("%s %s: %s, want %s", c.network, c.address, got, c.want)
		}
	}
}

// TestDefaultLimits wants the worst case of all connections within the share
// of memory that is promised, on machines of every size.
func TestDefaultLimits(t *testing.T) {
	for mib := uint64(16); mib <= 4096; mib *= 2 {
		l := DefaultLimits(mib << 20)
		if err := l.check(); err != nil {
			t.Errorf("%d MiB: %v", mib, err)
		}
		if got := uint64(l.MaxConns * l.PerConn()); got > mib<<20/3 {
			t.Errorf("%d MiB: connections may take %d KiB", mib, got>>10)
		}
		if l.MaxConns < 100 {
			t.Errorf("%d MiB: only %d connections", mib, l.MaxConns)
		}
	}
}
