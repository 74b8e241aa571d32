package dnsd

import (
	"encoding/binary"
	"sync/atomic"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry/metrics"
)

// A way is how queries come: each is counted by itself.
type way uint8

const (
	overQuick way = iota // UDP, answered in the driver's buffer
	overUDP              // UDP, answered by the stack
	overTCP
	overTLS
	ways
)

// counts are what is counted of one way. The words of overQuick are changed by the
// receiving goroutine alone, by plain additions: counting is to cost next to
// nothing there. Those of the others are guarded by countMu.
type counts struct {
	types             [2][256]uint64 // queries of IPv6 and of IPv4, by type's slot
	rcodes            [32]uint64     // answers
	do                uint64         // queries with DO
	silent            uint64         // queries without an answer: above the rate, or not to be answered
	request, response metrics.Sizes
	took              metrics.Times // not of overQuick
}

// slot is where queries of a type are counted: below 128 and 255 at its number, all
// others at 128, but for those of a few types.
func slot(rrtype uint16) uint8 {
	if rrtype < 256 {
		return uint8(rrtype)
	}
	switch rrtype {
	case 256:
		return slotURI
	case 257:
		return slotCAA
	}
	return slotOther
}

// Slots in the range of types that are questions about the server (RFC 6895,
// section 3.1), most of which nobody has.
const (
	slotOther = 128
	slotURI   = 129
	slotCAA   = 130
)

// quick counts a query answered by answer.Quick.
func (c *counts) quick(q *answer.Scratch, v4 bool, b []byte, n, size int) {
	rrtype, do := q.Asked()
	family := 0
	if v4 {
		family = 1
	}
	c.types[family][slot(rrtype)]++
	if do {
		c.do++
	}
	c.request.Add(n)
	if size == 0 {
		c.silent++
		return
	}
	c.rcodes[b[3]&15]++
	c.response.Add(size)
}

// slow counts any other query, msg, its answer, and how long that took in ns.
func (s *server) slow(w way, v4 bool, msg, out []byte, took int64) {
	rrtype, do := asked(msg)
	family := 0
	if v4 {
		family = 1
	}
	s.countMu.Lock()
	defer s.countMu.Unlock()
	c := &s.counts[w]
	c.types[family][slot(rrtype)]++
	if do {
		c.do++
	}
	c.request.Add(len(msg))
	c.took.Add(took)
	if len(out) < 12 {
		c.silent++
		return
	}
	c.rcodes[rcode(out)]++
	c.response.Add(len(out))
}

// asked reads the type of a query and whether it has DO, as far as it has them.
func asked(msg []byte) (rrtype uint16, do bool) {
	at := 12
	for at < len(msg) && msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	if at += 5; at > len(msg) {
		return 0, false
	}
	// The OPT record stands right behind the question, if it is the only one.
	if at+11 <= len(msg) && msg[at] == 0 && msg[at+1] == 0 && msg[at+2] == 41 {
		do = msg[at+7]&0x80 != 0
	}
	return binary.BigEndian.Uint16(msg[at-4:]), do
}

// rcode reads the rcode of an answer, with its upper bits where they matter: those
// of errors, which have an OPT record right behind the question.
func rcode(out []byte) int {
	low := int(out[3] & 15)
	at := 12
	if binary.BigEndian.Uint32(out[6:]) != 0 {
		return low
	}
	if out[5] != 0 {
		for at < len(out) && out[at] != 0 {
			at += 1 + int(out[at])
		}
		at += 5
	}
	if at+11 <= len(out) && out[at] == 0 && out[at+1] == 0 && out[at+2] == 41 {
		return (low | int(out[at+5])<<4) & 31
	}
	return low
}

// Collector is a Peering that counts too.
type Collector interface {
	Collect(*metrics.Writer)
}

// Readier is a Peering that may not be ready to serve.
type Readier interface {
	// Missing says what is missing, or "".
	Missing() string
}

// manage tells the management plane about the server.
func (s *server) manage(p plane.Plane) {
	p.Collect(s.collect)
	if c, ok := s.peers.(Collector); ok {
		p.Collect(c.Collect)
	}
	if r, ok := s.peers.(Readier); ok {
		p.Ready(r.Missing)
	}
}

func load(p *uint64) uint64 { return atomic.LoadUint64(p) }
