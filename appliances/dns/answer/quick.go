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
	stamp uint64      // of cookies made now
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
	full    bool   // the cookie has the server's part
	edns    uint16 // 1: the query has an OPT record
	opt     uint64 // the first octets of that, as loaded
	options int    // bytes of the answer's options
	cookie  cookie // if there are options: what the client sent, or the stamp of now
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
	q.stamp = stampOf(q.seconds)
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
	q.options, q.edns, q.opt, q.do = 0, 0, 0, false
	if uint(q.size-1) >= zone.MaxName || question>>16 != classIN<<8 {
		return -1
	}
	if extra := le.Uint32(m[8:]); extra == 0 {
		if end != uint(n) {
			return -1
		}
	} else if extra != 1<<24 || !q.readOPT(m, n) {
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
		kind := answers.NewKind(o.zone.Class(a), o.hash^uint64(a))
		if q.options != 0 {
			return s.baked(q, m, (*[optSize + cookieOption]byte)(b[size:]), from, kind, size)
		}
		if size = s.guarded(q, m, from, kind, size); size == 0 {
			return 0
		}
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
	return min(max(int(bits.ReverseBytes16(uint16(q.opt>>24))), minUDP), s.udp, len(b))
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

// guarded is what limits make of an answer in m of size bytes: its size, or 0 if there is
// to be none.
func (s *Server) guarded(q *Scratch, m *zone.Message, from *Client, kind answers.Kind, size int) int {
	switch s.limiter.judge(from, kind, q.ticks) {
	case limitDrop:
		return 0
	case limitSlip:
		return zone.Truncate(m, q.size, q.edns)
	}
	return size
}

// baked is the rest of Quick where a cookie came, for an answer of size bytes in m with
// its OPT record at opt: who has a good cookie is not limited. It calls nothing in the
// usual case.
func (s *Server) baked(q *Scratch, m *zone.Message, opt *[optSize + cookieOption]byte, from *Client, kind answers.Kind, size int) int {
	e, good := &q.known[uint8(q.cookie.client)], q.full
	if !e.is(q, from, s.cookies.secrets.Load()) {
		good = e.learn(s.cookies, q, from)
	}
	if l := s.limiter; !good && l != nil && !l.first(l.hash(from, kind), q.ticks) {
		if size = s.guarded(q, m, from, kind, size); size == 0 {
			return 0
		} else if size < minUDP {
			opt = (*[optSize + cookieOption]byte)(m[size:]) // it may have been cut
		}
	}
	le := binary.LittleEndian
	le.PutUint64(opt[7:], cookieHeader)
	le.PutUint64(opt[:], le.Uint64(s.opt[:])|q.opt&ednsDO)
	e.put((*[fullCookie]byte)(opt[optSize+4:]))
	return size + optSize + cookieOption
}

// An OPT record's octets as loaded: what the first eight hold, and from the eighth octet
// on what an answer with a cookie has, and a query, but for the length of the cookie.
const (
	ednsFixed    = 0x00_ff_00_00_00_ff_ff_ff // owner, type and version
	ednsDO       = 1 << 63
	cookieHeader = fullCookie<<56 | optionCookie<<40 | cookieOption<<24
)

// cookieOption is the size of the option in an answer.
const cookieOption = 4 + fullCookie

// readOPT takes an OPT record of EDNS version 0 (RFC 6891 section 6.1.2), behind the
// question of the query b[:n], with a cookie at most.
func (q *Scratch) readOPT(b *zone.Message, n int) bool {
	// What stands behind a name always has room for it: see minRoom.
	end := headerSize + 4 + uint(uint8(q.size))
	o := (*[optSize + cookieOption]byte)(b[end:])
	w := binary.LittleEndian.Uint64(o[:])
	if w&ednsFixed != typeOPT<<16 {
		return false
	}
	q.edns, q.do, q.opt = 1, w&ednsDO != 0, w
	end += optSize
	if o[9]|o[10] == 0 {
		return end == uint(n)
	}
	switch q.full = false; binary.LittleEndian.Uint64(o[7:]) &^ 0xffff {
	default:
		return false
	case cookieHeader:
		q.full = true
		q.cookie.load(o[optSize+4:])
		end += fullCookie
	case clientCookie<<56 | optionCookie<<40 | (4+clientCookie)<<24:
		q.cookie.client, q.cookie.stamp = binary.LittleEndian.Uint64(o[optSize+4:]), q.stamp
		end += clientCookie
	}
	q.options = cookieOption
	return end+4 == uint(n)
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
