package dnsd

import (
	"encoding/binary"
	"sync/atomic"

	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry/metrics"
)

// A way is how queries come: each is counted by itself.
type way uint8

const (
	overUDP way = iota
	overTCP
	overTLS
	ways
)

// quickCounts are what is counted of queries answered in the driver's buffer: by
// the receiving goroutine alone, in plain words, as counting is to cost next to
// nothing there. Sizes of queries are not counted: they tell nothing.
type quickCounts struct {
	queries [4 << 8]uint64  // by type's slot, then 1<<8 for IPv4, 1<<9 for DO
	answers [32 << 4]uint64 // by rcode, and by size in steps of 64 bytes from 1<<4 on
	bytes   uint64          // of answers
	silent  uint64          // queries without an answer
}

// key is where in queries one is counted.
func key(rrtype uint16, do, v4 bool) uint {
	at := uint(slot(rrtype))
	if do {
		at |= 1 << 9
	}
	if v4 {
		at |= 1 << 8
	}
	return at & (4<<8 - 1)
}

// answer counts the answer b of size bytes, above 0.
func (c *quickCounts) answer(b []byte, size int) {
	c.answers[(uint(size)>>6<<4|uint(b[3]&15))&(32<<4-1)]++
	c.bytes += uint64(size)
}

// counts are what is counted of one way, but for that.
type counts struct {
	types    [2][256]uint64 // queries of IPv6 and of IPv4, by type's slot
	rcodes   [32]uint64     // answers
	do       uint64         // queries with DO
	silent   uint64         // queries without an answer: above the rate, or not to be answered
	response metrics.Sizes
	took     metrics.Times // not of the quick ones
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

// addTo adds the counts to those of a way.
func (c *quickCounts) addTo(sum *counts) {
	for at := range c.queries {
		n := load(&c.queries[at])
		sum.types[at>>8&1][at&255] += n
		if at>>9 == 1 {
			sum.do += n
		}
	}
	for at := range c.answers {
		n := load(&c.answers[at])
		sum.rcodes[at&15] += n
		sum.response.AddMany(at>>4<<6, n) // sizes of a step have one bucket
	}
	sum.response.Sum += load(&c.bytes)
	sum.silent += load(&c.silent)
}

func load(p *uint64) uint64 { return atomic.LoadUint64(p) }
