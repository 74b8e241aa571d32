package image

import (
	"net/netip"
	"slices"
	"strings"

	"ampoule/tools/configc/tree"

	"github.com/miekg/dns"
)

// Policy is who may have a zone, and who hears of its changes.
type Policy struct {
	Allow  []Rule
	Notify []Peer
}

// Rule lets in an address, a key, or both together.
type Rule struct {
	Prefix netip.Prefix
	Key    string // fully qualified, lower case; "": none
}

// Peer is another name server.
type Peer struct {
	Addr netip.AddrPort
	Key  string
}

// Transferred is a zone that comes from other servers.
type Transferred struct {
	Origin    string
	Primaries []Peer
	Policy
	Catalog         bool
	Members         int    // of a catalog
	MemberPrimaries []Peer // none: those of the catalog
}

const (
	wantRules = sequence(`a list of addresses or networks, keys or both, such as ["192.0.2.0/24", "key:transfer.example", "192.0.2.1 key:transfer.example"]`)
	wantPeers = sequence(`a list of addresses with or without port and key, such as ["192.0.2.1", "[2001:db8::1]:53", "192.0.2.1 key:transfer.example"]`)
	wantName  = text(`the name of a zone, such as "example.org"`)
)

// policyKeys are those of who may have a zone, and who hears of it.
func policyKeys(of string) []key {
	return []key{
		{name: "allow_transfer", want: wantRules, absent: "nobody", about: "who may transfer " + of + " (AXFR, IXFR)"},
		{name: "notify", want: wantPeers, absent: "nobody", about: "servers that are told when " + of + " changes, and at the start (RFC 1996)"},
	}
}

func catalogTable() *table {
	return &table{name: "dns.catalogs", about: "a catalog, whose zones are transferred in (RFC 9432), once for each: [[dns.catalogs]]", keys: append([]key{
		{name: "origin", want: wantName, about: "name of the catalog"},
		{name: "primaries", want: wantPeers, about: "servers that it comes from"},
		{name: "members", want: integer{1, 10000}, def: 100, about: "the most zones that are taken from it"},
		{name: "member_primaries", want: wantPeers, absent: "those of the catalog", about: "servers that its zones come from"},
	}, policyKeys("its zones")...)}
}

// strings returns the strings of a list; a value that is none is reported and left
// out. nil: the key is not there.
func (s *section) strings(key string) []*tree.Value {
	v := s.value(key)
	if v == nil {
		return nil
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.refuse(key, v)
		return nil
	}
	return slices.DeleteFunc(slices.Clone(items), func(v *tree.Value) bool {
		_, ok := v.V.(string)
		if !ok {
			s.refuse(key, v)
		}
		return !ok
	})
}

// keyed takes the key off the end of a peer or rule.
func (s *section) keyed(key string, v *tree.Value, keys []Key) (address, name string, ok bool) {
	for i, word := range strings.Fields(v.V.(string)) {
		k, isKey := strings.CutPrefix(word, "key:")
		switch {
		case !isKey && i == 0:
			address = word
		case !isKey || name != "":
			return "", "", false
		default:
			name = dns.CanonicalName(k)
		}
	}
	if name != "" && !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
		s.against(key, v, "but there is no key of that name in dns.keys")
	}
	return address, name, address != "" || name != ""
}

// peers reads a list of servers.
func (s *section) peers(key string, keys []Key) (peers []Peer) {
	for _, v := range s.strings(key) {
		text, name, ok := s.keyed(key, v, keys)
		p, err := netip.ParseAddrPort(text)
		if err != nil {
			var a netip.Addr
			a, err = netip.ParseAddr(text)
			p = netip.AddrPortFrom(a, 53)
		}
		a := p.Addr()
		if !ok || err != nil || p.Port() == 0 || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			s.refuse(key, v)
			continue
		}
		if slices.ContainsFunc(peers, func(o Peer) bool { return o.Addr == p }) {
			s.against(key, v, "an address that is there already")
			continue
		}
		peers = append(peers, Peer{p, name})
	}
	return peers
}

// policy reads who may have a zone and who hears of it.
func (s *section) policy(keys []Key) (p Policy) {
	for _, v := range s.strings("allow_transfer") {
		text, name, ok := s.keyed("allow_transfer", v, keys)
		r := Rule{Key: name}
		if ok && text != "" {
			var err error
			if r.Prefix, err = netip.ParsePrefix(text); err != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(text); err == nil {
					r.Prefix = netip.PrefixFrom(a, a.BitLen())
				}
			}
			ok = err == nil && r.Prefix == r.Prefix.Masked() && !r.Prefix.Addr().Is4In6() && r.Prefix.Addr().Zone() == ""
		}
		if !ok {
			s.refuse("allow_transfer", v)
			continue
		}
		p.Allow = append(p.Allow, r)
	}
	p.Notify = s.peers("notify", keys)
	return p
}

// tables opens the tables of a list of them.
func (s *section) tables(key string, all []*table) (list []*section) {
	v := s.value(key)
	if v == nil {
		return nil
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.refuse(key, v)
		return nil
	}
	for _, v := range items {
		if t, ok := v.V.(*tree.Table); ok {
			list = append(list, open(s.file, schema(all, s.schema.path(key)), t, s.list, all))
		} else {
			s.refuse(key, v)
		}
	}
	return list
}

// origin reads the name of a zone; "" if it is wrong. lines says where those before
// it are.
func (s *section) origin(lines map[string]int) string {
	text, v := s.text("origin")
	if v == nil {
		return ""
	}
	if _, ok := dns.IsDomainName(text); !ok || text == "" {
		s.refuse("origin", v)
		return ""
	}
	name := dns.CanonicalName(text)
	if line, ok := lines[name]; ok {
		s.repeat("origin", v, line)
		return ""
	}
	lines[name] = v.Line
	return name
}

// catalogs reads dns.catalogs.
func catalogs(s *section, all []*table, keys []Key, lines map[string]int) (list []Transferred) {
	for _, s := range s.tables("catalogs", all) {
		list = append(list, Transferred{Origin: s.origin(lines), Primaries: s.peers("primaries", keys), Catalog: true,
			Members: s.integer("members"), MemberPrimaries: s.peers("member_primaries", keys), Policy: s.policy(keys)})
	}
	return list
}
