// Package answers puts the sections of answers together from compiled zones (RFC
// 1034 section 4.3.2, RFC 2181, RFC 2308, RFC 4035, RFC 4592, RFC 5155, RFC
// 6672, RFC 8482, RFC 9471), and does so ahead of time for the questions that a
// zone lets foresee.
//
// Answers are minimal: the authority and additional sections hold what a
// resolver needs to go on or to validate (the SOA of a negative answer, the
// delegation and its glue in a referral, proofs of DNSSEC) and nothing else.
//
// Nothing in it blocks or keeps state; only Add allocates.
package answers

import "ampoule/libos/config/zone"

// Header bits (RFC 1035 section 4.1.1) and response codes (RFC 6895 section
// 2.3) that an answer may have.
const (
	FlagAA = 1 << 10
	FlagTC = 1 << 9

	NoError  = 0
	ServFail = 2
	NXDomain = 3
	YXDomain = 6
)

// HeaderSize is where the question starts in a message.
const HeaderSize = 12

// Record types that shape an answer.
const (
	typeA     = 1
	typeNS    = zone.TypeNS
	typeCNAME = zone.TypeCNAME
	typeSOA   = zone.TypeSOA
	typeTXT   = 16
	typeMINFO = 14
	typeMX    = 15
	typeAAAA  = 28
	typeDNAME = zone.TypeDNAME
	typeDS    = zone.TypeDS
	typeRRSIG = zone.TypeRRSIG
	typeNSEC  = zone.TypeNSEC
	typeNSEC3 = zone.TypeNSEC3
	typeANY   = 255
)

// maxChain is how many aliases one answer follows, CNAME and DNAME together;
// the client may ask on from there.
const maxChain = 64

// Response is an answer in the making. It is some 2 KiB, meant for the stack.
//
// A name in it is compressed by names before it, the question's among them, but
// only by those suffixes of the question that are in the zone whatever else is
// asked in its place: all of them when the name is there, those from the closest
// encloser when a wildcard stands for it, from the delegation in a referral, and
// from the apex in a negative answer. So one answer made ahead fits all questions
// of its kind.
type Response struct {
	Name  zone.Name // what is looked for; an alias changes it
	Type  uint16
	DO    bool // DNSSEC records are wanted (RFC 3225)
	Flags uint16
	Rcode uint16
	// Records in each section.
	Answer, Auth, Extra uint16

	zone     zone.Zone
	signed   bool // DO, and the zone is signed
	w        writer
	owner    owner            // place of Name in the message
	chain    [maxChain]uint16 // places of the names found so far
	links    int
	about    uint64 // hash of the part of the question's name that is known
	question int    // where the question section ends
	from     int    // first label of the question that names may point to
	known    bool   // names may point to the question
	// What Add wants to know.
	wilder bool // an alias led to a wildcard, or to a name that is not there
	varies bool // a proof is about the very name asked for

	proofs [maxProofs]proof // that are in the answer
	proven int
	later  [maxProofs]proof // that the answer needs once its first section is complete
	owed   int
	moves  [maxProofs]proof // DNAME records in the answer
	moved  int
}

// Question begins the message in buf, whose length is the limit, with a question
// section: name, type and class, of valid form. r.Name is its name.
func (r *Response) Question(buf, section []byte, class uint16) {
	r.w.buf, r.w.class = buf, class
	r.w.n = HeaderSize + copy(buf[HeaderSize:], section)
	r.question = r.w.n
	r.owner = owner{at: HeaderSize}
}

// Size returns the length of the message so far.
func (r *Response) Size() int { return r.w.n }

// Step answers for r.Name and r.Type from zone z, which is the one that answers
// for them. It returns true when r.Name has become the target of an alias: the
// caller calls it again with that one's zone, if it has it.
func (r *Response) Step(z zone.Zone) bool {
	if r.links == maxChain {
		return false
	}
	if r.links == 0 {
		r.Flags |= FlagAA
	}
	r.enter(z)
	r.chain[r.links] = uint16(r.owner.at)
	r.links++
	return r.step()
}

// Finish completes the answer after the last Step.
func (r *Response) Finish() {
	for _, p := range r.later[:r.owed] {
		r.zone = p.zone
		r.signed = true
		r.prove(p.node, p.rrtype)
	}
}

func (r *Response) enter(z zone.Zone) {
	r.zone, r.signed = z, false
	if r.DO {
		_, r.signed = z.RRset(z.Apex(), typeRRSIG)
	}
}

// step answers for r.Name. It returns true when that has become an alias's
// target that is to be looked for next.
func (r *Response) step() bool {
	n, depth := r.zone.Find(&r.Name)
	if cut := r.zone.Cut(n); cut != zone.None {
		if depth > 0 || n != cut || r.Type != typeDS {
			r.referral(cut)
			return false
		}
	}
	r.from = depth
	if depth == 0 {
		if r.Name.Labels() > 0 && string(r.Name.Bytes(0)[:2]) == "\x01*" {
			r.from = 1 // as in the answers that it gives for others
		}
		return r.node(n, n, 0)
	}
	r.wilder = r.wilder || r.links > 1
	if r.zone.Flags(n)&zone.HasDNAME != 0 {
		return r.dname(n, depth)
	}
	wild := r.zone.Wild(n)
	if wild == zone.None {
		r.Rcode = NXDomain
		r.soa()
		r.denyName(n, depth)
		return false
	}
	return r.node(wild, n, depth)
}

// node answers with what is at n, which stands for r.Name: its own node, or the
// wildcard below encloser, from which r.Name is depth labels away.
func (r *Response) node(n, encloser zone.Node, depth int) bool {
	set, ok := r.zone.RRset(n, r.Type)
	if r.Type == typeANY { // one set (RFC 8482 section 4.1)
		it := r.zone.RRsets(n)
		set, ok = it.Next()
	}
	if ok {
		r.add(n, set)
		r.denyCloser(depth)
		if r.Type == typeNS {
			r.glue(set, "", false)
		}
		return false
	}
	if r.zone.Flags(n)&zone.HasCNAME == 0 || r.Type == typeANY {
		r.soa()
		r.denyType(n, encloser, depth)
		return false
	}
	set, _ = r.zone.RRset(n, typeCNAME)
	data := r.add(n, set)
	if !r.denyCloser(depth) || r.w.full {
		return false
	}
	target, _ := set.Next()
	return r.follow(target, data)
}

// add puts a set of n into the answer section, owned by the name looked for, and
// returns where its last record's data starts.
func (r *Response) add(n zone.Node, set zone.RRset) int {
	r.know(r.from)
	var count uint16
	var data int
	if set.Type == typeRRSIG {
		count = r.rrsigs(n, set)
	} else {
		count, data = r.w.rrset(r.owner, set, set.TTL)
	}
	r.Answer += count
	r.Answer += r.signatures(n, r.owner, set.Type, set.TTL)
	if r.w.full {
		r.Flags |= FlagTC
	}
	return data
}

// know lets names point to the question's from the given label on. What was
// said first holds.
func (r *Response) know(from int) {
	if r.known {
		return
	}
	r.known = true
	r.about = r.Name.Hash(from)
	at := HeaderSize
	for i := range r.Name.Labels() {
		if i >= from {
			r.w.remember(at, r.Name.Size(i))
		}
		at += 1 + int(r.w.buf[at])
	}
}

// soa puts the zone's SOA into the authority section, with the TTL of a negative
// answer (RFC 2308 section 5).
func (r *Response) soa() {
	apex := r.zone.Apex()
	name := r.zone.Name(apex)
	r.know(r.Name.Labels() - labels(name))
	set, ok := r.zone.RRset(apex, typeSOA)
	peek := set
	rdata, _ := peek.Next()
	if !ok || len(rdata) < 4 {
		r.Rcode = ServFail // not in a zone that Compile made of valid records
		return
	}
	minimum := rdata[len(rdata)-4:]
	ttl := uint32(minimum[0])<<24 | uint32(minimum[1])<<16 | uint32(minimum[2])<<8 | uint32(minimum[3])
	r.authority(apex, set, min(ttl, set.TTL))
}

// authority puts a set of n into the authority section, with what signs it.
// There must be room for it.
func (r *Response) authority(n zone.Node, set zone.RRset, ttl uint32) {
	o := owner{name: r.zone.Name(n)}
	count, _ := r.w.rrset(o, set, ttl)
	r.Auth += count
	r.Auth += r.signatures(n, o, set.Type, ttl)
	if r.w.full {
		r.Flags |= FlagTC
	}
}

// labels counts the labels of a valid name in wire format, without the root.
func labels(name string) int {
	n := 0
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		n++
	}
	return n
}

// Text puts a TXT record owned by the question's name, with a TTL of 0, into the
// answer section.
func (r *Response) Text(rdata string) {
	if r.w.whole(r.owner, typeTXT, 0, rdata) {
		r.Answer++
	}
}

// Truncate takes all records out and sets TC: the client may ask over TCP.
func (r *Response) Truncate() {
	r.w.n, r.Flags = r.question, r.Flags|FlagTC
	r.Answer, r.Auth, r.Extra = 0, 0, 0
}

// Kind tells apart answers that rate limiting counts for itself: their class, and
// what they are about.
type Kind uint64

// Kind returns the kind of the answer.
func (r *Response) Kind() Kind { return NewKind(r.class(), r.about) }

// NewKind returns the kind of an answer of a class about the name of a hash.
func NewKind(class uint8, about uint64) Kind { return Kind(zone.Mix(about ^ uint64(class))) }
