package httpd

import (
	"net"
	"sync"
)

// ready are the connections that have something to do, in the order in which it came.
type ready struct {
	mu          sync.Mutex
	first, last *conn
	end         bool
	attended    bool          // who attends a burst will look when it is over
	wake        chan struct{} // one token
}

// push enters c, or takes note if it is there; nil says that there will be no more.
func (r *ready) push(c *conn) {
	r.mu.Lock()
	wake := r.first == nil && !r.attended
	switch {
	case c == nil:
		r.end, wake = true, true
	case c.queued:
		c.twice, wake = true, false
	case r.first == nil:
		r.first, r.last, c.queued = c, c, true
	default:
		r.last.next, r.last, c.queued = c, c, true
	}
	r.mu.Unlock()
	if wake {
		r.rouse()
	}
}

// rouse wakes who waits in pop.
func (r *ready) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take is the next connection, or nil; end says that there will be no more.
func (r *ready) take() (c *conn, end bool) {
	r.mu.Lock()
	if c = r.first; c != nil {
		r.first, c.next, c.queued = c.next, nil, false
		c.again, c.twice = c.twice, false
	}
	end = r.end
	r.mu.Unlock()
	return c, end
}

// attend says whether somebody will look when the burst is over. If there are any when
// nobody will any more, they are for pop.
func (r *ready) attend(on bool) {
	r.mu.Lock()
	r.attended = on
	left := !on && r.first != nil
	r.mu.Unlock()
	if left {
		r.rouse()
	}
}

// worker is what it takes to serve connections. One goroutine at a time has it.
type worker struct {
	mu sync.Mutex
	x  *exchange
	b  []byte
}

// attendedTurns is the most that is done between two bursts; the rest is for events,
// beside which frames are received.
const attendedTurns = 64

// attend has the goroutine that receives serve what has come in a burst, where the
// network is netif's: what is done here, TryRead, TryWrite and what Close does, never
// waits for anybody.
func (s *server) attend(network any) {
	if n, ok := network.(interface{ SetBursts(begin, end func()) }); ok {
		n.SetBursts(func() { s.ready.attend(true) }, s.attended)
	}
}

// attended is the end of a burst.
func (s *server) attended() {
	if s.worker.mu.TryLock() { // or events has it, and goes on
		for range attendedTurns {
			c, _ := s.ready.take()
			if c == nil {
				break
			}
			s.serve(c)
		}
		s.worker.mu.Unlock()
	}
	s.ready.attend(false)
}

// events serves all connections that are watched until close is called.
func (s *server) events() error {
	for {
		s.worker.mu.Lock()
		c, end := s.ready.take()
		if c != nil {
			s.serve(c)
		}
		s.worker.mu.Unlock()
		switch {
		case c != nil:
		case end:
			return net.ErrClosed
		default:
			<-s.ready.wake
		}
	}
}

// serve does what there is to do for a connection. The worker is the caller's.
func (s *server) serve(c *conn) {
	if c.over.Load() {
		return
	}
	if !s.guarded(c, s.worker.x, s.worker.b) {
		c.over.Store(true)
		s.dismiss(c.wire)
	} else if c.again {
		c.wakeUp() // a request and the end of all, perhaps
	}
}
