// Package answer turns DNS queries into authoritative answers from compiled
// zones: a pure function from message to message (RFC 1034 section 4.3.2, RFC
// 2181, RFC 2308, RFC 4592, RFC 6672, RFC 6891, RFC 8482, RFC 9471). It knows
// nothing of the network and does not allocate, block or keep state.
//
// Answers are minimal: the authority and additional sections hold what a
// resolver needs to go on (the SOA of a negative answer, the delegation and its
// glue in a referral) and nothing else.
package answer

import (
	"encoding/binary"
	"fmt"

	"ampoule/libos/config/zone"
)

const (
	// minUDP is what every client takes over UDP (RFC 1035 section 2.3.4).
	minUDP = 512
	// DefaultUDP is the usual limit for answers over UDP: it fits every path's
	// MTU, so that no answer is cut into fragments.
	DefaultUDP = 1232
	// MaxMessage is the longest message over TCP.
	MaxMessage = 65535
	// maxChain is how many aliases one answer follows, CNAME and DNAME
	// together; the client may ask on from there.
	maxChain = 64
)

// Transport says how a query came.
type Transport uint8

const (
	UDP Transport = iota
	TCP
)

// Server answers for a set of zones. It does not change after New, and any
// number of goroutines may use it.
type Server struct {
	zones  map[string]zone.Zone // by origin, lower case
	labels int                  // of the longest origin
	udp    int                  // limit of an answer over UDP
}

// New returns a Server for the zones. udpSize is the limit in bytes of answers
// over UDP, from 512 to 4096; 0 stands for DefaultUDP.
func New(zones []zone.Zone, udpSize int) (*Server, error) {
	if udpSize == 0 {
		udpSize = DefaultUDP
	}
	if udpSize < minUDP || udpSize > 4096 {
		return nil, fmt.Errorf("answer: UDP size %d, must be from %d to 4096", udpSize, minUDP)
	}
	s := &Server{zones: make(map[string]zone.Zone, len(zones)), udp: udpSize}
	for i, z := range zones {
		if err := z.Check(); err != nil {
			return nil, fmt.Errorf("answer: zone %d: %w", i, err)
		}
		var origin zone.Name
		if _, err := zone.Set(&origin, z.Name(z.Apex())); err != nil {
			return nil, fmt.Errorf("answer: zone %d: %w", i, err)
		}
		if _, ok := s.zones[z.Name(z.Apex())]; ok {
			return nil, fmt.Errorf("answer: zone %d: there twice", i)
		}
		s.zones[z.Name(z.Apex())] = z
		s.labels = max(s.labels, origin.Labels())
	}
	return s, nil
}

// response is an answer in the making.
type response struct {
	w      writer
	q      query
	zone   zone.Zone
	flags  uint16
	rcode  uint16
	answer uint16 // records in each section
	auth   uint16
	extra  uint16
	owner  owner            // place of q.name in the message
	chain  [maxChain]uint16 // places of the names found so far
	links  int
}

// Answer writes the answer to msg into buf and returns its length, or 0 when
// there must be none: msg is no query, or too short to tell. buf holds at least
// 4096 bytes for UDP and MaxMessage for TCP; msg is not changed and must not
// overlap buf.
func (s *Server) Answer(buf, msg []byte, t Transport) int {
	if len(msg) < headerSize || msg[2]&(flagQR>>8) != 0 {
		return 0
	}
	var r response
	r.q.parse(msg)
	limit := MaxMessage
	if t == UDP {
		limit = min(r.q.size, s.udp)
	}
	if r.q.edns {
		limit -= optSize
	}
	r.w.buf = buf[:limit]
	r.w.n = headerSize
	r.rcode = r.q.rcode
	if r.rcode == noError {
		r.w.class = r.q.class
		r.w.question(msg[headerSize:headerSize+r.q.question], &r.q.name)
		r.resolve(s)
	}
	return r.finish(buf, msg, s.udp)
}

// resolve fills the sections.
func (r *response) resolve(s *Server) {
	q := &r.q
	switch {
	case q.edns && q.version != 0:
		r.rcode = badVers
		return
	case q.tsig: // no key is known (RFC 8945 section 5.2.1)
		r.rcode = notAuth
		return
	case q.qtype == typeAXFR || q.qtype == typeIXFR:
		r.transfer(s)
		return
	case q.class == classANY:
		r.w.class = classIN
	case q.class != classIN:
		r.rcode = refused
		return
	}
	var ok bool
	if r.zone, ok = s.find(&q.name, q.qtype); !ok {
		r.rcode = refused
		return
	}
	if q.class == classIN {
		r.flags |= flagAA
	}
	// Each turn finds one name; an alias's target may be in another zone.
	r.owner = owner{at: headerSize}
	for range maxChain {
		r.chain[r.links] = uint16(r.owner.at)
		r.links++
		if !r.step() {
			return
		}
		if r.zone, ok = s.find(&q.name, q.qtype); !ok {
			return
		}
	}
}

// transfer refuses a zone transfer: to anyone for a zone that is here, and as
// someone else's business otherwise (RFC 5936 section 2.2.1).
func (r *response) transfer(s *Server) {
	r.rcode = notAuth
	if _, ok := s.zones[string(r.q.name.Bytes(0))]; ok && r.q.class == classIN {
		r.rcode = refused
	}
}

// find returns the zone with the longest origin at or above name. DS belongs to
// the parent's side of a cut (RFC 4035 section 3.1.4.1).
func (s *Server) find(name *zone.Name, qtype uint16) (found zone.Zone, ok bool) {
	for i := max(0, name.Labels()-s.labels); i <= name.Labels(); i++ {
		z, hit := s.zones[string(name.Bytes(i))]
		if hit {
			found, ok = z, true
			if qtype != typeDS || i > 0 {
				return found, true
			}
		}
	}
	return found, ok
}

// step answers for q.name. It returns true when q.name has become an alias's
// target that is to be looked for next.
func (r *response) step() bool {
	n, depth := r.zone.Find(&r.q.name)
	if cut := r.zone.Cut(n); cut != zone.None {
		if depth > 0 || n != cut || r.q.qtype != typeDS {
			r.referral(cut)
			return false
		}
	}
	if depth > 0 {
		if r.zone.Flags(n)&zone.HasDNAME != 0 {
			return r.dname(n, depth)
		}
		wild := r.zone.Wild(n)
		if wild == zone.None {
			r.rcode = nxDomain
			r.soa()
			return false
		}
		n = wild
	}
	return r.node(n)
}

// node answers with what is at n, which stands for q.name.
func (r *response) node(n zone.Node) bool {
	if r.q.qtype == typeANY {
		r.any(n)
		return false
	}
	if set, ok := r.zone.RRset(n, r.q.qtype); ok {
		r.add(set)
		if r.q.qtype == typeNS {
			r.glue(set, "", false)
		}
		return false
	}
	if r.zone.Flags(n)&zone.HasCNAME == 0 {
		r.soa()
		return false
	}
	set, _ := r.zone.RRset(n, typeCNAME)
	data := r.add(set)
	if r.w.full {
		return false
	}
	target, _ := set.Next()
	return r.follow(target, data)
}

// any answers QTYPE ANY with one set (RFC 8482 section 4.1).
func (r *response) any(n zone.Node) {
	it := r.zone.RRsets(n)
	if set, ok := it.Next(); ok {
		r.add(set)
		return
	}
	r.soa()
}

// add puts a set into the answer section, owned by the name looked for, and
// returns where its last record's data starts.
func (r *response) add(set zone.RRset) int {
	count, data := r.w.rrset(r.owner, set, set.TTL)
	r.answer += count
	if r.w.full {
		r.flags |= flagTC
	}
	return data
}

// soa puts the zone's SOA into the authority section, with the TTL of a negative
// answer (RFC 2308 section 5).
func (r *response) soa() {
	apex := r.zone.Apex()
	set, _ := r.zone.RRset(apex, typeSOA)
	peek := set
	rdata, _ := peek.Next()
	minimum := rdata[len(rdata)-4:]
	ttl := uint32(minimum[0])<<24 | uint32(minimum[1])<<16 | uint32(minimum[2])<<8 | uint32(minimum[3])
	count, _ := r.w.rrset(owner{name: r.zone.Name(apex)}, set, min(ttl, set.TTL))
	r.auth += count
	if r.w.full {
		r.flags |= flagTC
	}
}

// finish writes the header and the OPT record, and returns the length.
func (r *response) finish(buf, msg []byte, udpSize int) int {
	n := r.w.n
	if r.q.edns {
		r.extra++
		opt := buf[n : n+optSize]
		clear(opt)
		binary.BigEndian.PutUint16(opt[1:], typeOPT)
		binary.BigEndian.PutUint16(opt[3:], uint16(udpSize))
		opt[5] = uint8(r.rcode >> 4)
		if r.q.do {
			opt[7] = 0x80
		}
		n += optSize
	}
	be := binary.BigEndian
	copy(buf, msg[:2])
	be.PutUint16(buf[2:], flagQR|r.flags|r.q.flags&(opcodeMask|flagRD)|r.rcode&15)
	questions := uint16(0)
	if r.w.n > headerSize {
		questions = 1
	}
	be.PutUint16(buf[4:], questions)
	be.PutUint16(buf[6:], r.answer)
	be.PutUint16(buf[8:], r.auth)
	be.PutUint16(buf[10:], r.extra)
	return n
}
