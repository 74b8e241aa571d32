// Package xfr gives zones to other name servers: whole (AXFR, RFC 5936), by
// difference (IXFR, RFC 1995), and with word of their changes (NOTIFY, RFC 1996).
// Who may have a zone is decided by address and by TSIG key (RFC 8945); without a
// rule nobody may. Serial numbers are compared as RFC 1982 says.
//
// A transfer is made from one version of a zone, whatever happens meanwhile. It
// holds one buffer of a message, and is as slow as its client: the caller's send
// has to set a time limit.
package xfr

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/appliances/dns/dnsd"
	"ampoule/appliances/dns/tsig"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone"
	"ampoule/libos/telemetry"
)

// Zone is the policy for a zone.
type Zone struct {
	Origin string // wire format, lower case
	Policy
}

// Config is plain data that tools/configc writes as Go source. It implements
// dnsd.Peers.
type Config struct {
	Zones []Zone
	Keys  tsig.Ring
}

// Stats counts since the start.
type Stats struct {
	AXFR, IXFR, Refused atomic.Uint64 // zones given whole, by difference, and not
	Notified, Unheard   atomic.Uint64 // NOTIFY that was answered, and that was not
}

// entry is what is known of a zone.
type entry struct {
	policy  Policy
	journal *Journal
}

// Server gives zones away. Any goroutine may use it.
type Server struct {
	zones *answer.Server
	keys  tsig.Ring
	log   *telemetry.Logger
	now   func() time.Time
	stats Stats
	*notifier
	refused atomic.Int64 // when that was last logged, in seconds since 1970

	mu      sync.Mutex
	entries map[string]entry
}

// Open implements dnsd.Peers.
func (c *Config) Open(env *appliance.Env, zones *answer.Server) (dnsd.Peering, error) {
	return New(c, env, zones), nil
}

// New returns a Server for the zones of an answerer.
func New(c *Config, env *appliance.Env, zones *answer.Server) *Server {
	s := &Server{zones: zones, keys: c.Keys, log: env.Log, now: env.Now, entries: map[string]entry{}}
	if s.now == nil {
		s.now = time.Now
	}
	s.notifier = newNotifier(s, env.Net)
	for _, z := range c.Zones {
		s.SetPolicy(z.Origin, z.Policy)
	}
	return s
}

// Stats returns the counters.
func (s *Server) Stats() *Stats { return &s.stats }

// SetPolicy says who may have the zone of an origin.
func (s *Server) SetPolicy(origin string, p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[origin]
	e.policy = p
	s.entries[origin] = e
}

// SetJournal gives the differences that lead to the present version of a zone.
func (s *Server) SetJournal(origin string, j *Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[origin]; ok {
		e.journal = j
		s.entries[origin] = e
	}
}

// Forget drops what is known of a zone.
func (s *Server) Forget(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, origin)
}

func (s *Server) lookup(origin string) (Policy, *Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[origin]
	return e.policy, e.journal
}

// Serve implements dnsd.Peering: it says to all secondaries what there is, and
// then what changes.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	var origins []string
	for origin := range s.entries {
		origins = append(origins, origin)
	}
	s.mu.Unlock()
	for _, origin := range origins {
		s.Changed(origin)
	}
	return s.notifier.serve(ctx)
}

// Notify implements dnsd.Peering: nobody has anything to tell us.
func (s *Server) Notify([]byte, []byte, netip.Addr) int { return 0 }

// Changed sends NOTIFY to those who are to hear of changes of a zone.
func (s *Server) Changed(origin string) {
	if z, _ := s.zones.Zone(origin); z == zone.Zone("") {
		return
	}
	policy, _ := s.lookup(origin)
	for _, t := range policy.Notify {
		s.notifier.add(origin, t)
	}
}

func presentation(name string) string { return answer.Presentation(name) }
