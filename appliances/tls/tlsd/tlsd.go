// Package tlsd is the TLS terminator: it takes connections, lets crypto/tls speak to
// the client, and passes what comes on to a backend over TCP. Packages session,
// backend, relay and proxyproto know how; this one has the life of a connection and
// the bounds on all of them.
package tlsd

import (
	"context"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/tls/backend"
	"ampoule/appliances/tls/certs"
	"ampoule/appliances/tls/proxyproto"
	"ampoule/appliances/tls/relay"
	"ampoule/appliances/tls/session"
	"ampoule/libos/appliance"
	"ampoule/libos/config/feature"
	"ampoule/libos/format"
	"ampoule/libos/memory"
	"ampoule/libos/telemetry"
)

// Config is the appliance's own part of the configuration: plain data that
// tools/configc writes as Go source.
type Config struct {
	// Port to listen on.
	Port uint16
	// Certificates gives those of an image without management plane.
	Certificates func() (*certs.Generation, error)
	// Managed gives those that the management plane holds; nil: there is no plane.
	Managed  Managed
	Session  session.Config
	Backends backend.Config
	// Proxy is the version of the header that backends get.
	Proxy  proxyproto.Version
	Limits Limits
}

// Managed opens the certificates that a management plane holds (package managed).
type Managed interface {
	Open(*appliance.Env) (certs.Source, error)
}

// Limits bounds what clients can make the terminator hold.
type Limits struct {
	// Connections is the most at a time; one more is reset.
	Connections int
	// Handshakes is the most that are under way at a time. One more ends the oldest,
	// if that has had a second, or else is reset.
	Handshakes int
	// PerClient is the most connections of one address; 0: as many as there are.
	PerClient int
	// Buffers is how many pieces of 16 KiB all connections hold together of what is not
	// taken; one more holds 2 KiB of what its backend sends.
	Buffers int
	// Handshake is how long a client has for the handshake.
	Handshake time.Duration
	// Idle is how long an open connection lives without a byte, HalfClosed how long
	// one that an end has closed, and Stall how long an end may take nothing of what
	// there is for it.
	Idle, HalfClosed, Stall time.Duration
	// Lifetime bounds a connection as a whole; 0: no bound.
	Lifetime time.Duration
}

// Terminator is the appliance.
type Terminator struct {
	cfg     Config
	log     *telemetry.Logger
	l       net.Listener
	session *session.Server
	pool    *backend.Pool
	workers *relay.Workers // for handshakes
	events  *relay.Events  // for all after them
	clock   relay.Clock    // ticks
	tick    time.Duration
	stats   Stats
	named   atomic.Int64 // clients refused as revoked in this tick
	memory  *memory.Guard

	mu       sync.Mutex // guards what follows
	conns    map[*conn]struct{}
	clients  map[client]int // connections of each address, where they are bounded
	waiting  []*conn        // those in their handshake, the oldest first
	draining bool
	empty    chan struct{} // closed when draining and without connections
}

// Stats counts since the start, but for Open.
type Stats struct {
	Open               atomic.Int64
	Accepted, Refused  atomic.Int64
	Handshakes         [versions][outcomes]atomic.Int64
	NoBackend          atomic.Int64 // connections that found none
	Cut                atomic.Int64 // connections that an end cut
	Late               atomic.Int64 // connections that a time-out ended, not in their handshake
	Shed               atomic.Int64 // connections that were ended because memory was short
	FromClient, ToThem atomic.Int64 // bytes within TLS
}

// New gives the constructor for cfg. The port is bound when it is called.
func New(cfg Config) appliance.New {
	return func(env *appliance.Env) (appliance.Appliance, error) {
		source, err := cfg.source(env)
		if err != nil {
			return nil, err
		}
		debug.SetGCPercent(collectAt)
		return Open(cfg, source, env)
	}
}

// source is where the certificates come from.
func (c *Config) source(env *appliance.Env) (certs.Source, error) {
	switch {
	case feature.Management && c.Managed != nil:
		return c.Managed.Open(env)
	case c.Certificates == nil:
		return nil, format.Errorf("tlsd: no certificates are compiled in; build the image with its configuration")
	}
	g, err := c.Certificates()
	if err != nil {
		return nil, err
	}
	return certs.NewStatic(g), nil
}

// Open makes a Terminator with the certificates of source.
func Open(cfg Config, source certs.Source, env *appliance.Env) (*Terminator, error) {
	t := &Terminator{cfg: cfg, log: env.Log, empty: make(chan struct{}),
		conns: map[*conn]struct{}{}, clients: map[client]int{}}
	l := &cfg.Limits
	if l.Connections < 1 || l.Handshakes < 1 || l.Handshake <= 0 || l.Idle <= 0 || l.HalfClosed <= 0 || l.Stall <= 0 {
		return nil, format.Errorf("tlsd: a limit is not set: %d connections, %d handshakes, %v, %v, %v, %v",
			l.Connections, l.Handshakes, l.Handshake, l.Idle, l.HalfClosed, l.Stall)
	}
	t.workers, t.events = relay.NewWorkers(), relay.NewEvents(l.Buffers)
	if n, ok := env.Net.(interface{ SetBursts(begin, end func()) }); ok {
		n.SetBursts(t.events.Begin, t.events.End)
	}
	t.clock.Store(1) // 0 is never
	t.guard(memory.Here(), env.Net)
	t.tick = max(min(time.Second, min(l.Handshake, l.Idle, l.HalfClosed, l.Stall)/4), time.Millisecond)
	var err error
	if t.session, err = session.NewServer(cfg.Session, source, env.Rand); err != nil {
		return nil, err
	}
	if t.pool, err = backend.New(cfg.Backends, env.Net.DialContext, proxyproto.AppendLocal(nil, cfg.Proxy), env.Log); err == nil {
		t.l, err = env.Net.Listen("tcp", ":"+strconv.Itoa(int(cfg.Port)))
	}
	if err != nil {
		t.session.Close()
		return nil, err
	}
	if feature.Management && env.Management != nil {
		env.Management.Collect(t.collect)
		env.Management.Ready(t.lacks)
	}
	return t, nil
}

// Stats are the terminator's own, and go on counting.
func (t *Terminator) Stats() *Stats { return &t.stats }

// Backends are the backends; they may be drained.
func (t *Terminator) Backends() *backend.Pool { return t.pool }

// Serve implements appliance.Appliance.
func (t *Terminator) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer t.workers.Close()
	defer t.session.Close()
	loops := []func() error{
		func() error { return t.accept(ctx) },
		func() error { t.events.Run(); return ctx.Err() },
		func() error { t.pool.Run(ctx); return ctx.Err() },
		func() error { return t.sweep(ctx) },
	}
	if t.cfg.Session.Tickets > 0 {
		loops = append(loops, func() error { return t.rotate(ctx) })
	}
	return appliance.Loops(ctx, func() { cancel(); t.close(); t.events.Close() }, loops...)
}

// close ends everything at once.
func (t *Terminator) close() {
	t.l.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		c.abort()
	}
}

// rotate changes the key of tickets from time to time.
func (t *Terminator) rotate(ctx context.Context) error {
	every := time.NewTicker(t.cfg.Session.Tickets)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			if err := t.session.Rotate(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Drain implements appliance.Drainer: no new connections are taken, and those that
// there are may end by themselves.
func (t *Terminator) Drain(ctx context.Context) error {
	t.mu.Lock()
	if !t.draining {
		t.draining = true
		if len(t.conns) == 0 {
			close(t.empty)
		}
	}
	open := len(t.conns)
	t.mu.Unlock()
	t.l.Close()
	t.log.Info("draining", "connections", open)
	select {
	case <-t.empty:
		return nil
	case <-ctx.Done():
		return format.Errorf("tlsd: %d connections are left: %w", t.stats.Open.Load(), ctx.Err())
	}
}
