package answer

import (
	"encoding/binary"
	"math/bits"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
)

// minRoom is what Quick wants to be readable and writable behind the start of a
// message: the longest question, an OPT record, and what zone.Octets reads beyond, or
// the shortest limit of an answer and what is overwritten behind it.
const minRoom = len(zone.Message{})

// origin is a place of the table of zones.
type origin struct {
	hash uint64
	zone zone.Zone // "": free
	// The last octets of the origin, for few: see zone.Octets.End.
	end, mask uint64
	labels    int // of the origin
}

// zoneTable finds the zone that answers for a name: a hash table, at most half
// full.
type zoneTable struct {
	table  []origin
	mask   uint64
	labels [128]bool // numbers of labels that origins have
	most   int       // the highest of them
	count  int
	nested bool      // one is below another
	few    []*origin // all that have content, those with few labels first, unless they are many or nested
}

// maxFew is up to how many zones are searched for a name without asking first which
// of them it is in.
const maxFew = 8

// Scratch is what Quick needs of memory: one for each goroutine that calls it.
type Scratch struct {
	asked
	moment
	known *known      // there if the server gives cookies
	name  zone.Octets // in lower case
	start [128]uint8  // of the name's labels
}

// asked is what an answer depends on.
type asked struct {
	size    int    // octets of the name
	hash    uint64 // of the name
	rrtype  uint16
	do      bool
	edns    uint16 // 1: the query has an OPT record
	limit   int    // bytes of the answer, as that says
	options int    // bytes of the answer's options
	cookie  cookie // if there are options: what the client sent
	full    bool   // with the server's part
}

// Asked is the type of the query that Quick has answered, and whether it had DO.
func (q *Scratch) Asked() (rrtype uint16, do bool) { return q.rrtype, q.do }

// Timed says whether answers depend on the time.
func (s *Server) Timed() bool { return s.limiter != nil || s.cookies != nil }

// Tell tells q the time, for the calls of Quick that follow. If the server is Timed
// that must have been done before the first, and again for each burst of queries.
func (s *Server) Tell(q *Scratch) {
	if q.known == nil && s.cookies != nil {
		q.known = new(known)
	}
	s.clock.read(&q.moment)
}

// Quick answers the query b[:n] in place from what is ready, if it is a query as
// most are: b then holds the answer, and Quick returns its length, or 0 if there
// is to be none. A negative number says that Answer has to do it, and that b is as
// it was. An answer is not longer than b, and b is overwritten up to its end at
// most.
//
// The bytes are those that Answer would give for UDP.
func (s *Server) Quick(q *Scratch, b []byte, n int, from *Client) int {
	if len(b) < minRoom {
		return -1
	}
	m := (*zone.Message)(b)
	le := binary.LittleEndian
	if le.Uint64(m[:])&^ignoredBits != plainQuery {
		return -1
	}
	name := (*zone.Octets)(m[headerSize:])
	q.size, q.hash = name.Read()
	end := headerSize + uint(q.size) + 4
	question := le.Uint32(m[end-4:])
	q.rrtype = bits.ReverseBytes16(uint16(question))
	q.options, q.edns, q.limit, q.do = 0, 0, 0, false
	if uint(q.size-1) >= zone.MaxName || question>>16 != classIN<<8 {
		return -1
	}
	if extra := le.Uint32(m[8:]); extra == 0 {
		if end != uint(n) {
			return -1
		}
	} else if extra != 1<<24 || !q.opt(m, end, n) {
		return -1
	} else if q.options != 0 && (s.cookies == nil || *from == Client{}) {
		q.options = 0
	}
	zones := &s.view.Load().origins
	o, a := zones.quickly(q, name)
	if o == nil {
		o, a = zones.apart(q, name)
	}
	if a == 0 || !zones.final(o.zone.Out(a)) {
		return -1
	}
	// What every client takes is less than any other limit.
	more := int(q.edns)*optSize + q.options
	size := o.zone.Put(a, m, q.size, minUDP-more, q.edns)
	if size == 0 {
		if size = o.zone.PutLong(a, b, q.size, s.room(q, b)-more, q.edns); size == 0 {
			return -1
		}
	}
	if q.options != 0 || s.limiter != nil {
		return s.guarded(q, b, from, answers.NewKind(o.zone.Class(a), o.hash^uint64(a)), size)
	}
	if q.edns != 0 {
		size = s.finishQuick(q, b, size)
	}
	return size
}

// The first eight octets of a query of one question, as they are loaded, and bits
// that may have any value: the identifier, RD, AD and CD.
const (
	plainQuery  = 0x0000_0100_0000_0000
	ignoredBits = 0x0000_0000_30_01_ffff
)

// room returns how long an answer in b may be.
func (s *Server) room(q *Scratch, b []byte) int {
	return min(max(q.limit, minUDP), s.udp, len(b))
}

// finishQuick appends the OPT record to an answer in b of size bytes.
func (s *Server) finishQuick(q *Scratch, b []byte, size int) int {
	opt := (*[optSize]byte)(b[size:])
	*opt = s.opt
	if q.do {
		opt[7] = 0x80
	}
	return size + optSize
}

// guarded is the rest of Quick for an answer in b of size bytes where answers are
// limited or a cookie came: who has a good one is not limited.
func (s *Server) guarded(q *Scratch, b []byte, from *Client, kind answers.Kind, size int) int {
	good := q.options != 0 && q.known.answer(s.cookies, q, from)
	if !good && s.limiter != nil {
		if v := s.limiter.judge(from, kind, q.ticks); v == limitDrop {
			return 0
		} else if v == limitSlip {
			size = zone.Truncate((*zone.Message)(b), q.size, q.edns)
		}
	}
	if q.options == 0 {
		if q.edns != 0 {
			size = s.finishQuick(q, b, size)
		}
		return size
	}
	opt := (*[optSize + cookieOption]byte)(b[size:])
	*(*[optSize]byte)(opt[:]) = s.opt
	if q.do {
		opt[7] = 0x80
	}
	opt[optSize-1] = cookieOption
	binary.LittleEndian.PutUint32(opt[optSize:], cookieHeader|fullCookie<<24)
	q.cookie.put((*[fullCookie]byte)(opt[optSize+4:]))
	return size + optSize + cookieOption
}

// The option in an answer: its size, and its first octets as loaded, without the
// length.
const (
	cookieOption = 4 + fullCookie
	cookieHeader = optionCookie << 8
)

// opt takes an OPT record of EDNS version 0 (RFC 6891 section 6.1.2) at b[at:], where
// the question ends, up to b[:n], with a cookie at most.
func (q *asked) opt(b *zone.Message, end uint, n int) bool {
	const (
		fixed = 0x00_ff_00_00_00_ff_ff_ff // owner, type and version
		do    = 1 << 63
	)
	// What stands behind a name always has room for it: see minRoom.
	o := (*[optSize + cookieOption]byte)(b[end:])
	w, length := binary.LittleEndian.Uint64(o[:]), o[10]
	if w&fixed != typeOPT<<16 || o[9] != 0 || int(end)+optSize+int(length) != n {
		return false
	}
	q.edns, q.do = 1, w&do != 0
	q.limit = int(bits.ReverseBytes16(uint16(w >> 24)))
	if length == 0 {
		return true
	}
	switch binary.LittleEndian.Uint32(o[optSize:]) {
	case cookieHeader | clientCookie<<24:
		q.full = false
	case cookieHeader | fullCookie<<24:
		q.full = true
	default:
		return false
	}
	if length != 4+o[optSize+3] {
		return false
	}
	q.options = cookieOption
	q.cookie.load(o[optSize+4:])
	return true
}

// quickly finds the answer to q, whose name is in any case, and the zone that it is
// of, where the zones are few and have the name. nil: they are not, or have not.
func (o *zoneTable) quickly(q *Scratch, name *zone.Octets) (*origin, zone.Answer) {
	end := name.End(q.size)
	for _, e := range o.few {
		if (end^e.end)&e.mask != 0 {
			continue
		}
		if n := e.zone.Search(name, 0, q.size, q.hash); n != zone.None {
			return e, e.zone.Listed(n, q.rrtype, q.do)
		}
	}
	return nil, 0
}

// apart does the same for any zones and names. The answer is 0 if the server has to
// make it, and the zone then nil if there is none.
func (o *zoneTable) apart(q *Scratch, name *zone.Octets) (*origin, zone.Answer) {
	labels := q.labels(name)
	if labels < 0 {
		return nil, 0
	}
	e := o.find(q, labels)
	if e == nil || e.zone == missing {
		return nil, 0
	}
	if n := e.zone.Search(name, 0, q.size, q.hash); n != zone.None {
		return e, e.zone.Listed(n, q.rrtype, q.do)
	}
	return e, e.zone.Absent(&q.name, q.size, labels, q.rrtype, q.do)
}

// labels takes the name apart: it fills q.name and q.start and returns the number of
// labels, or -1 if that is no name of q.size octets.
func (q *Scratch) labels(name *zone.Octets) int {
	q.name.Lower(name, q.size)
	at, labels := 0, 0
	for l := int(q.name[0]); l != 0; l = int(q.name[at]) {
		q.start[labels&127] = uint8(at)
		labels++
		if at += 1 + l; l > zone.MaxLabel || at >= q.size {
			return -1
		}
	}
	q.start[labels&127] = uint8(at)
	if at != q.size-1 {
		return -1
	}
	return labels
}

// newZoneTable makes the table of zones whose origins differ.
func newZoneTable(zones map[string]zone.Zone) zoneTable {
	size := 2
	for size < 2*len(zones) {
		size *= 2
	}
	o := zoneTable{table: make([]origin, size), mask: uint64(size - 1), count: len(zones)}
	for name, z := range zones {
		var n zone.Name
		zone.Set(&n, name) // New has seen that it is one
		h := n.Hash(0)
		at := h & o.mask
		for o.table[at].zone != "" {
			at = (at + 1) & o.mask
		}
		mask := ^uint64(0) << (max(0, 8-n.Size(0)) * 8)
		o.table[at] = origin{h, z, n.Octets().End(n.Size(0)), mask, n.Labels()}
		if z != missing {
			o.addFew(&o.table[at])
		}
		o.labels[n.Labels()] = true
		o.most = max(o.most, n.Labels())
		for i := 1; i <= n.Labels(); i++ {
			_, above := zones[string(n.Bytes(i))]
			o.nested = o.nested || above
		}
	}
	if o.nested || len(o.few) > maxFew {
		o.few = nil
	}
	return o
}

// addFew adds to few, if they are not too many already: zones of addresses, which are
// asked for less, have longer origins.
func (o *zoneTable) addFew(e *origin) {
	if len(o.few) > maxFew {
		return
	}
	o.few = append(o.few, e)
	for i := len(o.few) - 1; i > 0 && o.few[i-1].labels > e.labels; i-- {
		o.few[i-1], o.few[i] = o.few[i], o.few[i-1]
	}
}

// find returns the zone with the longest origin at or above the name of q, which has
// so many labels, or nil. It goes by the hash alone: what is found in the zone is
// compared.
func (o *zoneTable) find(q *Scratch, labels int) *origin {
	for k := min(labels, o.most); k >= 0; k-- {
		if !o.labels[k&127] {
			continue
		}
		from := int(q.start[(labels-k)&127])
		h := q.name.Hash(from, q.size-from)
		for at := h & o.mask; ; at = (at + 1) & o.mask {
			e := &o.table[at]
			if e.zone == "" {
				break
			}
			if e.hash == h {
				return e
			}
		}
	}
	return nil
}

// final says whether an answer holds whatever other zones are here, by what it says
// of aliases.
func (o *zoneTable) final(out uint8) bool {
	return out == 0 || !o.nested && (out != zone.OutLeft || o.count == 1)
}
