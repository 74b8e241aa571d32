package xfr

import (
	"net/netip"

	"ampoule/appliances/dns/tsig"
)

// Rule says who may: those with an address in Prefix, if that is valid, who have
// signed with Key, if that is not empty. A Rule without both is for nobody.
type Rule struct {
	Prefix netip.Prefix
	Key    string // wire format, lower case
}

// permits says whether the rule lets in who comes from an address and signed with
// a key, or with none.
func (r *Rule) permits(from netip.Addr, key *tsig.Key) bool {
	if !r.Prefix.IsValid() && r.Key == "" {
		return false
	}
	if r.Prefix.IsValid() && !r.Prefix.Contains(from.Unmap().WithZone("")) {
		return false
	}
	return r.Key == "" || key != nil && key.Name == r.Key
}

// Permits says whether one of the rules lets in who comes from an address and
// signed with a key, or with none.
func Permits(rules []Rule, from netip.Addr, key *tsig.Key) bool {
	for i := range rules {
		if rules[i].permits(from, key) {
			return true
		}
	}
	return false
}

// Target is a server to send to.
type Target struct {
	Addr netip.AddrPort
	Key  string // that signs, wire format and lower case; empty: none
}

// Policy is who may have a zone, and who hears of its changes.
type Policy struct {
	Allow  []Rule
	Notify []Target
}
