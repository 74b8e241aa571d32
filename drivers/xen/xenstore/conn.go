package xenstore

import (
	"encoding/binary"
	"slices"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/format"
)

// Bounds of the requests under way: those of one batch, and replies that nobody
// waits for any more.
const (
	maxBatch = 16
	maxLate  = 16
)

// message is one that the store sent. body is valid until the next call of next.
type message struct {
	typ, id uint32
	body    []byte
}

// conn is the wire: it moves bytes between its buffers and the page, and checks
// what the store sends. It neither waits nor allocates. Indexes are kept here
// and never read back from the page.
type conn struct {
	gate xen.Gate
	line xen.Line

	reqProd uint32
	out     [abi.StoreHeaderSize + abi.StorePayloadMax]byte
	outLen  int // bytes of the request in out
	outSent int // of those, bytes in the ring

	rspCons uint32
	in      [abi.StoreHeaderSize + abi.StorePayloadMax]byte
	have    int // bytes of the message being put together

	id     uint32 // of the last request
	asked  [maxBatch + maxLate]asked
	nAsked int // replies that are to come
	broken error
}

// asked is a request whose reply is to come. A late one was given up.
type asked struct {
	id, typ uint32
	late    bool
}

// reset takes over the store's page as the store has it now: nothing is under
// way on either side.
func (c *conn) reset(line xen.Line) {
	c.line = line
	c.outLen, c.outSent, c.have = 0, 0, 0
	c.nAsked, c.broken = 0, nil
	p := line.Page
	c.rspCons = p.Load32(abi.StoreRspProd)
	p.Store32(abi.StoreRspCons, c.rspCons)
	c.reqProd = p.Load32(abi.StoreReqProd)
	if cons := p.Load32(abi.StoreReqCons); c.reqProd-cons > abi.StoreRing {
		c.reqProd = cons
		p.Store32(abi.StoreReqProd, cons)
	}
}

// fail puts the connection out of use. The first reason stays.
func (c *conn) fail(reason string, args ...any) {
	if c.broken == nil {
		c.broken = format.Errorf("%w: %w", ErrBroken, format.Errorf(reason, args...))
	}
}

// begin makes a request of parts. The one before must have been sent, and no more
// than maxBatch may be under way.
func (c *conn) begin(typ, tx uint32, parts ...string) error {
	if c.broken != nil {
		return c.broken
	}
	n := abi.StoreHeaderSize
	for _, s := range parts {
		if len(s) > len(c.out)-n {
			return format.Errorf("%w: request of more than %d bytes", ErrArgument, abi.StorePayloadMax)
		}
		n += copy(c.out[n:], s)
	}
	c.id++
	for c.find(c.id) >= 0 {
		c.id++
	}
	le := binary.LittleEndian
	le.PutUint32(c.out[0:], typ)
	le.PutUint32(c.out[4:], c.id)
	le.PutUint32(c.out[8:], tx)
	le.PutUint32(c.out[12:], uint32(n-abi.StoreHeaderSize))
	c.outLen, c.outSent = n, 0
	c.asked[c.nAsked] = asked{id: c.id, typ: typ}
	c.nAsked++
	return nil
}

// abandon gives up the requests under way: their replies will be dropped.
func (c *conn) abandon() {
	for i := range c.nAsked {
		c.asked[i].late = true
	}
	if c.nAsked > maxLate {
		c.fail("%d requests were not answered", c.nAsked)
	}
}

// find is the place in asked of a request, or -1.
func (c *conn) find(id uint32) int {
	return slices.IndexFunc(c.asked[:c.nAsked], func(a asked) bool { return a.id == id })
}

// flush moves as much of the request to the ring as there is room for, and says
// whether that was all.
func (c *conn) flush() (done bool) {
	p := c.line.Page
	if c.broken != nil || c.outSent == c.outLen {
		return true
	}
	used := c.reqProd - p.Load32(abi.StoreReqCons)
	if used > abi.StoreRing {
		c.fail("request consumer is %d ahead", -int32(used))
		return true
	}
	n := min(abi.StoreRing-int(used), c.outLen-c.outSent)
	if n == 0 {
		return false
	}
	ring := p.Bytes()[abi.StoreReq : abi.StoreReq+abi.StoreRing]
	from := c.out[c.outSent : c.outSent+n]
	k := copy(ring[c.reqProd%abi.StoreRing:], from)
	copy(ring, from[k:])
	c.outSent += n
	c.reqProd += uint32(n)
	p.Store32(abi.StoreReqProd, c.reqProd)
	c.gate.Notify(c.line.Port)
	return c.outSent == c.outLen
}

// fill moves bytes from the ring until a message has want bytes, as far as they
// are there, and says whether it has.
func (c *conn) fill(want int) bool {
	if c.have >= want {
		return true
	}
	p := c.line.Page
	n := p.Load32(abi.StoreRspProd) - c.rspCons
	if n > abi.StoreRing {
		c.fail("response index jumped by %d", n)
		return false
	}
	if n == 0 {
		return false
	}
	k := min(int(n), want-c.have)
	ring := p.Bytes()[abi.StoreRsp : abi.StoreRsp+abi.StoreRing]
	to := c.in[c.have : c.have+k]
	to = to[copy(to, ring[c.rspCons%abi.StoreRing:]):]
	copy(to, ring)
	c.have += k
	before := c.rspCons
	c.rspCons += uint32(k)
	p.Store32(abi.StoreRspCons, c.rspCons)
	// The store waits for an event only when it found the ring full.
	if p.Load32(abi.StoreRspProd)-before >= abi.StoreRing {
		c.gate.Notify(c.line.Port)
	}
	return c.have == want
}

// next takes the next whole message, if there is one: the reply to the request
// under way, or an event.
func (c *conn) next() (m message, ok bool) {
	for c.broken == nil && c.fill(abi.StoreHeaderSize) {
		le := binary.LittleEndian
		m.typ, m.id = le.Uint32(c.in[0:]), le.Uint32(c.in[4:])
		n := le.Uint32(c.in[12:])
		if n > abi.StorePayloadMax {
			c.fail("message of type %d is of %d bytes", m.typ, n)
			break
		}
		if !c.fill(abi.StoreHeaderSize + int(n)) {
			break
		}
		m.body = c.in[abi.StoreHeaderSize : abi.StoreHeaderSize+int(n)]
		c.have = 0
		if c.wanted(m) {
			return m, true
		}
	}
	return message{}, false
}

// wanted checks a message, and says whether anyone wants it.
func (c *conn) wanted(m message) bool {
	if m.typ == abi.StoreWatchEvent {
		return true
	}
	i := c.find(m.id)
	if i < 0 || m.id == c.id && c.outSent < c.outLen {
		c.fail("reply of type %d to %d, which was not asked", m.typ, m.id)
		return false
	}
	a := c.asked[i]
	c.nAsked--
	c.asked[i] = c.asked[c.nAsked]
	if m.typ != a.typ && m.typ != abi.StoreError {
		c.fail("reply of type %d to a request of type %d", m.typ, a.typ)
		return false
	}
	return !a.late
}
