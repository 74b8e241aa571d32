package answers

import (
	"encoding/binary"
	"math"
	"strings"

	"ampoule/libos/config/zone"
	"ampoule/libos/format"
)

// maxReady bounds the sections of an answer that is kept, in bytes. Longer ones
// hardly fit into a datagram.
const maxReady = 1400

// maxDenials is up to how many names a signed zone keeps its proofs that a name
// lacks a type ready: they take several times the room of all else.
const maxDenials = 4096

// answerCost is what an answer takes of the room beside its message.
const answerCost = 32

// none is a type that no record has.
const none = 0

// adder makes the answers of one zone.
type adder struct {
	z      zone.Zone
	signed bool
	out    []byte // comes behind z
	room   int    // bytes that answers may still take, and cost in time
	nodata uint32 // the answer for a type that is not there
	log    []uint16
	left   bool // an alias led out of the zone
	cut    zone.Node
	below  uint32 // the list for what is below cut
	buf    [math.MaxUint16]byte
}

// Add gives z, fresh from zone.Compile, answers to all questions that it lets
// foresee: those for each type at each name, for types and names that are not
// there, for wildcards and delegations. Which of them hold is decided with each
// question: see zone.Answer. It takes as much memory again as the result while
// it works. The error says that the result would be too large.
func Add(z zone.Zone) (zone.Zone, error) { return AddWithin(z, math.MaxInt) }

// AddWithin is Add for zones of others. What is in a zone once may be in as many
// answers as there are aliases, so it stops when answers take room bytes, or as
// much work has been for nothing: the others are made when they are asked for.
func AddWithin(z zone.Zone, room int) (zone.Zone, error) {
	a := &adder{z: z, room: room}
	_, a.signed = z.RRset(z.Apex(), typeRRSIG)
	var nxdomain uint32
	if r, section, ok := a.begin("\x01*", z.Name(z.Apex()), none); ok {
		r.enter(z)
		r.Flags = FlagAA
		r.soa()
		a.nodata = a.keep(r, section, true)
		r.Rcode = NXDomain
		nxdomain = a.keep(r, section, true)
	}
	nodes := make([]uint32, z.Len())
	for i := range nodes {
		nodes[i] = a.node(z.At(i))
	}
	a.out = append(a.out, make([]byte, zone.Room)...) // behind the last answer
	if uint64(len(z))+uint64(len(a.out)) > math.MaxUint32 {
		return "", format.Errorf("zone: %d bytes with its answers, the most is %d", len(z)+len(a.out), uint32(math.MaxUint32))
	}
	var b strings.Builder
	b.Grow(len(z) + len(a.out))
	at := 0
	patch := func(place int, v uint32) {
		var word [4]byte
		binary.LittleEndian.PutUint32(word[:], v)
		b.WriteString(string(z[at:place]))
		b.Write(word[:])
		at = place + len(word)
	}
	patch(zone.NXDomainPlace, nxdomain)
	for i, v := range nodes { // nodes lie in the order of their positions
		patch(int(z.At(i))+zone.AnswersPlace, v)
	}
	b.WriteString(string(z[at:]))
	b.Write(a.out)
	return zone.Zone(b.String()), nil
}

// node keeps the answers of n and returns the offset of their list.
func (a *adder) node(n zone.Node) uint32 {
	z := a.z
	name := z.Name(n)
	wild := strings.HasPrefix(name, "\x01*")
	cut := z.Cut(n)
	if cut != zone.None && cut != n && cut == a.cut {
		return a.below // in canonical order these follow their delegation
	}
	if cut != zone.None && (cut != n || wild) || a.room <= 0 {
		return 0
	}
	var list []byte
	add := func(rrtype uint16, plain, signed uint32) {
		le := binary.LittleEndian
		list = le.AppendUint32(le.AppendUint32(le.AppendUint16(list, rrtype), plain), signed)
	}
	for _, t := range a.types(n) {
		plain, signed := a.both(name, t, wild)
		add(t, plain, signed)
	}
	if n == z.Apex() {
		add(typeDS, 0, 0) // the zone above may be here, too (RFC 4035 section 3.1.4.1)
	}
	switch {
	case cut == n:
		plain, signed := a.referral(n)
		add(none, plain, signed)
	case z.Flags(n)&zone.HasCNAME != 0:
		plain, signed := a.both(name, none, wild)
		add(none, plain, signed)
	default:
		signed := a.nodata
		if a.signed {
			signed = 0
			if !wild && z.Len() <= maxDenials {
				signed = a.answer("", name, none, true, false)
			}
		}
		add(none, a.nodata, signed)
	}
	at := a.at()
	a.out = append(a.out, list...)
	a.room -= len(list)
	if cut == n {
		a.cut, a.below = n, a.at()-zone.ListSize
	}
	return at
}

// types lists the types whose answers at n differ from that for all others, as far as
// they are not the server's to look at.
func (a *adder) types(n zone.Node) []uint16 {
	if a.z.Cut(n) == n {
		return []uint16{typeDS}
	}
	var types []uint16
	collect := func(at zone.Node) {
		for it := a.z.RRsets(at); ; {
			set, ok := it.Next()
			if !ok {
				return
			}
			if zone.Ordinary(set.Type) && (set.Type != typeDS || n != a.z.Apex()) {
				types = append(types, set.Type)
			}
		}
	}
	collect(n)
	if a.z.Flags(n)&zone.HasCNAME == 0 {
		return types
	}
	r, _, ok := a.begin("", a.z.Name(n), none)
	if !ok {
		return nil
	}
	a.compose(r)
	end, depth := a.z.Find(&r.Name)
	switch cut := a.z.Cut(end); {
	case a.left:
		return types
	case cut == end && depth == 0:
		return append(types, typeDS)
	case cut != zone.None:
		return types
	}
	if depth > 0 { // a wildcard stands for it, or nothing
		end = a.z.Wild(end)
	}
	if end != zone.None && end != n {
		collect(end)
	}
	return types
}

// both keeps the answers to a question without and with DO.
func (a *adder) both(name string, rrtype uint16, wild bool) (plain, signed uint32) {
	plain = a.answer("", name, rrtype, false, wild)
	if !a.signed {
		return plain, plain
	}
	if wild {
		return plain, 0 // a proof comes with it
	}
	return plain, a.answer("", name, rrtype, true, false)
}

// referral keeps the answers for what is at or below cut.
func (a *adder) referral(cut zone.Node) (plain, signed uint32) {
	plain = a.answer("\x01*", a.z.Name(cut), none, false, true)
	if !a.signed {
		return plain, plain
	}
	return plain, a.answer("\x01*", a.z.Name(cut), none, true, true)
}

// begin starts an answer to a question for label and suffix. False: there can be
// no such question.
func (a *adder) begin(label, suffix string, rrtype uint16) (r *Response, section []byte, ok bool) {
	r = &Response{Type: rrtype}
	section = append([]byte(label+suffix), byte(rrtype>>8), byte(rrtype), 0, 1)
	_, err := zone.Set(&r.Name, section[:len(section)-4])
	r.Question(a.buf[:], section, 1)
	a.log, a.left = a.log[:0], false
	r.w.log = &a.log
	return r, section, err == nil
}

// compose fills the sections from this zone alone.
func (a *adder) compose(r *Response) {
	for r.Step(a.z) {
		if a.left = !r.Name.Below(a.z.Name(a.z.Apex())); a.left {
			break
		}
	}
	r.Finish()
}

// answer keeps the answer to a question and returns its offset, or 0 if it has
// to be made when it is asked for. common says that it is for names of several
// lengths.
func (a *adder) answer(label, suffix string, rrtype uint16, do, common bool) uint32 {
	r, section, ok := a.begin(label, suffix, rrtype)
	if !ok || a.room <= 0 {
		return 0
	}
	r.DO = do
	a.compose(r)
	a.room -= answerCost + r.w.n
	if r.varies || common && r.wilder {
		return 0
	}
	return a.keep(r, section, common)
}

// keep writes the answer r to a question section and returns its offset, or 0 if
// it is not worth it.
func (a *adder) keep(r *Response, section []byte, common bool) uint32 {
	start := HeaderSize + len(section)
	size := r.w.n - start
	places := a.log
	if !common {
		places = nil
	}
	if size > maxReady || r.w.full || len(places) > math.MaxUint8 {
		return 0
	}
	var moved []byte
	for _, p := range places {
		// Those to the question's first octet stand for the name asked for.
		if be16(a.buf[p:])&maxPointer > HeaderSize {
			moved = binary.LittleEndian.AppendUint16(moved, p-uint16(start))
		}
	}
	at := a.at()
	be, le := binary.BigEndian, binary.LittleEndian
	for _, v := range []uint16{1<<15 | r.Flags | r.Rcode, 1, r.Answer, r.Auth} {
		a.out = be.AppendUint16(a.out, v)
	}
	a.out = le.AppendUint16(le.AppendUint16(a.out, r.Extra), uint16(size))
	out := byte(0)
	if a.left {
		out = zone.OutLeft
	} else if r.links > 1 {
		out = zone.OutAlias
	}
	a.out = append(a.out, byte(len(section)-4), byte(len(moved)/2), r.class(), out)
	a.out = append(a.out, moved...)
	a.out = append(a.out, a.buf[start:r.w.n]...)
	return at
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

// at is the offset in the Zone of what is added next, or 0 if that cannot be.
func (a *adder) at() uint32 { return uint32(len(a.z) + len(a.out)) }

// class says what rate limiting counts an answer as.
func (r *Response) class() uint8 {
	switch {
	case r.Rcode == NXDomain:
		return zone.ClassNXDomain
	case r.Rcode != NoError:
		return zone.ClassError
	case r.Answer > 0:
		return zone.ClassData
	case r.Flags&FlagAA == 0:
		return zone.ClassReferral
	}
	return zone.ClassNoData
}
