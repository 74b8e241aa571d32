// Package memory keeps a machine of fixed size from running out of memory, whatever its
// peers make it hold.
//
// Each connection is bounded, but the bounds of all of them together may be more than
// there is, as most connections hold next to nothing most of the time. So a Guard looks
// at what is truly left: pages that no object and no stack is on. What Go's own limit
// counts is less than that, since pages of which objects of a size use a part serve no
// other size. Nearly all that grows does so because of a frame that came in. So the
// network asks Gate before each burst of them; while it has no answer nothing is
// received, and what needs memory waits in the rings or is sent again by its sender.
package memory

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/libos/telemetry"
)

// Shares of all memory: one in so many parts.
const (
	ample  = 8  // what is to be left when connections have been ended
	scarce = 12 // with less left after a collection no connections are taken
	tight  = 24 // with less left nothing is received before there is more
	last   = 48 // with less left what is received is dropped
)

// each is what is taken for the size of a connection that takes nothing, in bytes: they
// are measured at 80 KiB.
const each = 64 << 10

// rounds is how often connections are ended in one go, with a collection each time.
const rounds = 4

// rest is how many times as long as what was done about it nothing is done again: in Look,
// and where it was in vain.
const rest = 4

// Machine is whose memory is guarded.
type Machine struct {
	// Room says how many bytes can be taken without a collection, and how many there
	// are in all. It does not block.
	Room func() (free, all uint64)
	// Collect returns when what is garbage now is free.
	Collect func()
}

// Shedder ends connections.
type Shedder interface {
	// Shed ends up to n connections whose peers take nothing, those first that have
	// done so for longest; with any also others, those first that are missed least. It
	// says how many. It is called by who calls Gate, such as the goroutine that receives
	// from the network, and must wait neither for that nor for a peer.
	Shed(n int, any bool) int
}

// Guard guards the memory of a machine. Its methods may be called from any goroutine.
type Guard struct {
	m    Machine
	s    Shedder
	log  *telemetry.Logger
	full atomic.Bool

	mu    sync.Mutex // held while there is something done about it
	looks time.Time  // before which Look does nothing about it
	vain  time.Time  // before which Gate does nothing: it would be in vain
	ended int        // connections since the last Look
	said  bool       // the log says that memory is short
}

// New guards m. When memory is short, connections of s are ended.
func New(m Machine, s Shedder, log *telemetry.Logger) *Guard {
	return &Guard{m: m, s: s, log: log}
}

// Full says whether memory is short: then no connections are to be taken. It costs
// nothing.
func (g *Guard) Full() bool { return g.full.Load() }

// Tight says whether so little is left that nothing is to begin which needs more than a
// few KiB, such as a handshake. It costs next to nothing, and counts garbage as taken.
func (g *Guard) Tight() bool {
	free, all := g.m.Room()
	return free < all/tight
}

// Gate is called ahead of what may need memory: by the goroutine that receives, and by
// those that make much of what was received, as one frame may ask for a long response. It
// returns at once, or when there is memory; false: there is none, and what is ahead is to
// be dropped. The caller must hold no lock that Shed takes.
func (g *Guard) Gate() bool { return !g.Tight() || g.pass() }

// pass is Gate with little left.
func (g *Guard) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.Tight() { // others have waited too
		return true
	}
	if begin := time.Now(); !begin.Before(g.vain) && !g.relieve(rounds) {
		g.vain = after(begin)
	}
	free, all := g.m.Room()
	return free >= all/last
}

// Look finds out whether memory is short, ends connections while it is, and logs what was
// done. It is to be called about once a second.
func (g *Guard) Look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	free, all := g.m.Room()
	switch {
	case free >= all/scarce:
		g.full.Store(false)
	case !time.Now().Before(g.looks):
		begin := time.Now()
		g.relieve(1)
		g.looks = after(begin)
	}
	free, all = g.m.Room()
	is := g.full.Load()
	switch {
	case g.ended > 0:
		g.log.Warn("memory is short: connections are ended", "connections", g.ended, "free", free, "all", all)
	case is && !g.said:
		g.log.Warn("memory is short: no connections are taken", "free", free, "all", all)
	case !is && g.said:
		g.log.Warn("memory is there again: connections are taken", "free", free, "all", all)
	}
	g.said = is || g.said && g.ended > 0
	g.ended = 0
}

// after is when something may be done again that began at begin and has ended now.
func after(begin time.Time) time.Time {
	end := time.Now()
	return end.Add(rest * end.Sub(begin))
}

// relieve makes room, in so many rounds at most: what seems to be taken may be garbage,
// which a collection tells, and connections are ended while that does not help. It says
// whether it was any good. g.mu is held.
func (g *Guard) relieve(rounds int) bool {
	for i := range rounds {
		runtime.Gosched() // who was ended gives back what it has
		g.m.Collect()
		free, all := g.m.Room()
		if free >= all/scarce {
			g.full.Store(false)
			return true
		}
		g.full.Store(true)
		n := int((all/ample-free)/each) + 1
		ended := g.s.Shed(n, false)
		if ended == 0 && free < all/tight {
			ended = g.s.Shed(n, true)
		}
		if g.ended += ended; ended == 0 {
			return i > 0
		}
	}
	return true
}
