package answers

import (
	"encoding/binary"
	"slices"

	"ampoule/libos/config/zone"
)

// dname makes the alias that a DNAME at n stands for (RFC 6672 section 3). depth
// is the number of labels of r.Name below n.
func (r *Response) dname(n zone.Node, depth int) bool {
	r.know(depth)
	r.varies = true
	set, _ := r.zone.RRset(n, typeDNAME)
	if !r.move(n, set) {
		return false
	}
	target, _ := set.Next()
	var alias [zone.MaxName]byte
	prefix := copy(alias[:], r.Name.Bytes(0)[:r.Name.Size(0)-r.Name.Size(depth)])
	if prefix+len(target) > len(alias) {
		r.Rcode = YXDomain
		return false
	}
	copy(alias[prefix:], target)
	mark := r.w.n
	data := r.w.record(r.owner, typeCNAME, set.TTL)
	if b := r.w.room(prefix); b != nil {
		copy(b, alias[:prefix])
	}
	if r.w.name(target); r.w.full {
		r.w.n = mark
		r.Flags |= FlagTC
		return false
	}
	binary.BigEndian.PutUint16(r.w.buf[data-2:], uint16(r.w.n-data))
	r.Answer++
	r.owner = owner{at: data}
	if _, err := zone.Set(&r.Name, alias[:prefix+len(target)]); err != nil {
		r.Rcode = ServFail // as in follow
		return false
	}
	// A synthesised alias is itself the answer to a question for it (section
	// 3.1).
	return r.Type != typeCNAME
}

// move puts the DNAME of n into the answer section, once (RFC 2181 section 5). False:
// it does not fit, or there are too many; the client may ask on.
func (r *Response) move(n zone.Node, set zone.RRset) bool {
	p := proof{r.zone, n, typeDNAME}
	if slices.Contains(r.moves[:r.moved], p) {
		return true
	}
	if r.moved == len(r.moves) {
		return false
	}
	r.moves[r.moved] = p
	r.moved++
	o := owner{name: r.zone.Name(n)}
	count, _ := r.w.rrset(o, set, set.TTL)
	r.Answer += count
	r.Answer += r.signatures(n, o, typeDNAME, set.TTL)
	if r.w.full {
		r.Flags |= FlagTC
	}
	return !r.w.full
}

// follow makes target, written at offset data, the name to look for.
func (r *Response) follow(target string, data int) bool {
	if _, err := zone.Set(&r.Name, target); err != nil {
		r.Rcode = ServFail // not in a zone that Compile made of valid records
		return false
	}
	if b := r.w.buf; b[data] >= 0xc0 {
		data = int(binary.BigEndian.Uint16(b[data:]) & maxPointer)
	}
	r.owner = owner{at: data}
	return !r.loops(target)
}

// loops says whether the alias target was found before.
func (r *Response) loops(target string) bool {
	for _, at := range r.chain[:r.links] {
		if r.w.equal(int(at), target) {
			return true
		}
	}
	return false
}
