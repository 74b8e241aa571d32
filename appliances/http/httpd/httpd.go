// Package httpd serves compiled sites over HTTP/1.1 (RFC 9112): libos/http1 reads
// the requests, libos/config/site has the responses, and what is here are the
// connections between them.
//
// A request's body is not read: there is nothing that could be done with it. Its
// connection ends with the response.
//
// One goroutine serves all plain connections, since no response has to be waited for
// (event.go). Those whose listener has other connections have a goroutine each
// (conn.go).
package httpd

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/libos/appliance"
	"ampoule/libos/config/feature"
	"ampoule/libos/config/site"
	"ampoule/libos/format"
	"ampoule/libos/memory"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"
)

// Config is the appliance's own part of the configuration.
type Config struct {
	Port  uint16
	Site  site.Table
	Idle  time.Duration // from one request to the next
	Read  time.Duration // for the head of a request, from its first byte
	Write time.Duration // for each 32 KiB of a response
	Log   Log
	Names []string // of the sites, for metrics: one for each, in their order
	// Secure is HTTPS; nil: there is none.
	Secure Secure
	// Redirect is the port of HTTPS to which plain requests are sent; 0: they are
	// answered.
	Redirect uint16
}

// server is what serves at one port.
type server struct {
	Config
	secure   *server // that of HTTPS; nil: there is none
	listener net.Listener
	constant *netif.Constant // the site's table
	clock    clock
	ready    ready
	worker   worker
	pool     sync.Pool // of *exchange

	mu    sync.Mutex         // guards conns
	conns map[net.Conn]*conn // nil for those with a goroutine
	gone  atomic.Bool

	log      *telemetry.Logger
	access   *access       // nil: there is no access log
	counts   *counts       // nil: nobody asks for them
	memory   *memory.Guard // that of all connections, plain and secure
	most     int           // connections of all, before old ones make room; 0: any number
	vain     int64         // the tick in which none could; connections' alone
	panicked atomic.Int64  // the tick of the last panic
}

// New gives the constructor for cfg.
func New(cfg Config) appliance.New {
	return func(env *appliance.Env) (appliance.Appliance, error) {
		if err := cfg.Site.Check(); err != nil {
			return nil, err
		}
		l, err := env.Net.Listen("tcp", ":"+strconv.Itoa(int(cfg.Port)))
		if err != nil {
			return nil, err
		}
		s := newServer(cfg, env, l)
		s.access = newAccess(cfg.Log, env.Log)
		s.clock.advance()
		s.guard(memory.Here(), env.Net)
		if n, ok := env.Net.(appliance.Bounded); ok {
			s.most = n.MaxConns() - n.MaxConns()/8
		}
		if feature.Management && env.Management != nil {
			s.counts = newCounts(cfg.Site.Hosts())
			env.Management.Collect(s.collect)
		}
		if cfg.Secure != nil {
			if s.secure, err = s.openSecure(env); err != nil {
				l.Close()
				return nil, err
			}
		}
		s.worker.x, s.worker.b = s.take(), make([]byte, headSize)
		s.attend(env.Net)
		return s, nil
	}
}

// newServer makes what serves at a port, but for its clock, which has to advance once.
func newServer(cfg Config, env *appliance.Env, l net.Listener) *server {
	s := &server{Config: cfg, listener: l, conns: map[net.Conn]*conn{}, log: env.Log}
	s.constant = netif.NewConstant(string(cfg.Site))
	s.clock.now = env.Now
	s.ready.wake = make(chan struct{}, 1)
	return s
}

// Serve implements appliance.Appliance.
func (s *server) Serve(ctx context.Context) error {
	loops := []func() error{
		func() error { return s.connections(ctx) },
		func() error { return s.events() },
		func() error { return s.tick(ctx, true) },
	}
	stop := s.close
	if t := s.secure; t != nil {
		loops = append(loops, func() error { return t.connections(ctx) }, func() error { return t.tick(ctx, false) })
		stop = func() { s.close(); t.close() }
	}
	return appliance.Loops(ctx, stop, loops...)
}

// maxFailures is how many times in a row no connection may come of the listener.
const maxFailures = 100

func (s *server) connections(ctx context.Context) error {
	for failures := 0; ; {
		c, err := s.listener.Accept()
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("httpd: %w", err)
			}
			continue
		}
		failures = 0
		if w, ok := c.(wire); ok {
			s.watch(w)
			continue
		}
		if !s.admit(c, nil) {
			continue
		}
		go func() {
			defer s.dismiss(c)
			defer func() { s.caught(recover(), c) }()
			if s.begin(c) {
				s.converse(c)
			}
		}()
	}
}

// admit enters a connection, or resets it when memory is short; one that comes after
// the end is closed. When there are nearly as many as there may be, others make room.
func (s *server) admit(c net.Conn, e *conn) bool {
	s.makeRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.counts; n != nil {
		n.opened.Add(1)
	}
	if s.memory.Full() {
		if n := s.counts; n != nil {
			n.shed.Add(1)
		}
		if a, ok := c.(interface{ Abort() }); ok {
			a.Abort()
		}
		c.Close()
		return false
	}
	s.conns[c] = e
	if s.gone.Load() {
		c.Close() // close has looked at conns already
	}
	return true
}

// caught logs the panic that a connection made, if there was one: one line a second
// is enough.
func (s *server) caught(panicked any, c net.Conn) {
	now := s.clock.ticks.Load()
	if panicked != nil && s.panicked.Swap(now) != now {
		s.log.Error("a connection made the server panic", "panic", panicked, "from", address(c.RemoteAddr()))
	}
}

func (s *server) dismiss(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// close ends the listener, all connections and the loops. One with TLS says goodbye, may
// want memory for that, and then Shed takes s.mu.
func (s *server) close() {
	s.gone.Store(true)
	s.listener.Close()
	s.mu.Lock()
	all := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
	s.ready.push(nil)
}
