package answers

import "ampoule/libos/config/zone"

// referral points to the servers of the zone below cut, and says whether that is
// signed (RFC 4035 section 3.1.4).
func (r *Response) referral(cut zone.Node) {
	if r.Answer == 0 {
		r.Flags &^= FlagAA
	}
	name := r.zone.Name(cut)
	depth := r.Name.Labels() - labels(name)
	r.know(depth)
	set, _ := r.zone.RRset(cut, typeNS)
	count, _ := r.w.rrset(owner{name: name}, set, set.TTL)
	r.Auth += count
	switch ds, ok := r.zone.RRset(cut, typeDS); {
	case !r.signed:
	case ok:
		r.authority(cut, ds, ds.TTL)
	case r.zone.Hashed() > 0:
		r.match(depth)
	default:
		r.prove(cut, typeNSEC)
	}
	if r.w.full {
		r.Flags |= FlagTC
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
func (r *Response) glue(set zone.RRset, child string, inside bool) {
	for _, t := range [...]uint16{typeA, typeAAAA} {
		servers := set
		for target, ok := servers.Next(); ok; target, ok = servers.Next() {
			name := &r.Name // no longer needed
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
			o := owner{name: target}
			count, _ := r.w.rrset(o, addresses, addresses.TTL)
			r.Extra += count
			if r.w.full && inside {
				r.Flags |= FlagTC
				return
			}
			if r.zone.Cut(n) == zone.None {
				r.Extra += r.signatures(n, o, t, addresses.TTL)
			}
			r.w.full = false
		}
	}
}
