package netif

import (
	"net/netip"
	"strings"
)

// parse4 and parse6 read addresses as netip.ParseAddr does, but know no zones:
// with these comes a table of names that takes 90 KB of the image.

// parse4 reads four decimal numbers without leading zeros.
func parse4(s string) (netip.Addr, bool) {
	var a [4]byte
	for i := range a {
		part, rest, more := strings.Cut(s, ".")
		n, ok := number(part, 10, 3)
		if !ok || n > 255 || len(part) > 1 && part[0] == '0' || more != (i < 3) {
			return netip.Addr{}, false
		}
		a[i], s = byte(n), rest
	}
	return netip.AddrFrom4(a), true
}

// parse6 reads an IPv6 address in any of RFC 4291's forms (section 2.2).
func parse6(s string) (netip.Addr, bool) {
	head, tail, gap := strings.Cut(s, "::")
	var front, back [16]byte
	n, ok := groups(&front, head, gap, !gap)
	if !ok {
		return netip.Addr{}, false
	}
	if !gap {
		return netip.AddrFrom16(front), n == 16
	}
	m, ok := groups(&back, tail, true, true)
	if !ok || n+m > 14 { // :: stands for a group at least
		return netip.Addr{}, false
	}
	copy(front[16-m:], back[:m])
	return netip.AddrFrom16(front), true
}

// groups reads what stands on one side of ::, and says how many bytes it is.
// The last two groups may be written as an IPv4 address where four is set.
func groups(to *[16]byte, s string, empty, four bool) (int, bool) {
	if s == "" {
		return 0, empty
	}
	for n := 0; n < 16; n += 2 {
		part, rest, more := strings.Cut(s, ":")
		if v4, ok := parse4(part); ok && four && !more && n <= 12 {
			a := v4.As4()
			copy(to[n:], a[:])
			return n + 4, true
		}
		v, ok := number(part, 16, 4)
		if !ok {
			return 0, false
		}
		to[n], to[n+1] = byte(v>>8), byte(v)
		if !more {
			return n + 2, true
		}
		s = rest
	}
	return 0, false
}

// number reads up to max digits of a base up to 16.
func number(s string, base, max int) (int, bool) {
	n := 0
	for i := range len(s) {
		d := 16
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			d = int(c - '0')
		case c >= 'a' && c <= 'f':
			d = int(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = int(c-'A') + 10
		}
		if d >= base || i == max {
			return 0, false
		}
		n = n*base + d
	}
	return n, s != ""
}
