package image

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/tools/configc/report"
	"ampoule/tools/configc/tree"
)

// section is a table of the configuration while it is checked. Reading a key
// marks it as known, so that finish can name those that are not.
type section struct {
	file  string
	name  string // "" for the file as a whole
	table *tree.Table
	list  *report.List
	known []string
}

func (s *section) path(key string) string {
	if s.name == "" {
		return key
	}
	return s.name + "." + key
}

// errorf says what is wrong with a value: what was found and what is allowed.
func (s *section) errorf(key string, v *tree.Value, format string, args ...any) {
	s.list.Errorf(s.file, v.Line, "%s: found %s, must be %s", s.path(key), v.Found(), fmt.Sprintf(format, args...))
}

// repeat says that a value is there a second time.
func (s *section) repeat(key string, v *tree.Value) {
	s.list.Errorf(s.file, v.Line, "%s: found %s a second time, must be there once", s.path(key), v.Found())
}

// value returns the value of key, or nil.
func (s *section) value(key string) *tree.Value {
	s.known = append(s.known, key)
	return s.table.Values[key]
}

// sub returns the table at key. One that is not there is empty.
func (s *section) sub(key string) *section {
	sub := &section{s.file, s.path(key), &tree.Table{Line: s.table.Line}, s.list, nil}
	if v := s.value(key); v != nil {
		if t, ok := v.V.(*tree.Table); ok {
			sub.table = t
		} else {
			s.errorf(key, v, "a table: [%s]", s.path(key))
		}
	}
	return sub
}

// finish names the keys that nobody read.
func (s *section) finish() {
	for _, key := range s.table.Keys {
		if !slices.Contains(s.known, key) {
			s.list.Errorf(s.file, s.table.Values[key].Line, "%s: no such key; allowed here: %s",
				s.path(key), strings.Join(s.known, ", "))
		}
	}
}

// missing says that a key must be there.
func (s *section) missing(key, format string, args ...any) {
	s.list.Errorf(s.file, s.table.Line, "%s: not there, must be %s", s.path(key), fmt.Sprintf(format, args...))
}

// text returns a string and its value, which is nil when there is none.
func (s *section) text(key, want string) (string, *tree.Value) {
	v := s.value(key)
	if v == nil {
		return "", nil
	}
	t, ok := v.V.(string)
	if !ok {
		s.errorf(key, v, "%s, in quotes", want)
		return "", nil
	}
	return t, v
}

// integer returns a number from low to high.
func (s *section) integer(key string, low, high, otherwise int) int {
	v := s.value(key)
	if v == nil {
		return otherwise
	}
	if n, ok := v.V.(int64); ok && n >= int64(low) && n <= int64(high) {
		return int(n)
	}
	s.errorf(key, v, "a number from %d to %d", low, high)
	return otherwise
}

// flag returns true or false.
func (s *section) flag(key string) bool {
	v := s.value(key)
	if v == nil {
		return false
	}
	b, ok := v.V.(bool)
	if !ok {
		s.errorf(key, v, "true or false")
	}
	return b
}

// duration returns a time from low to high, both whole seconds.
func (s *section) duration(key string, low, high, otherwise time.Duration) time.Duration {
	want := fmt.Sprintf(`a time from "%ds" to "%ds"`, low/time.Second, high/time.Second)
	t, v := s.text(key, want)
	if v == nil {
		return otherwise
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < low || d > high {
		s.errorf(key, v, "%s", want)
		return otherwise
	}
	return d
}

// prefix checks an address with the length of its network's prefix.
func (s *section) prefix(key string, v *tree.Value, four bool) netip.Prefix {
	want := `an IPv6 address with its prefix length, such as "2001:db8::53/64"`
	if four {
		want = `an IPv4 address with its prefix length, such as "192.0.2.53/24"`
	}
	t, _ := v.V.(string)
	p, err := netip.ParsePrefix(t)
	if err != nil || p.Addr().Is4() != four || p.Addr().Is4In6() {
		s.errorf(key, v, "%s", want)
		return netip.Prefix{}
	}
	a := p.Addr()
	switch {
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		s.errorf(key, v, "the address of one host")
	case p.Bits() == 0:
		s.errorf(key, v, "%s, longer than /0", want)
	case four && p.Bits() < 31 && (a == p.Masked().Addr() || a == lastAddr(p)):
		s.errorf(key, v, "the address of one host, not the first or last of %s", p.Masked())
	default:
		return p
	}
	return netip.Prefix{}
}

// lastAddr returns the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// gateway checks the address of a router in one of the networks.
func (s *section) gateway(key string, four bool, of string, networks []netip.Prefix) netip.Addr {
	kind := "an IPv6 address"
	if four {
		kind = "an IPv4 address"
	}
	t, v := s.text(key, kind)
	if v == nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(t)
	if err != nil || a.Is4() != four || a.Is4In6() || a.Zone() != "" {
		s.errorf(key, v, "%s", kind)
		return netip.Addr{}
	}
	if !four && len(networks) > 0 && a.IsLinkLocalUnicast() {
		return a
	}
	var within []string
	for _, p := range networks {
		if p.Addr() == a {
			s.errorf(key, v, "another host's address, not the image's own")
			return netip.Addr{}
		}
		if p.Contains(a) {
			return a
		}
		if n := p.Masked().String(); !slices.Contains(within, n) {
			within = append(within, n)
		}
	}
	if len(within) == 0 {
		s.list.Errorf(s.file, v.Line, "%s: found %s without a valid %s", s.path(key), v.Found(), s.path(of))
		return netip.Addr{}
	}
	s.errorf(key, v, "in %s, the network of %s", strings.Join(within, " or "), s.path(of))
	return netip.Addr{}
}

// beside returns the path of a file that the configuration names: as it is, or
// from the folder of the configuration.
func (s *section) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.file), name)
}
