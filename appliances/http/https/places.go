package https

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"ampoule/libos/mgmt/door"
)

// Connections whose handshake was not made have places of their own, so that they take
// none from those that are used: one more ends another of them. A source (see
// door.Source) that has most of them gives way first, then who has sent nothing, then
// the oldest.
//
// A place among the others is only had for a handshake, and these are rationed, by
// source, too. Who has been silent for longest gives way: one of a source that has
// more than half of all places, if there is such, or of all.

// Bounds of the places for handshakes: an eighth of those of connections.
const (
	fewestStrangers = 16
	mostStrangers   = 256
)

// places are connections; the listener's mu guards them.
type places struct {
	conns map[*conn]struct{}
	from  map[netip.Prefix]int // how many there are of a source
}

func newPlaces() places { return places{map[*conn]struct{}{}, map[netip.Prefix]int{}} }

func (p *places) add(c *conn) {
	p.conns[c] = struct{}{}
	p.from[c.under.source]++
}

// remove says whether c was there.
func (p *places) remove(c *conn) bool {
	if _, ok := p.conns[c]; !ok {
		return false
	}
	delete(p.conns, c)
	if p.from[c.under.source]--; p.from[c.under.source] == 0 {
		delete(p.from, c.under.source)
	}
	return true
}

// enter gives a newcomer a place among the strangers.
func (l *listener) enter(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	c.number = l.count
	p := &l.strangers
	p.add(c)
	if len(p.conns) > min(max(l.cfg.Connections/8, fewestStrangers), mostStrangers) {
		l.end(p, p.first(c, func(a, b *conn) bool {
			if x, y := p.from[a.under.source], p.from[b.under.source]; x != y {
				return x > y
			}
			if a.under.spoke != b.under.spoke {
				return b.under.spoke
			}
			return a.number < b.number
		}))
	}
	if l.gone {
		c.under.Close()
	}
}

// settle gives a connection a place for good, as its handshake was made; false: it has
// given way meanwhile.
func (l *listener) settle(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.strangers.remove(c) {
		return false
	}
	c.active.Store(time.Now().UnixNano())
	p := &l.conns
	p.add(c)
	if len(p.conns) > l.cfg.Connections {
		l.end(p, p.first(c, func(a, b *conn) bool {
			x, y := 2*p.from[a.under.source] > l.cfg.Connections, 2*p.from[b.under.source] > l.cfg.Connections
			if x != y {
				return x
			}
			return a.active.Load() < b.active.Load()
		}))
	}
	return true
}

// first is the first of all but one, of which there is another.
func (p *places) first(but *conn, before func(a, b *conn) bool) (out *conn) {
	for c := range p.conns {
		if c != but && (out == nil || before(c, out)) {
			out = c
		}
	}
	return out
}

// end ends a connection to make room.
func (l *listener) end(p *places, c *conn) {
	p.remove(c)
	c.under.Close()
	l.ended.Add(1)
}

// leave gives the place of c back, if it has one.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.strangers.remove(c) || l.conns.remove(c)
}

// ration is of handshakes that begin in a second.
type ration struct {
	since time.Time
	begun int
	from  map[netip.Prefix]int
}

// take says whether one may begin, of a source that has no more than half of most.
func (r *ration) take(source netip.Prefix, most int, now time.Time) bool {
	if age := now.Sub(r.since); r.from == nil || age >= time.Second || age < 0 {
		*r = ration{since: now, from: map[netip.Prefix]int{}}
	}
	if r.begun >= most || r.from[source] >= (most+1)/2 {
		return false
	}
	r.begun++
	r.from[source]++
	return true
}

var errMemory = errors.New("https: no memory")

var errRefused = errors.New("https: too many handshakes")

// underneath is the listener under TLS.
type underneath struct {
	net.Listener
	l *listener
}

func (u underneath) Accept() (net.Conn, error) {
	c, err := u.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &under{Conn: c, l: u.l, source: door.Source(c.RemoteAddr())}, nil
}

// under is the connection under one with TLS.
type under struct {
	net.Conn
	l      *listener
	source netip.Prefix
	heard  bool // as spoke; of who reads
	spoke  bool // the client has sent something; l.mu guards it

	busy    atomic.Bool  // it has one of l.work
	writing atomic.Int64 // when the write began that is under way, ns since 1970; 0: none is
}

// maxBusy is how many connections are between what they have read and what they write of
// it. Others wait with what they have: each of these has looked whether there is memory
// before it took any, and the scheduler may stop it in between. None of them waits for its
// client: while a write is under way a connection is not busy, whatever it reads, as what
// it has read may have to wait for that write.
const maxBusy = 4

// toil waits until the connection may go on with what it has read.
func (u *under) toil() {
	if u.busy.CompareAndSwap(false, true) {
		u.l.work <- struct{}{}
	}
}

// rest says that it has nothing more to do at once.
func (u *under) rest() {
	if u.busy.CompareAndSwap(true, false) {
		<-u.l.work
	}
}

// Close implements net.Conn.
func (u *under) Close() error {
	u.rest()
	return u.Conn.Close()
}

// stuck says whether a write that is under way waits for the client, where the connection
// can tell that.
func (u *under) stuck() bool {
	c, ok := u.Conn.(interface{ Stuck() bool })
	return !ok || c.Stuck()
}

// afford waits for memory for what the client has asked for or is sent. Without any the
// connection ends: a request of a few octets may be one for much.
func (u *under) afford() error {
	if u.l.memory.Gate() {
		return nil
	}
	u.abort()
	return errMemory
}

// abort resets the connection, if that is possible: what waits to be sent is garbage then.
func (u *under) abort() {
	if a, ok := u.Conn.(interface{ Abort() }); ok {
		a.Abort()
	}
	u.Conn.Close()
}

// Write implements net.Conn, and says since when the client takes nothing.
func (u *under) Write(b []byte) (int, error) {
	if err := u.afford(); err != nil {
		return 0, err
	}
	u.writing.Store(time.Now().UnixNano())
	u.rest() // after that, as Read may begin to toil meanwhile
	n, err := u.Conn.Write(b)
	u.writing.Store(0)
	return n, err
}

// Read implements net.Conn. With the first octets the handshake begins, if it may.
func (u *under) Read(b []byte) (int, error) {
	u.rest()
	n, err := u.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	u.toil()
	if err := u.afford(); err != nil {
		return 0, err
	}
	if u.writing.Load() != 0 {
		u.rest()
	}
	if u.heard {
		return n, err
	}
	u.heard = true
	u.l.mu.Lock()
	defer u.l.mu.Unlock()
	u.spoke = true
	if u.l.memory.Tight() || !u.l.ration.take(u.source, u.l.cfg.Handshakes, time.Now()) {
		u.l.refused.Add(1)
		u.Conn.Close()
		return 0, errRefused
	}
	return n, err
}
