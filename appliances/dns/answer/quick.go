package answer

import (
	"encoding/binary"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
)

// minRoom is what Quick wants to be readable and writable behind the start of a
// message: the longest question, an OPT record, and what zone.Hash reads beyond.
const minRoom = 512

// origin is a place of the table of zones.
type origin struct {
	hash uint64
	zone zone.Zone // "": free
}

// zoneTable finds the zone that answers for a name: a hash table, at most half
// full.
type zoneTable struct {
	table  []origin
	mask   uint64
	labels [128]bool // numbers of labels that origins have
	most   int       // the highest of them
	count  int
	nested bool // one is below another
}

// Scratch is what Quick needs of memory: one for each goroutine that calls it.
type Scratch struct {
	size     int // octets of the question's name
	labels   int
	rrtype   uint16
	limit    int // bytes of the answer
	edns     int // 1: the query has an OPT record
	cookie   int // bytes of its cookie, at cookieAt
	cookieAt int
	do       bool
	name     zone.Folded
	hash     uint64     // of name
	start    [128]uint8 // of the name's labels
}

// Asked is the type of the query that Quick has answered, and whether it had DO.
func (q *Scratch) Asked() (rrtype uint16, do bool) { return q.rrtype, q.do }

// Quick answers the query b[:n] in place from what is ready, if it is a query as
// most are: b then holds the answer, and Quick returns its length, or 0 if there
// is to be none. A negative number says that Answer has to do it, and that b is as
// it was. An answer is not longer than b, and b is overwritten up to its end at
// most.
//
// The bytes are those that Answer would give for UDP.
func (s *Server) Quick(q *Scratch, b []byte, n int, from *Client) int {
	if len(b) < minRoom || !q.parse(b, n) {
		return -1
	}
	v := s.view.Load()
	z, origin := v.origins.find(q)
	if len(z) <= len(missing) {
		return -1
	}
	a := z.Answer(&q.name, q.size, q.labels, q.hash, q.rrtype, q.do)
	if a == 0 || z.Out(a) != 0 && v.origins.elsewhere(z.Out(a)) {
		return -1
	}
	limit := min(max(q.limit, minUDP), s.udp, len(b)) - q.edns*optSize
	if q.cookie != 0 {
		return s.baked(q, b, from, z, a, origin, limit)
	}
	if s.limiter != nil {
		if l := s.limiter.judge(from, answers.NewKind(z.Class(a), origin^uint64(a)), s.now); l != limitPass {
			return s.limited(l, q, b, z, a)
		}
	}
	size := z.Put(a, b, q.size, limit, b[2]&(flagRD>>8), uint16(q.edns))
	if size == 0 {
		return -1
	}
	return s.finishQuick(q, b, size)
}

// limited is what becomes of an answer above the rate.
func (s *Server) limited(verdict int, q *Scratch, b []byte, z zone.Zone, a zone.Answer) int {
	if verdict == limitDrop {
		return 0
	}
	return s.finishQuick(q, b, z.PutTruncated(a, b, q.size, b[2]&(flagRD>>8), uint16(q.edns)))
}

// finishQuick appends the OPT record to an answer in b of size bytes.
func (s *Server) finishQuick(q *Scratch, b []byte, size int) int {
	if q.edns != 0 {
		opt := (*[optSize]byte)(b[size:])
		*opt = s.opt
		if q.do {
			opt[7] = 0x80
		}
		size += optSize
	}
	return size
}

// baked is the rest of Quick where a cookie came: who has a good one is not
// limited.
func (s *Server) baked(q *Scratch, b []byte, from *Client, z zone.Zone, a zone.Answer, origin uint64, limit int) int {
	const option = 4 + fullCookie
	var cookie [option]byte
	room, good := 0, false
	if s.cookies != nil && *from != (Client{}) {
		room = option
	}
	if headerSize+q.size+4+z.Size(a) > limit-room {
		return -1
	}
	if room > 0 {
		cookie = [option]byte{1: optionCookie, 3: fullCookie}
		good = s.cookies.answer((*[fullCookie]byte)(cookie[4:]), b[q.cookieAt:][:q.cookie], from, s.seconds())
	}
	size := 0
	if !good && s.limiter != nil {
		v := s.limiter.judge(from, answers.NewKind(z.Class(a), origin^uint64(a)), s.now)
		if v != limitPass {
			if size = s.limited(v, q, b, z, a); size == 0 {
				return 0
			}
		}
	}
	if size == 0 {
		size = s.finishQuick(q, b, z.Put(a, b, q.size, limit-room, b[2]&(flagRD>>8), uint16(q.edns)))
	}
	if room > 0 {
		b[size-1] = option
		size += copy(b[size:], cookie[:])
	}
	return size
}

// parse takes a query of one question of class IN, whose answer depends on
// nothing but what q has. Whatever is unusual is refused.
func (q *Scratch) parse(b []byte, n int) bool {
	const head = 0x0000_0100_0000_0000 // one question, no answer
	const ignored = 0x0000_0000_30_01_ffff
	if n < headerSize+5 || n > minRoom-zone.Tail {
		return false
	}
	b = b[:minRoom]
	if binary.LittleEndian.Uint64(b)&^ignored != head {
		return false
	}
	at, labels := headerSize, 0
	for l := int(b[at]); l != 0; l = int(b[at]) {
		q.start[labels&127] = uint8(at - headerSize)
		labels++
		if at += 1 + l; l > zone.MaxLabel || at > n-5 {
			return false
		}
	}
	q.labels, q.cookie = labels, 0
	q.size = at + 1 - headerSize
	question := binary.BigEndian.Uint32(b[at+1:])
	q.rrtype = uint16(question >> 16)
	if q.size > zone.MaxName || uint16(question) != classIN ||
		q.rrtype-128 < 128 || q.rrtype == 0 || q.rrtype == typeOPT {
		return false
	}
	q.start[q.labels&127] = uint8(q.size - 1)
	q.hash = q.name.Set(b, headerSize, q.size)
	switch binary.LittleEndian.Uint32(b[8:]) {
	case 0:
		q.limit, q.edns, q.do = 0, 0, false
		return at+5 == n
	case 1 << 24:
		return at+5+optSize <= n && q.opt(b, at+5, n)
	}
	return false
}

// opt takes an OPT record of EDNS version 0 (RFC 6891 section 6.1.2), at b[at:] up
// to n, with a cookie at most.
func (q *Scratch) opt(b []byte, at, n int) bool {
	o := b[at : at+optSize]
	if o[0] != 0 || o[1] != 0 || o[2] != typeOPT || o[6] != 0 || o[9] != 0 || at+optSize+int(o[10]) != n {
		return false
	}
	q.limit = int(o[3])<<8 | int(o[4])
	q.edns = 1
	q.do = o[7]&0x80 != 0
	if o[10] == 0 {
		return true
	}
	c := b[at+optSize : at+optSize+4]
	if c[0] != 0 || c[1] != optionCookie || c[2] != 0 || c[3] != o[10]-4 || c[3] != clientCookie && c[3] != fullCookie {
		return false
	}
	q.cookie, q.cookieAt = int(c[3]), at+optSize+4
	return true
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
		o.table[at] = origin{h, z}
		o.labels[n.Labels()] = true
		o.most = max(o.most, n.Labels())
		for i := 1; i <= n.Labels(); i++ {
			_, above := zones[string(n.Bytes(i))]
			o.nested = o.nested || above
		}
	}
	return o
}

// find returns the zone with the longest origin at or above the name of q, and
// that origin's hash, or "".
// It goes by the hash alone: what is found in the zone is compared. For DS at an
// origin it is "", since that may belong to the zone above.
func (o *zoneTable) find(q *Scratch) (zone.Zone, uint64) {
	for k := min(q.labels, o.most); k >= 0; k-- {
		if !o.labels[k&127] {
			continue
		}
		from := int(q.start[(q.labels-k)&127])
		h := q.name.Hash(from, q.size-from)
		for at := h & o.mask; ; at = (at + 1) & o.mask {
			e := &o.table[at]
			if e.zone == "" {
				break
			}
			if e.hash == h {
				if from == 0 && q.rrtype == typeDS {
					return "", 0
				}
				return e.zone, h
			}
		}
	}
	return "", 0
}

// elsewhere says whether an alias in an answer may lead to another zone that is
// here.
func (o *zoneTable) elsewhere(out uint8) bool {
	return o.nested || out == zone.OutLeft && o.count > 1
}
