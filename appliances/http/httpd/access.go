package httpd

import (
	"net"
	"sync"

	"ampoule/libos/config/feature"
	"ampoule/libos/config/site"
	"ampoule/libos/http1"
	"ampoule/libos/telemetry"
)

// Access says which requests are logged.
type Access uint8

const (
	LogNone   Access = iota
	LogErrors        // those whose status is 400 or above
	LogAll
)

// Log configures the access log. What is logged is bounded in every way: by Rate, by
// the length of a line and of each of its parts. It goes where the log goes, and as
// that never waits for a console or a collector.
type Log struct {
	Access Access
	Sample int // of those without an error, one of so many; 0 is 1
	Rate   int // lines a second; what is beyond is counted, and the log says how many
}

// Longest parts of a line, in octets as they came.
const (
	longestSite  = 64
	longestPath  = 256
	longestField = 128 // Referer, User-Agent
)

// access is the access log. A nil one logs nothing.
type access struct {
	Log
	to *telemetry.Logger

	mu    sync.Mutex
	tick  int64 // that left is for
	left  int   // lines
	skip  int   // requests until the next of a sample
	over  uint64
	total uint64
}

func newAccess(l Log, to *telemetry.Logger) *access {
	if l.Access == LogNone {
		return nil
	}
	return &access{Log: l, to: to}
}

// wants says whether a response with that status is logged, in the second of tick.
func (a *access) wants(status int, tick int64) bool {
	bad := status >= 400
	if !bad && a.Access != LogAll {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !bad && a.Sample > 1 {
		if a.skip > 0 {
			a.skip--
			return false
		}
		a.skip = a.Sample - 1
	}
	if tick != a.tick {
		a.tick, a.left = tick, a.Rate
		if a.over > 0 {
			a.to.Warn("access log: lines left out", "lines", a.over, "rate", a.Rate)
			a.over = 0
		}
	}
	if a.left == 0 {
		a.over++
		a.total++
		return false
	}
	a.left--
	return true
}

func (a *access) leftOut() uint64 {
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// request logs a request with its response. p is nil for one that could not be
// read: who sent it is all that is known of it. Of a target the query is left out,
// since it may be private.
func (a *access) request(from net.Addr, p *http1.Request, r *site.Response) {
	pairs := append(make([]any, 0, 20), "from", address(from), "status", r.Status, "bytes", r.Body)
	if r.Body > 0 && r.Coding != site.Identity {
		pairs = append(pairs, "encoding", r.Coding.String())
	}
	if p != nil {
		pairs = append(pairs, "method", string(p.Method), "site", cut(p.Host, longestSite), "path", cut(p.Path, longestPath))
		for _, f := range [...]struct{ name, key string }{{"referer", "referer"}, {"user-agent", "agent"}} {
			if v, ok := p.Get(f.name); ok {
				pairs = append(pairs, f.key, cut(v, longestField))
			}
		}
	}
	a.to.Info("request", pairs...)
}

// address is the address without its port.
func address(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return a.String()
}

// cut is b, or its beginning with dots.
func cut(b []byte, most int) string {
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}

// note counts and logs a response to p, or to what could not be read: then p is nil.
func (s *server) note(w interface{ RemoteAddr() net.Addr }, p *http1.Request, r *site.Response) {
	if c := s.counts; feature.Management && c != nil {
		c.response(r)
	}
	if a := s.access; a != nil && a.wants(r.Status, s.clock.ticks.Load()) {
		a.request(w.RemoteAddr(), p, r)
	}
}
