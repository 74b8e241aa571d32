// Package secondary keeps zones that are transferred in from other name servers
// (RFC 5936, RFC 1995, RFC 1996), and the zones of catalogs (RFC 9432).
//
// A zone is looked after by one goroutine: it asks the primaries for the serial
// number as often as the zone's SOA record says, fetches what is new over TCP,
// checks and compiles it, and puts it in the place of the old in one step. Until
// it has content, and when the primaries have been silent for longer than the SOA
// record allows, questions for it get SERVFAIL.
//
// The primaries are not trusted with more than their zone: what they send is
// checked for its form and its place below the zone's name, and bounded in memory
// and time, for each zone and for all together.
package secondary

import (
	"context"

	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/dnsd"
	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/appliance"
	"ampoule/libos/format"
	"ampoule/libos/telemetry"
)

// Primary is a server to fetch zones from.
type Primary struct {
	Addr netip.AddrPort
	Key  string // that signs all that is said, wire format and lower case; empty: none
}

// Zone is a zone to fetch.
type Zone struct {
	xfr.Zone            // its name, who may have it from us, and who hears of changes
	Primaries []Primary // at least one
	Catalog   *Catalog  // nil: it is an ordinary zone
}

// Catalog says that a zone is a catalog, whose members are fetched too. The catalog
// itself is not shown to clients.
type Catalog struct {
	Members   int        // the most that are taken
	Primaries []Primary  // of the members; none: the catalog's
	Policy    xfr.Policy // of the members
}

// Bounds keep a value of an SOA record between two times. Zero stands for no bound.
type Bounds struct{ Min, Max time.Duration }

func (b Bounds) clamp(seconds uint32) time.Duration {
	d := max(time.Duration(seconds)*time.Second, b.Min, time.Second)
	if b.Max > 0 {
		d = min(d, b.Max)
	}
	return d
}

// Config is plain data that tools/configc writes as Go source. It implements
// dnsd.Peers.
type Config struct {
	xfr.Config
	Secondaries []Zone
	// Refresh, Retry and Expire bound what the SOA records say.
	Refresh, Retry, Expire Bounds
	// ZoneBytes bounds one zone and AllBytes all of them, journals included; 0
	// stands for a thirty-second and an eighth of the memory. While a zone is
	// loaded it takes about four times its size in addition.
	ZoneBytes, AllBytes int
	// JournalBytes bounds the differences kept of each zone for IXFR; 0 keeps none.
	JournalBytes int
	// Transfers is how many zones may be fetched at a time; 0 stands for 2.
	Transfers int
	// Timeout is how long a primary may take for a connection, and for each message;
	// 0 stands for 10 seconds. A whole transfer may take 60 times as long.
	Timeout time.Duration
}

// Stats counts since the start.
type Stats struct {
	Checked, Failed  atomic.Uint64 // questions for the serial number, and attempts that failed
	AXFR, IXFR       atomic.Uint64 // transfers that were taken
	TooLarge         atomic.Uint64 // transfers refused for their size
	Expired          atomic.Uint64
	NotifyIn, Denied atomic.Uint64 // NOTIFY that came, and those not from a primary
	Bytes            atomic.Int64  // that zones and journals take now
}

// Server keeps the zones.
type Server struct {
	*xfr.Server
	cfg   *Config
	zones *answer.Server
	net   appliance.Network
	log   *telemetry.Logger
	now   func() time.Time
	stats Stats
	slots chan struct{} // one for each transfer under way

	mu    sync.Mutex
	ctx   context.Context // of Serve
	wg    sync.WaitGroup  // of the zones' goroutines
	items map[string]*item
}

// Open implements dnsd.Peers.
func (c *Config) Open(env *appliance.Env, zones *answer.Server) (dnsd.Peering, error) {
	return New(c, env, zones)
}

// New returns a Server for the configured zones, none of which has content yet.
func New(c *Config, env *appliance.Env, zones *answer.Server) (*Server, error) {
	c = defaults(*c)
	s := &Server{Server: xfr.New(&c.Config, env, zones), cfg: c, zones: zones, net: env.Net, log: env.Log, now: env.Now,
		slots: make(chan struct{}, c.Transfers), items: map[string]*item{}}
	if s.now == nil {
		s.now = time.Now
	}
	for i := range c.Secondaries {
		z := &c.Secondaries[i]
		if len(z.Primaries) == 0 {
			return nil, format.Errorf("secondary: zone %s has no primary", presentation(z.Origin))
		}
		if _, ok := zones.Zone(z.Origin); ok {
			return nil, format.Errorf("secondary: zone %s is there twice", presentation(z.Origin))
		}
		if _, err := s.add(z, nil, ""); err != nil {
			return nil, format.Errorf("secondary: zone %s: %w", presentation(z.Origin), err)
		}
	}
	return s, nil
}

// defaults fills in what is 0.
func defaults(c Config) *Config {
	const most = 1 << 30 // where the memory is not limited, as on a host
	memory := min(debug.SetMemoryLimit(-1), most)
	for v, d := range map[*int]int{&c.ZoneBytes: int(memory / 32), &c.AllBytes: int(memory / 8), &c.Transfers: 2} {
		if *v == 0 {
			*v = d
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return &c
}

// Stats returns the counters.
func (s *Server) Stats() *Stats { return &s.stats }

// add takes a zone into the list; of is the catalog that it is a member of, with
// its label there. It starts when Serve has.
func (s *Server) add(z *Zone, of *item, label string) (*item, error) {
	if z.Catalog == nil { // a catalog is for name servers only
		if err := s.zones.Set(z.Origin, ""); err != nil {
			return nil, err
		}
		s.SetPolicy(z.Origin, z.Policy)
	}
	it := &item{s: s, conf: z, of: of, label: label, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil {
		return nil, context.Canceled
	}
	s.items[z.Origin] = it
	if s.ctx != nil {
		s.start(it)
	}
	return it, nil
}

// start runs the goroutine of an item. The caller holds mu.
func (s *Server) start(it *item) {
	var ctx context.Context
	ctx, it.stop = context.WithCancel(s.ctx)
	s.wg.Go(func() { it.run(ctx) })
}

// remove forgets a member of a catalog.
func (s *Server) remove(it *item) {
	s.mu.Lock()
	delete(s.items, it.conf.Origin)
	stop := it.stop
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	it.close()
	s.zones.Remove(it.conf.Origin)
	s.Forget(it.conf.Origin)
}

func (s *Server) item(origin string) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[origin]
}

// Serve implements dnsd.Peering.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	for _, it := range s.items {
		s.start(it)
	}
	s.mu.Unlock()
	err := s.Server.Serve(ctx)
	<-ctx.Done()
	s.mu.Lock()
	items := s.items
	s.items = nil // none is added any more
	s.mu.Unlock()
	s.wg.Wait()
	for _, it := range items {
		it.close()
	}
	return err
}

// Notify implements dnsd.Peering: a primary says that its zone has changed (RFC
// 1996). Who has a primary's address may say so, and who signs with a key of the
// zone's.
func (s *Server) Notify(buf, msg []byte, from netip.Addr) int {
	n := s.ReadNotify(msg)
	if n == nil {
		return 0
	}
	s.stats.NotifyIn.Add(1)
	if n.Good() {
		if it := s.item(n.Origin); it == nil || !it.hears(from, n.Key) {
			s.stats.Denied.Add(1)
			n.Refuse()
		} else {
			it.notified(n, from)
		}
	}
	return n.Answer(buf)
}

// account counts bytes that an item takes more, or less, than before. False:
// that would be above the bound.
func (s *Server) account(more int) bool {
	for {
		old := s.stats.Bytes.Load()
		if more > 0 && old+int64(more) > int64(s.cfg.AllBytes) {
			return false
		}
		if s.stats.Bytes.CompareAndSwap(old, old+int64(more)) {
			return true
		}
	}
}

// key returns the key of a name, or nil.
func (s *Server) key(name string) *tsig.Key { return s.cfg.Keys.Find(name) }

func presentation(name string) string { return answer.Presentation(name) }
