package answer

import (
	"encoding/binary"

	"ampoule/libos/config/zone"
)

// dname makes the alias that a DNAME at n stands for (RFC 6672 section 3). depth
// is the number of labels of q.name below n.
func (r *response) dname(n zone.Node, depth int) bool {
	set, _ := r.zone.RRset(n, typeDNAME)
	count, _ := r.w.rrset(owner{name: r.zone.Name(n)}, set, set.TTL)
	r.answer += count
	if r.w.full {
		r.flags |= flagTC
		return false
	}
	target, _ := set.Next()
	var alias [zone.MaxName]byte
	prefix := copy(alias[:], r.q.name.Bytes(0)[:r.q.name.Size(0)-r.q.name.Size(depth)])
	if prefix+len(target) > len(alias) {
		r.rcode = yxDomain
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
		r.flags |= flagTC
		return false
	}
	binary.BigEndian.PutUint16(r.w.buf[data-2:], uint16(r.w.n-data))
	r.answer++
	r.owner = owner{at: data}
	if _, err := zone.Set(&r.q.name, alias[:prefix+len(target)]); err != nil {
		r.rcode = servFail // as in follow
		return false
	}
	// A synthesised alias is itself the answer to a question for it (section
	// 3.1).
	return r.q.qtype != typeCNAME
}

// follow makes target, written at offset data, the name to look for.
func (r *response) follow(target string, data int) bool {
	if _, err := zone.Set(&r.q.name, target); err != nil {
		r.rcode = servFail // not in a zone that Compile made of valid records
		return false
	}
	if b := r.w.buf; b[data] >= 0xc0 {
		data = int(binary.BigEndian.Uint16(b[data:]) & maxPointer)
	}
	r.owner = owner{at: data}
	return !r.loops(target)
}

// loops says whether the alias target was found before.
func (r *response) loops(target string) bool {
	for _, at := range r.chain[:r.links] {
		if r.w.equal(int(at), target) {
			return true
		}
	}
	return false
}
