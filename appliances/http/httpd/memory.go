package httpd

import (
	"cmp"
	"net"
	"slices"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/memory"
)

// guard has memory watched over for all connections, plain and secure ones: many that
// take no responses hold more than there is, though each by itself is bounded.
func (s *server) guard(m memory.Machine, n appliance.Network) {
	s.memory = memory.New(m, s, s.log)
	if n, ok := n.(appliance.Gated); ok {
		n.SetGate(s.memory.Gate)
	}
}

// burden is a connection, and why it may be ended.
type burden struct {
	s       *server
	c       net.Conn      // which has Abort
	stalled bool          // the client takes nothing of a response, or sends a part of a request
	since   time.Duration // that long, or otherwise silent
}

// Shed implements memory.Shedder, for s and the server of HTTPS beside it. Who has not
// taken a response, or sent a whole request, for longest is ended first, and then who has
// been silent for longest.
func (s *server) Shed(n int, any bool) int {
	all := s.all(any)
	return s.end(all, n)
}

// roomAfter is how long who makes room for others has stalled or been silent: whoever was
// served or has come just now is not ended for who comes next.
const roomAfter = 2 * interval

// makeRoom ends a sixteenth of the connections, in the order of Shed, when there are as
// many as there may be before that: so a client that holds connections keeps nobody out.
func (s *server) makeRoom() {
	if s.most == 0 || s.open() < s.most || s.vain == s.clock.ticks.Load() {
		return
	}
	all := slices.DeleteFunc(s.all(true), func(b burden) bool { return b.since < roomAfter })
	if s.end(all, max(s.most/16, 1)) == 0 {
		s.vain = s.clock.ticks.Load()
	}
}

// open is the number of connections, plain and secure ones.
func (s *server) open() (n int) {
	for _, t := range []*server{s, s.secure} {
		if t != nil {
			t.mu.Lock()
			n += len(t.conns)
			t.mu.Unlock()
		}
	}
	return n
}

// all are the connections that may be ended, plain and secure ones.
func (s *server) all(any bool) (all []burden) {
	for _, t := range []*server{s, s.secure} {
		if t != nil {
			all = t.burdens(all, any)
		}
	}
	return all
}

// end ends the first n of them, and says how many there were.
func (s *server) end(all []burden, n int) int {
	slices.SortFunc(all, func(a, b burden) int {
		if a.stalled != b.stalled {
			if a.stalled {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.since, a.since)
	})
	all = all[:min(n, len(all))]
	for _, b := range all {
		b.s.abort(b.c)
	}
	if s.counts != nil {
		s.counts.shed.Add(uint64(len(all)))
	}
	return len(all)
}

// burdens adds the connections of s that may be ended to all.
func (s *server) burdens(all []burden, any bool) []burden {
	now := s.clock.ticks.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc, c := range s.conns {
		b := burden{s: s, c: nc}
		if t, ok := nc.(Conn); ok {
			b.stalled, b.since = t.Waits()
		} else if c == nil {
			continue // a connection of a test
		} else if since := c.stalled.Load(); since > 0 {
			b.stalled, b.since = true, time.Duration(now-since)*interval
		} else {
			b.since = s.Idle - time.Duration(c.due.Load()-now)*interval
		}
		if b.stalled || any {
			all = append(all, b)
		}
	}
	return all
}

// abort resets a connection: who serves it finds out, and dismisses it.
func (s *server) abort(c net.Conn) {
	s.mu.Lock()
	_, there := s.conns[c]
	delete(s.conns, c) // or it might be ended twice
	s.mu.Unlock()
	if !there {
		return
	}
	if a, ok := c.(interface{ Abort() }); ok {
		a.Abort()
	}
}
