package answer

import "ampoule/libos/config/zone"

// referral points to the servers of the zone below cut.
func (r *response) referral(cut zone.Node) {
	if r.answer == 0 {
		r.flags &^= flagAA
	}
	set, _ := r.zone.RRset(cut, typeNS)
	name := r.zone.Name(cut)
	count, _ := r.w.rrset(owner{name: name}, set, set.TTL)
	r.auth += count
	if r.w.full {
		r.flags |= flagTC
		return
	}
	// Addresses of servers inside the child zone come first: without them the
	// referral leads nowhere, so leaving one out is truncation (RFC 9471
	// section 3.1). Others that this zone happens to hold are a courtesy.
	r.glue(set, name, true)
	if !r.w.full {
		r.glue(set, name, false)
	}
}

// glue adds the addresses of the name servers in set that are inside the zone
// named child, or those that are not. No name is inside the zone "".
func (r *response) glue(set zone.RRset, child string, inside bool) {
	for _, t := range [...]uint16{typeA, typeAAAA} {
		servers := set
		for target, ok := servers.Next(); ok; target, ok = servers.Next() {
			name := &r.q.name // no longer needed
			if _, err := zone.Set(name, target); err != nil ||
				(child != "" && name.Below(child)) != inside {
				continue
			}
			n := r.zone.Lookup(name)
			if n == zone.None {
				continue
			}
			addresses, ok := r.zone.RRset(n, t)
			if !ok {
				continue
			}
			count, _ := r.w.rrset(owner{name: target}, addresses, addresses.TTL)
			r.extra += count
			if r.w.full && inside {
				r.flags |= flagTC
				return
			}
			r.w.full = false
		}
	}
}
