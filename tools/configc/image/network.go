package image

import (
	"net/netip"
	"slices"
	"strings"

	"ampoule/tools/configc/tree"
)

// Network is the table [network].
type Network struct {
	IPv4      netip.Prefix
	DHCP      bool
	Gateway4  netip.Addr
	IPv6      []netip.Prefix
	SLAAC     bool
	Gateway6  netip.Addr
	Fragments bool
}

func (n *Network) uses4() bool { return n.IPv4.IsValid() || n.DHCP }
func (n *Network) uses6() bool { return len(n.IPv6) > 0 || n.SLAAC }

func networkTable() *table {
	return &table{name: "network", about: "addresses of the first network device: at least one of ipv4, dhcp, ipv6 and slaac", keys: []key{
		{name: "ipv4", want: text(`an IPv4 address with its prefix length, such as "192.0.2.53/24"`), absent: "no static address",
			about: "address; IPv4 is not in the image without ipv4 and dhcp"},
		{name: "dhcp", want: flag{}, def: false, about: "get IPv4 address and gateway from a DHCP server"},
		{name: "gateway4", want: text("an IPv4 address"), absent: "no gateway", about: "router, in the network of ipv4"},
		{name: "ipv6", want: sequence(`a list of IPv6 addresses with prefix lengths, such as ["2001:db8::53/64"]`),
			absent: "no static address", about: "addresses; IPv6 is not in the image without ipv6 and slaac"},
		{name: "slaac", want: flag{}, def: false,
			about: "get IPv6 addresses and routers from router advertisements, beside ipv6 and gateway6"},
		{name: "gateway6", want: text("an IPv6 address"), absent: "no gateway",
			about: "router, in a network of ipv6 or link-local; goes before those that advertise themselves"},
		{name: "fragments", want: flag{}, def: false, about: "take and send IP fragments, which may hold 8 MiB"},
	}}
}

func network(s *section) Network {
	n := Network{DHCP: s.flag("dhcp"), SLAAC: s.flag("slaac"), Fragments: s.flag("fragments")}
	v4, v6 := s.value("ipv4"), s.value("ipv6")
	if v4 == nil && v6 == nil && !n.DHCP && !n.SLAAC && !s.lost {
		s.list.Errorf(s.file, s.table.Line, "network: no address, must have at least one of ipv4, dhcp = true, ipv6 and slaac = true")
	}
	var four []netip.Prefix
	if v4 != nil {
		if n.IPv4 = s.prefix("ipv4", v4, true); n.IPv4.IsValid() {
			four = append(four, n.IPv4)
		}
		if n.DHCP {
			s.against("ipv4", v4, "but dhcp = true is in line %d; must be one of the two", s.value("dhcp").Line)
		}
	}
	if v := s.value("gateway4"); v != nil && n.DHCP {
		s.against("gateway4", v, "but dhcp = true is in line %d; must not be there: the DHCP server names the router", s.value("dhcp").Line)
	} else {
		n.Gateway4 = s.gateway("gateway4", true, "ipv4", four)
	}
	if v6 != nil {
		n.IPv6 = s.prefixes("ipv6", v6)
	}
	n.Gateway6 = s.gateway6(&n)
	return n
}

// prefixes checks a list of IPv6 addresses.
func (s *section) prefixes(key string, v *tree.Value) []netip.Prefix {
	var all []netip.Prefix
	items, ok := v.V.([]*tree.Value)
	if !ok {
		s.refuse(key, v)
	}
	if ok && len(items) == 0 {
		s.errorf(key, v, "%s; leave the key out for none", s.schema.key(key).want)
	}
	lines := map[netip.Addr]int{}
	for _, v := range items {
		p := s.prefix(key, v, false)
		if !p.IsValid() {
			continue
		}
		if line, ok := lines[p.Addr()]; ok {
			s.repeat(key, v, line)
			continue
		}
		lines[p.Addr()] = v.Line
		all = append(all, p)
	}
	return all
}

// prefix checks an address with the length of its network's prefix.
func (s *section) prefix(key string, v *tree.Value, four bool) netip.Prefix {
	want := `an IPv6 address with its prefix length, such as "2001:db8::53/64"`
	if four {
		want = s.schema.key(key).want.String()
	}
	t, _ := v.V.(string)
	p, err := netip.ParsePrefix(t)
	if err != nil || p.Addr().Is4() != four || p.Addr().Is4In6() {
		s.errorf(key, v, "%s", want)
		return netip.Prefix{}
	}
	a := p.Addr()
	switch {
	case !oneHost(a):
		s.errorf(key, v, "the address of one host")
	case p.Bits() == 0:
		s.errorf(key, v, "%s, longer than /0", want)
	case a.Is6() && a.IsLinkLocalUnicast():
		s.errorf(key, v, "an address beyond the link: the link-local one is made of the MAC address")
	case four && p.Bits() < 31 && (a == p.Masked().Addr() || a == lastAddr(p)):
		s.errorf(key, v, "the address of one host, not the first or last of %s", p.Masked())
	default:
		return p
	}
	return netip.Prefix{}
}

// oneHost says whether a can be the address of one host on a network.
func oneHost(a netip.Addr) bool {
	if a.Is4() && a.As4()[0] >= 240 {
		return false // class E and broadcast
	}
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// lastAddr returns the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// gateway6 checks gateway6, which may also be link-local.
func (s *section) gateway6(n *Network) netip.Addr {
	t, v := s.text("gateway6")
	if a, err := netip.ParseAddr(t); v != nil && err == nil && n.uses6() && a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "" {
		return a
	} else if v != nil && err == nil && a.Is6() && len(n.IPv6) == 0 && n.SLAAC {
		s.errorf("gateway6", v, "link-local, such as \"fe80::1\", where slaac is the only source of addresses")
		return netip.Addr{}
	}
	return s.gateway("gateway6", false, "ipv6", n.IPv6)
}

// gateway checks the address of a router in one of the networks.
func (s *section) gateway(key string, four bool, of string, networks []netip.Prefix) netip.Addr {
	t, v := s.text(key)
	if v == nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(t)
	if err != nil || a.Is4() != four || a.Is4In6() || a.Zone() != "" {
		s.refuse(key, v)
		return netip.Addr{}
	}
	if slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Addr() == a }) {
		s.errorf(key, v, "another host's address, not the image's own")
		return netip.Addr{}
	}
	var within []string
	for _, p := range networks {
		if p.Contains(a) {
			return s.router(key, v, a, p)
		}
		if n := p.Masked().String(); !slices.Contains(within, n) {
			within = append(within, n)
		}
	}
	if len(within) == 0 {
		s.against(key, v, "but there is no valid %s; must not be there without", s.schema.path(of))
		return netip.Addr{}
	}
	s.errorf(key, v, "in %s, the network of %s", strings.Join(within, " or "), s.schema.path(of))
	return netip.Addr{}
}

// router refuses the network and broadcast addresses of p as a router's.
func (s *section) router(key string, v *tree.Value, a netip.Addr, p netip.Prefix) netip.Addr {
	if a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == lastAddr(p)) {
		s.errorf(key, v, "the address of one host, not the first or last of %s", p.Masked())
		return netip.Addr{}
	}
	return a
}
