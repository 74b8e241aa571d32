package httpd

import (
	"net"
	"sync/atomic"

	"ampoule/libos/netif"
)

// wire is a connection that can be served without waiting: *netif.Conn.
type wire interface {
	net.Conn
	CloseWrite() error
	TryRead(b []byte) (int, error)
	TryWrite(all [][]byte) (int, error)
	SendFrom(k *netif.Constant)
	Watch(f func())
	Abort()
}

// conn is a connection that events serves. All but what is ready's and its atomic
// fields is for that goroutine alone. While it is idle it holds nothing beside.
type conn struct {
	wire
	s *server
	// Of ready.
	next    *conn
	queued  bool
	twice   bool         // more has happened since
	again   bool         // twice, when it was taken from ready
	due     atomic.Int64 // the tick at which its time is over
	late    atomic.Bool  // it is
	over    atomic.Bool  // it has been dismissed: its end is no news
	stalled atomic.Int64 // the tick since when there is rest, or a part of a request; or 0

	in    []byte   // the beginning of a request, or what had to wait for rest
	seen  int      // of in: what holds no whole request
	rest  [][]byte // of responses: what there was no room for yet
	piece int      // octets of rest that were written since due was set
	begun bool     // due is for a request that has begun
	last  bool     // there will be no further response
	left  int      // octets that are still taken behind the last one; 0: not there yet
}

// wakeUp has c looked at. It does not block.
func (c *conn) wakeUp() {
	if !c.over.Load() {
		c.s.ready.push(c)
	}
}

// watch begins to serve a connection.
func (s *server) watch(w wire) {
	c := &conn{wire: w, s: s}
	c.due.Store(s.clock.after(s.Idle))
	if s.admit(w, c) {
		w.SendFrom(s.constant)
		w.Watch(c.wakeUp)
	}
}

// guarded is c.turn; a panic costs that connection alone.
func (s *server) guarded(c *conn, x *exchange, b []byte) (lives bool) {
	defer func() {
		if p := recover(); p != nil {
			lives = false
			s.caught(p, c)
		}
	}()
	return c.turn(x, b)
}

// turn does what there is to do, and says whether the connection lives on.
func (c *conn) turn(x *exchange, b []byte) bool {
	if c.late.Swap(false) && c.due.Load() <= c.s.clock.ticks.Load() {
		c.s.expired(c)
		if len(c.rest) > 0 {
			c.Abort() // or the stack would go on trying
		}
		if !c.begun || c.last || len(c.rest) > 0 {
			return false
		}
		x.out = x.out[:0]
		return c.after(c.s.fail(x, c, 408))
	}
	waited := len(c.rest) > 0
	if waited && !c.drain() {
		return false
	}
	if len(c.rest) > 0 {
		return true
	}
	if c.last {
		return c.linger(b)
	}
	had := copy(b, c.in)
	n := 0
	if waited && had > 0 {
		c.again = true // what waited comes before what is new
	} else {
		var err error
		if n, err = c.TryRead(b[had:]); n == 0 {
			return err == nil
		}
	}
	b = b[:had+n]
	x.out = x.out[:0]
	done, seen, o := c.s.answer(x, c, b, c.seen)
	if o != goesOn {
		return c.after(o)
	}
	c.keep(b[done:], seen, done > 0)
	if had+n == headSize && len(c.rest) == 0 {
		c.wakeUp() // there may be more than b had room for
	}
	return true
}

// after is what follows the last response.
func (c *conn) after(o outcome) bool {
	if o == broken {
		return false
	}
	c.last, c.in = true, nil
	if len(c.rest) > 0 {
		return true
	}
	return c.finish()
}

// keep keeps the part of a request that has come, and sets its time.
func (c *conn) keep(b []byte, seen int, fresh bool) {
	clock := &c.s.clock
	c.seen = seen
	if len(b) == 0 {
		c.in, c.begun = nil, false
		if len(c.rest) == 0 {
			c.stalled.Store(0)
			c.due.Store(clock.after(c.s.Idle))
		}
		return
	}
	c.in = append(c.in[:0], b...)
	if len(c.rest) == 0 && (!c.begun || fresh) {
		c.begun = true
		c.stalled.Store(clock.ticks.Load())
		c.due.Store(clock.after(c.s.Read))
	}
}

// full implements sink.
func (c *conn) full() bool { return len(c.rest) > 0 }

// write implements sink: what there is no room for is written by drain.
func (c *conn) write(all [][]byte, body bool) bool {
	n, err := c.TryWrite(all)
	if err != nil {
		return false
	}
	for i, p := range all {
		if n >= len(p) {
			n -= len(p)
			continue
		}
		p, n = p[n:], 0
		if i == 0 || !body || len(p) < longPart {
			p = append([]byte(nil), p...)
		}
		c.rest = append(c.rest, p)
	}
	if len(c.rest) > 0 {
		c.piece = 0
		c.due.Store(c.s.clock.after(c.s.Write))
		c.stalled.Store(c.s.clock.ticks.Load())
	}
	return true
}

// expired counts a connection whose time is over.
func (s *server) expired(c *conn) {
	n := s.counts
	switch {
	case n == nil || c.last && len(c.rest) == 0:
	case len(c.rest) > 0:
		n.late[lateWrite].Add(1)
	case c.begun:
		n.late[lateRead].Add(1)
	default:
		n.late[lateIdle].Add(1)
	}
}

// drain writes more of rest. Once all is written the time is that of a connection
// without a request.
func (c *conn) drain() bool {
	n, err := c.TryWrite(c.rest)
	if err != nil {
		return false
	}
	c.piece += n
	for len(c.rest) > 0 && n >= len(c.rest[0]) {
		n -= len(c.rest[0])
		c.rest[0] = nil
		c.rest = c.rest[1:]
	}
	switch {
	case len(c.rest) == 0:
		c.rest, c.begun = nil, false
		c.stalled.Store(0)
		c.due.Store(c.s.clock.after(c.s.Idle))
		if c.last {
			return c.finish()
		}
		return true
	case c.piece >= pieceSize:
		c.piece = 0
		c.due.Store(c.s.clock.after(c.s.Write))
		c.stalled.Store(c.s.clock.ticks.Load())
	}
	c.rest[0] = c.rest[0][n:]
	return true
}

// finish ends our half behind the last response.
func (c *conn) finish() bool {
	if c.CloseWrite() != nil {
		return false
	}
	c.left = lingerSize
	c.due.Store(c.s.clock.after(lingerTime))
	c.wakeUp()
	return true
}

// linger takes what a client sends behind the last response; see lingerSize.
func (c *conn) linger(b []byte) bool {
	for c.left > 0 {
		n, err := c.TryRead(b)
		if err != nil {
			return false
		}
		if n == 0 {
			return true
		}
		c.left -= n
	}
	return false
}
