// Package backend is the servers behind the terminator: which of them gets a
// connection (the one with the fewest), which are well (checks in the background, and
// what becomes of connections), and which take no more.
package backend

import (
	"context"
	"net"
	"sync"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/telemetry"
)

// Config says what backends there are.
type Config struct {
	Servers []Server
	// Connect is how long a client waits for a backend at most, over all attempts,
	// and Attempt how long one may take.
	Connect, Attempt time.Duration
	Health           Health
}

// Server is one backend.
type Server struct {
	Address string // as net.Dial takes it, with a literal address
	// Connections is the most that it gets at a time; 0: any number.
	Connections int
	// Backup says that it gets connections only while no other can.
	Backup bool
}

// Health says how backends are checked: by connecting.
type Health struct {
	Every, Timeout time.Duration
	// Fall is how many failures in a row make a backend ill, Rise how many checks in
	// a row that succeed make it well again.
	Fall, Rise int
}

// Dial connects to an address, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Pool is all backends. Its methods may be called from any goroutine.
type Pool struct {
	cfg   Config
	dial  Dial
	hello []byte // what a check sends
	log   *telemetry.Logger

	mu     sync.Mutex // guards what follows
	all    []*server
	turn   int
	change chan struct{} // closed and replaced when a backend may take more
}

// server is a backend with its state, guarded by Pool.mu.
type server struct {
	Server
	active   int // connections, those being made included
	draining bool
	ill      bool
	streak   int // failures in a row while well, successes while ill

	taken, failed, failedChecks uint64
}

// State is what is known of a backend.
type State struct {
	Address        string
	Active         int
	Well, Draining bool
	// Taken and Failed count connections, FailedChecks checks.
	Taken, Failed, FailedChecks uint64
}

// New makes a Pool. hello is sent by each check; it may be empty. The backends are
// taken for well until they are known not to be.
func New(cfg Config, dial Dial, hello []byte, log *telemetry.Logger) (*Pool, error) {
	if len(cfg.Servers) == 0 {
		return nil, format.Errorf("backend: none is configured")
	}
	p := &Pool{cfg: cfg, dial: dial, hello: hello, log: log, change: make(chan struct{})}
	for _, s := range cfg.Servers {
		p.all = append(p.all, &server{Server: s})
	}
	return p, nil
}

// States are the states of all backends, in the order of the configuration.
func (p *Pool) States() (all []State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		all = append(all, State{s.Address, s.active, !s.ill, s.draining, s.taken, s.failed, s.failedChecks})
	}
	return all
}

// Drain says that the backend at address takes no new connections, or does so again.
// Those that it has live on. It returns false if there is no such backend.
func (p *Pool) Drain(address string, on bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.Address == address {
			s.draining = on
			p.changed()
			return true
		}
	}
	return false
}

// changed lets those who wait for a backend look again.
func (p *Pool) changed() {
	close(p.change)
	p.change = make(chan struct{})
}

// Conn is a connection to a backend.
type Conn struct {
	net.Conn
	p    *Pool
	s    *server
	once sync.Once
}

// Backend is its address.
func (c *Conn) Backend() string { return c.s.Address }

// Release says that the connection, which the caller closes, is over.
func (c *Conn) Release() { c.once.Do(func() { c.p.release(c.s) }) }

// count adds to a counter of a backend.
func (p *Pool) count(n *uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

func (p *Pool) release(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.active--
	if s.Connections > 0 {
		p.changed()
	}
}

// pause is how long a client waits at first when no backend took its connection.
const pause = 50 * time.Millisecond

// Connect makes a connection to the backend that has the fewest among those that are
// well. When that fails it tries the others, and then all again, for as long as
// Config.Connect and ctx allow, so that the restart of a backend costs a delay. A
// failed attempt counts as a failed check.
func (p *Pool) Connect(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Connect)
	defer cancel()
	var last error
	wait := pause
	for {
		tried := map[*server]bool{}
		for {
			s, change := p.pick(tried)
			if s == nil && len(tried) > 0 {
				break
			}
			if s == nil { // all are full or draining
				select {
				case <-change:
					continue
				case <-ctx.Done():
					return nil, p.failed(last)
				}
			}
			tried[s] = true
			c, err := p.attempt(ctx, s)
			if err == nil {
				return &Conn{Conn: c, p: p, s: s}, nil
			}
			last = err
			if ctx.Err() != nil {
				return nil, p.failed(last)
			}
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, time.Second)
		case <-ctx.Done():
			return nil, p.failed(last)
		}
	}
}

func (p *Pool) failed(last error) error {
	if last == nil {
		return format.Errorf("backend: all are full or draining")
	}
	return format.Errorf("backend: none took the connection, last: %w", last)
}

// attempt connects to one backend, for which pick has counted the connection.
func (p *Pool) attempt(ctx context.Context, s *server) (net.Conn, error) {
	limit, cancel := context.WithTimeout(ctx, p.cfg.Attempt)
	defer cancel()
	c, err := p.dial(limit, "tcp", s.Address)
	if err == nil {
		p.mu.Lock()
		s.taken++
		if !s.ill {
			s.streak = 0
		}
		p.mu.Unlock()
		return c, nil
	}
	p.release(s)
	if ctx.Err() == nil { // else it is the client that has gone, or its time
		p.count(&s.failed)
		p.judge(s, err)
	}
	return nil, err
}

// pick chooses a backend and counts a connection for it. It prefers those that are
// well, then those that are not backups, then the one with the fewest connections,
// and among equals takes turns. If there is none that was not tried it returns nil
// and what is closed when there may be one.
func (p *Pool) pick(tried map[*server]bool) (*server, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *server
	at := 0
	for i := range p.all {
		k := (p.turn + i) % len(p.all)
		s := p.all[k]
		if tried[s] || s.draining || s.Connections > 0 && s.active >= s.Connections {
			continue
		}
		if best == nil || s.before(best) {
			best, at = s, k
		}
	}
	if best == nil {
		return nil, p.change
	}
	p.turn = (at + 1) % len(p.all)
	best.active++
	return best, nil
}

func (s *server) before(o *server) bool {
	switch {
	case s.ill != o.ill:
		return o.ill
	case s.Backup != o.Backup:
		return o.Backup
	}
	return s.active < o.active
}
