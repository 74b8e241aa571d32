// Package door lets connections of a management listener in: how many are there at
// a time, and whose handshake begins next. It is for listeners that strangers can
// reach, where a handshake costs more than a thousand answers, and keeps a place
// for those who will turn out to be operators:
//
//   - Who has not authenticated gives way when all places are taken: first of the
//     source that has most such connections, then who has sent nothing, then the
//     oldest.
//   - Handshakes are rationed; one begins when the client has sent something, and
//     until then there is nothing to pay but the place. Whose source has begun fewest
//     goes first, and no source of strangers has more than half of them.
//   - Sources that somebody has authenticated from have a ration of their own, and
//     give way last.
//
// A source is an IPv4 address or a network of 64 bits of IPv6. Strangers from more
// sources than there are places can still keep a newcomer out for a while, but not
// somebody who comes from where an operator came from.
package door

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config of a Door.
type Config struct {
	Places int // for connections
	Rate   int // handshakes that may begin in a second; for known sources as many again
}

// remembered is how many known sources are kept.
const remembered = 64

// Errors of a connection that is not let in.
var (
	ErrFull    = errors.New("all connections are in use")
	ErrGaveWay = errors.New("gave way to another connection")
)

// Door is a listener's. Any goroutine may use it.
type Door struct {
	cfg Config
	now func() time.Time

	mu     sync.Mutex // guards what follows
	guests map[*Guest]struct{}
	count  uint64               // of all guests ever
	known  []netip.Prefix       // sources, the last to authenticate at the end
	begun  map[netip.Prefix]int // handshakes since filled
	used   [2]int               // of strangers, and of known sources
	filled time.Time
	timer  *time.Timer // runs while somebody waits for the next second; nil: none does
}

// New makes a Door. now is a clock that runs evenly.
func New(cfg Config, now func() time.Time) *Door {
	return &Door{cfg: cfg, now: now, guests: map[*Guest]struct{}{}, begun: map[netip.Prefix]int{}, filled: now()}
}

// Guest is a connection that has a place. The first Read that has something to
// return waits until the handshake may begin, however long; it returns ErrGaveWay
// when another connection has the place by then.
type Guest struct {
	net.Conn
	door   *Door
	source netip.Prefix
	number uint64 // by arrival
	spoken bool   // as spoke; of who reads

	// The door's mu guards what follows.
	spoke, known, gone bool
	waits              chan struct{} // closed when the handshake may begin; nil: it does not wait
}

// Enter gives a connection a place, if need be that of another one, which is closed.
// After ErrFull the connection is the caller's to close; else Leave must follow.
func (d *Door) Enter(c net.Conn) (*Guest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	g := &Guest{Conn: c, door: d, source: Source(c.RemoteAddr()), number: d.count}
	d.guests[g] = struct{}{}
	if len(d.guests) > d.cfg.Places {
		out := d.leastWelcome(g)
		if out == nil {
			delete(d.guests, g)
			return nil, ErrFull
		}
		d.leave(out)
		out.Conn.Close()
	}
	return g, nil
}

// Source is where an address belongs: itself, or of IPv6 its network of 64 bits.
func Source(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{} // one for all that are not known
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // which has so many bits
	return p
}

// leastWelcome is who has to go for newcomer, or nil: nobody.
func (d *Door) leastWelcome(newcomer *Guest) (out *Guest) {
	strangers := map[netip.Prefix]int{}
	for g := range d.guests {
		if !g.known {
			strangers[g.source]++
		}
	}
	for g := range d.guests {
		if g != newcomer && !g.known && (out == nil || d.less(g, out, strangers)) {
			out = g
		}
	}
	return out
}

// less says whether a is less welcome than b.
func (d *Door) less(a, b *Guest, strangers map[netip.Prefix]int) bool {
	if x, y := d.isKnown(a.source), d.isKnown(b.source); x != y {
		return y
	}
	if x, y := strangers[a.source], strangers[b.source]; x != y {
		return x > y
	}
	if a.spoke != b.spoke {
		return b.spoke
	}
	return a.number < b.number
}

func (d *Door) isKnown(s netip.Prefix) bool {
	for _, k := range d.known {
		if k == s {
			return true
		}
	}
	return false
}

// turns lets those begin whose turn it is; mu is held.
func (d *Door) turns() {
	now := d.now()
	if elapsed := now.Sub(d.filled); elapsed >= time.Second || elapsed < 0 {
		d.filled, d.used = now, [2]int{}
		clear(d.begun)
	}
	for {
		next, waiting := d.next()
		if next == nil {
			if waiting && d.timer == nil {
				d.timer = time.AfterFunc(d.filled.Add(time.Second).Sub(now), d.second)
			}
			return
		}
		if d.used[d.class(next)]++; d.class(next) == 0 {
			d.begun[next.source]++
		}
		close(next.waits)
		next.waits = nil
	}
}

// second is called when there are new handshakes to be had.
func (d *Door) second() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = nil
	d.turns()
}

// class is 0 for strangers and 1 for known sources, each of which has a ration.
func (d *Door) class(g *Guest) int {
	if d.isKnown(g.source) {
		return 1
	}
	return 0
}

// next is who may begin, if any; waiting says that somebody waits.
func (d *Door) next() (next *Guest, waiting bool) {
	for g := range d.guests {
		if g.waits == nil {
			continue
		}
		waiting = true
		class := d.class(g)
		if d.used[class] >= d.cfg.Rate || class == 0 && d.begun[g.source] >= (d.cfg.Rate+1)/2 {
			continue
		}
		if next == nil || d.begun[g.source] < d.begun[next.source] ||
			d.begun[g.source] == d.begun[next.source] && g.number < next.number {
			next = g
		}
	}
	return next, waiting
}

// Known says that the guest has authenticated: it keeps its place from now on.
func (g *Guest) Known() {
	d := g.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.gone {
		return
	}
	g.known = true
	for i, k := range d.known {
		if k == g.source {
			d.known = append(d.known[:i], d.known[i+1:]...)
			break
		}
	}
	if len(d.known) == remembered {
		d.known = d.known[1:]
	}
	d.known = append(d.known, g.source)
}

// Leave gives the place back and closes the connection.
func (g *Guest) Leave() {
	g.Conn.Close()
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.door.leave(g)
}

// leave gives a guest's place to others; mu is held.
func (d *Door) leave(g *Guest) {
	delete(d.guests, g)
	g.gone = true
	if g.waits != nil {
		close(g.waits)
		g.waits = nil
	}
}

// Close closes the connections of all guests.
func (d *Door) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for g := range d.guests {
		d.leave(g)
		g.Conn.Close()
	}
	if d.timer != nil {
		d.timer.Stop()
	}
}

// Read implements net.Conn.
func (g *Guest) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n == 0 || g.spoken {
		return n, err
	}
	g.spoken = true
	d := g.door
	d.mu.Lock()
	g.spoke = true
	turn := make(chan struct{})
	if g.gone {
		close(turn)
	} else {
		g.waits = turn
		d.turns()
	}
	d.mu.Unlock()
	<-turn
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.gone {
		return 0, ErrGaveWay
	}
	return n, err
}
