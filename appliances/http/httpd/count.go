package httpd

import (
	"strconv"
	"sync/atomic"

	"ampoule/libos/config/site"
	"ampoule/libos/telemetry/metrics"
)

// statuses are all that responses have; any other is counted as the last.
var statuses = [...]uint16{200, 304, 206, 404, 301, 204, 302, 303, 307, 308, 400, 403, 405, 406, 408, 410, 412, 413, 414, 416,
	417, 421, 429, 431, 501, 503, 505, 500}

const codings = 4

// counts are what the management plane shows. Their number depends on the
// configuration alone, never on what clients ask for.
type counts struct {
	// responses by host, status and coding; those of no host come first.
	responses []atomic.Uint64
	body      []atomic.Uint64 // octets by host

	opened atomic.Uint64
	shed   atomic.Uint64              // connections ended since memory was short, or to make room
	late   [len(phases)]atomic.Uint64 // connections ended by a time-out
}

// phases are those of a connection that have a time-out.
var phases = [...]string{"idle", "read", "write"}

const (
	lateIdle = iota
	lateRead
	lateWrite
)

func newCounts(hosts int) *counts {
	return &counts{
		responses: make([]atomic.Uint64, (hosts+1)*len(statuses)*codings),
		body:      make([]atomic.Uint64, hosts+1),
	}
}

// response counts one.
func (c *counts) response(r *site.Response) {
	host := r.Host + 1
	if host < 0 || host >= len(c.body) {
		host = 0
	}
	slot := len(statuses) - 1
	for i, s := range statuses {
		if int(s) == r.Status {
			slot = i
			break
		}
	}
	c.responses[(host*len(statuses)+slot)*codings+int(r.Coding)%codings].Add(1)
	c.body[host].Add(uint64(r.Body))
}

// collect writes the counts.
func (s *server) collect(w *metrics.Writer) {
	c := s.counts
	name := func(host int) metrics.Label {
		l := metrics.Label{Name: "host"}
		if host > 0 && host <= len(s.Names) {
			l.Value = s.Names[host-1]
		}
		return l
	}
	w.Family("ampoule_http_responses_total", metrics.Counter, "Responses by site, status and content coding; those of no site have no host.")
	for i := range c.responses {
		if n := c.responses[i].Load(); n > 0 {
			slot := i / codings
			w.Value(n, name(slot/len(statuses)), metrics.Label{Name: "code", Value: strconv.Itoa(int(statuses[slot%len(statuses)]))},
				metrics.Label{Name: "encoding", Value: site.Coding(i % codings).String()})
		}
	}
	w.Family("ampoule_http_response_body_bytes_total", metrics.Counter, "Bytes of responses' bodies by site.")
	for i := range c.body {
		w.Value(c.body[i].Load(), name(i))
	}
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	w.One("ampoule_http_connections", metrics.Gauge, "Connections that are open.", uint64(open))
	w.One("ampoule_http_connections_total", metrics.Counter, "Connections that were opened.", c.opened.Load())
	w.Family("ampoule_http_timeouts_total", metrics.Counter, "Connections that took too long: to ask, to send the head of a request, to take a response.")
	for i, p := range phases {
		w.Value(c.late[i].Load(), metrics.Label{Name: "phase", Value: p})
	}
	w.One("ampoule_http_connections_shed_total", metrics.Counter, "Connections that were ended or not taken because memory was short or there were too many.", c.shed.Load())
	w.One("ampoule_http_log_lines_left_out_total", metrics.Counter, "Lines of the access log beyond its rate.", s.access.leftOut())
}
