package answers

import (
	"ampoule/libos/config/feature"
	"ampoule/libos/config/zone"
)

// signatures appends the RRSIG records of n that cover a type, and returns how
// many they were. They have the TTL of what they cover (RFC 4034 section 3). If
// they do not fit, the set they sign stays and the message is full.
func (r *Response) signatures(n zone.Node, o owner, covered uint16, ttl uint32) (count uint16) {
	if !r.signed || r.w.full {
		return 0
	}
	set, _ := r.zone.RRset(n, typeRRSIG)
	for rdata, ok := set.Next(); ok; rdata, ok = set.Next() {
		if len(rdata) < 2 || uint16(rdata[0])<<8|uint16(rdata[1]) != covered {
			continue
		}
		if !r.w.whole(o, typeRRSIG, ttl, rdata) {
			return count
		}
		count++
	}
	return count
}

// rrsigs appends the RRSIG records of n, which were asked for, each with the TTL
// of what it covers.
func (r *Response) rrsigs(n zone.Node, set zone.RRset) (count uint16) {
	mark := r.w.n
	for rdata, ok := set.Next(); ok; rdata, ok = set.Next() {
		ttl := set.TTL
		if len(rdata) > 2 {
			if covered, ok := r.zone.RRset(n, uint16(rdata[0])<<8|uint16(rdata[1])); ok {
				ttl = covered.TTL
			}
		}
		if !r.w.whole(r.owner, typeRRSIG, ttl, rdata) {
			r.w.n = mark
			return 0
		}
		count++
	}
	return count
}

// proof is the NSEC or NSEC3 record of a node.
type proof struct {
	zone   zone.Zone
	node   zone.Node
	rrtype uint16
}

// maxProofs bounds the proofs of one answer. A chain of aliases that needs more is
// not followed further.
const maxProofs = 12

// prove puts the NSEC or NSEC3 record of n into the authority section, once.
func (r *Response) prove(n zone.Node, rrtype uint16) {
	p := proof{r.zone, n, rrtype}
	for _, q := range r.proofs[:r.proven] {
		if q.node == n && q.zone == r.zone {
			return
		}
	}
	set, ok := r.zone.RRset(n, rrtype)
	if !ok || r.w.full {
		return
	}
	if r.proven < len(r.proofs) {
		r.proofs[r.proven] = p
		r.proven++
	}
	r.authority(n, set, set.TTL)
}

// denyName proves that r.Name does not exist, and that no wildcard below n, the
// node depth labels up, stands for it (RFC 4035 section 3.1.3.2, RFC 5155
// section 7.2.2).
func (r *Response) denyName(n zone.Node, depth int) {
	if !r.signed {
		return
	}
	r.varies = true
	if r.zone.Hashed() > 0 {
		// The wildcard at the encloser that is provable, which with opt-out may be
		// above n.
		r.cover(r.wildcard(r.Name.Bytes(r.encloser(depth))))
		return
	}
	r.prove(r.before(&r.Name), typeNSEC)
	var wild zone.Name
	if r.wildName(&wild, n) {
		r.prove(r.before(&wild), typeNSEC)
	}
}

// denyCloser sees to the proof that nothing between r.Name and the wildcard that
// stood for it, depth labels away, is there (RFC 4035 section 3.1.3.3, RFC 5155
// section 7.2.6). False: the answer can have no more of these.
func (r *Response) denyCloser(depth int) bool {
	if !r.signed || depth == 0 {
		return true
	}
	r.varies = true
	p := proof{r.zone, 0, typeNSEC}
	if r.zone.Hashed() > 0 {
		hash := r.hash(r.Name.Bytes(depth - 1))
		p.node, _ = r.zone.Covering(&hash)
		p.rrtype = typeNSEC3
	} else {
		p.node = r.before(&r.Name)
	}
	r.later[r.owed] = p
	r.owed++
	return r.owed < len(r.later)
}

// denyType proves that r.Name has no records of r.Type (RFC 4035 sections
// 3.1.3.1 and 3.1.3.4, RFC 5155 sections 7.2.3 to 7.2.5). n stands for r.Name,
// depth labels below encloser if that is a wildcard.
func (r *Response) denyType(n, encloser zone.Node, depth int) {
	if !r.signed {
		return
	}
	if depth > 0 {
		r.varies = true
	}
	if r.zone.Hashed() == 0 {
		r.prove(r.nsec(n), typeNSEC)
		if depth > 0 {
			r.prove(r.before(&r.Name), typeNSEC)
		}
		return
	}
	if depth > 0 {
		r.encloser(depth)
		r.cover(r.wildcard(r.Name.Bytes(depth)))
		return
	}
	r.match(0)
}

// match proves by NSEC3 what there is at r.Name without its first labels, or,
// where that was left out as insecure, its closest encloser that is not (RFC
// 5155 sections 7.2.4 and 7.2.7).
func (r *Response) match(depth int) {
	hash := r.hash(r.Name.Bytes(depth))
	if n, ok := r.zone.Covering(&hash); ok {
		r.prove(n, typeNSEC3)
		return
	}
	r.encloser(depth + 1)
}

// encloser proves by NSEC3 the closest encloser, at least depth labels above
// r.Name, and that the next closer name is not there (RFC 5155 section 7.2.1). It
// returns how many labels above r.Name that encloser is.
func (r *Response) encloser(depth int) int {
	apex := r.Name.Labels() - labels(r.zone.Name(r.zone.Apex()))
	for ; depth <= apex; depth++ {
		hash := r.hash(r.Name.Bytes(depth))
		if n, ok := r.zone.Covering(&hash); ok {
			r.prove(n, typeNSEC3)
			r.cover(r.hash(r.Name.Bytes(depth - 1)))
			break
		}
	}
	return min(depth, apex)
}

// cover adds the NSEC3 record that covers or matches a hash.
func (r *Response) cover(hash zone.Hash20) {
	n, _ := r.zone.Covering(&hash)
	r.prove(n, typeNSEC3)
}

// before returns the node whose NSEC record covers or matches name.
func (r *Response) before(name *zone.Name) zone.Node { return r.nsec(r.zone.Before(name)) }

// nsec returns n or, if that has no NSEC record, the last node before it that
// has: empty non-terminals and what is below a delegation have none.
func (r *Response) nsec(n zone.Node) zone.Node {
	for i := r.zone.Position(n); ; i-- {
		if _, ok := r.zone.RRset(n, typeNSEC); ok || i == 0 {
			return n
		}
		if cut := r.zone.Cut(n); cut != zone.None && cut != n {
			i = r.zone.Position(cut) + 1 // skip what lies below it
		}
		n = r.zone.At(i - 1)
	}
}

// wildName makes the wildcard's name below n. False: it would be too long.
func (r *Response) wildName(wild *zone.Name, n zone.Node) bool {
	var b [zone.MaxName + 2]byte
	b[0], b[1] = 1, '*'
	_, err := zone.Set(wild, b[:2+copy(b[2:], r.zone.Name(n))])
	return err == nil
}

// wildcard hashes the wildcard's name below another.
func (r *Response) wildcard(name []byte) zone.Hash20 {
	var b [zone.MaxName + 2]byte
	b[0], b[1] = 1, '*'
	return r.hash(b[:2+copy(b[2:], name)])
}

// hash hashes a name in lower case with the parameters of the zone's NSEC3
// records (RFC 5155 section 5), which the first one has as good as any.
func (r *Response) hash(name []byte) zone.Hash20 {
	if feature.NSEC3 == nil {
		return zone.Hash20{} // of no zone that is compiled in
	}
	var first zone.Hash20
	n, _ := r.zone.Covering(&first)
	set, _ := r.zone.RRset(n, typeNSEC3)
	p, _ := set.Next()
	var b [zone.MaxName + 255]byte
	size := copy(b[:], name)
	if len(p) < 5 || len(p) < 5+int(p[4]) {
		return feature.NSEC3(b, size)
	}
	salt := p[5 : 5+int(p[4])]
	hash := feature.NSEC3(b, size+copy(b[size:], salt))
	for range int(p[2])<<8 | int(p[3]) {
		size = copy(b[:], hash[:])
		hash = feature.NSEC3(b, size+copy(b[size:], salt))
	}
	return hash
}
