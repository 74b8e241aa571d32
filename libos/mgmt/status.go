package mgmt

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/metrics"
)

// ownRoutes are those that every plane has.
func (s *Server) ownRoutes() []Route {
	return append(s.certificateRoutes(), []Route{
		{"GET", "/healthz", Read, func(c *Call) { c.Text([]byte("ok\n")) }},
		{"GET", "/readyz", Read, s.readyz},
		{"GET", "/metrics", Read, s.metrics},
		{"GET", "/v1/status", Read, s.status},
		{"GET", "/v1/crash", Read, s.lastCrash},
		{"GET", "/v1/log", Read, s.recent},
		{"GET", "/v1/log/level", Read, func(c *Call) { c.Text([]byte(s.host.Log.Level().String() + "\n")) }},
		{"PUT", "/v1/log/level", Operate, s.setLevel},
	}...)
}

// setLevel changes the level of the log on the console.
func (s *Server) setLevel(c *Call) {
	before := s.host.Log.Level()
	level, ok := telemetry.ParseLevel(strings.TrimSpace(string(c.Body)))
	if !ok {
		c.Audit("log level", "no-level")
		c.Fail(422, "no-level", "A level is one of debug, info, warn and error.")
		return
	}
	s.host.Log.SetLevel(level)
	s.changed(c, "log level", "done", "old", before, "new", level)
	c.Text([]byte(level.String() + "\n"))
}

// maxLines is how many lines of the log are given if nothing is said.
const maxLines = 100

// recent answers with the last lines of the log.
func (s *Server) recent(c *Call) {
	q, ok := c.Query("lines")
	lines := maxLines
	if v := q["lines"]; v != "" {
		n, err := strconv.Atoi(v)
		lines, ok = n, ok && err == nil && n > 0 && n <= 10000
	}
	switch {
	case !ok:
		c.Fail(400, "bad-parameter", "The only parameter is lines, from 1 to 10000.")
	case s.host.Recent == nil:
		c.Fail(503, "no-log", "No lines are kept.")
	default:
		c.Text(s.host.Recent.Last(lines))
	}
}

// missing says what the appliance still lacks to be ready; empty: nothing.
func (s *Server) missing() string {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	var all []string
	for _, r := range ready {
		if m := r(); m != "" {
			all = append(all, m)
		}
	}
	return strings.Join(all, "; ")
}

func (s *Server) readyz(c *Call) {
	if m := s.missing(); m != "" {
		c.Fail(503, "not-ready", "Not ready: "+m+".")
		return
	}
	c.Text([]byte("ready\n"))
}

func (s *Server) metrics(c *Call) {
	var w metrics.Writer
	s.mu.Lock()
	collectors := s.collectors
	s.mu.Unlock()
	s.collect(&w)
	for _, f := range collectors {
		f(&w)
	}
	c.Type, c.Out = metrics.Type, w.Bytes()
}

func (s *Server) status(c *Call) {
	h, g := s.host, s.certs.Current()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	missing := s.missing()
	var o object
	o.open('{')
	o.text("appliance", h.Appliance)
	o.text("hostname", h.Hostname)
	o.text("platform", h.Platform)
	o.text("build", h.Build)
	o.text("configuration", h.Configuration)
	o.text("go", runtime.Version())
	o.number("generation", g.Number)
	o.time("generation_since", g.Since)
	kept, notice := s.kept()
	o.flag("persisted", kept)
	if notice != "" {
		o.text("notice", notice)
	}
	o.flag("ready", missing == "")
	if missing != "" {
		o.text("missing", missing)
	}
	o.time("now", c.Now)
	o.number("uptime_seconds", uint64(h.Up().Seconds()))
	o.key("memory")
	o.open('{')
	o.number("ram", h.Memory)
	o.number("heap", m.HeapAlloc)
	o.number("system", m.Sys)
	o.close('}')
	o.text("you", c.Who)
	o.text("role", c.conn.role.String())
	o.close('}')
	c.reply(&o)
}

// collect writes the plane's own metrics.
func (s *Server) collect(w *metrics.Writer) {
	h, g := s.host, s.certs.Current()
	w.One("ampoule_build_info", metrics.Gauge, "Which image this is.", 1, metrics.Label{Name: "appliance", Value: h.Appliance},
		metrics.Label{Name: "build", Value: h.Build}, metrics.Label{Name: "configuration", Value: h.Configuration},
		metrics.Label{Name: "goversion", Value: runtime.Version()})
	w.Family("ampoule_uptime_seconds", metrics.Gauge, "Time since the machine's start.")
	w.Seconds(int64(h.Up()))
	w.One("ampoule_certificates_generation", metrics.Gauge, "Number of the generation of certificates in force.", g.Number)
	kept, _ := s.kept()
	w.Family("ampoule_certificates_persisted", metrics.Gauge, "Whether a restart finds that generation.")
	w.Bool(kept)
	w.Family("ampoule_certificate_expiry_timestamp_seconds", metrics.Gauge, "When the first certificate of a chain in force ends.")
	generation := strconv.FormatUint(g.Number, 10)
	for _, name := range slots(g.Certificates) {
		x := g.Certificates[name]
		w.Signed(x.Expiry().Unix(), metrics.Label{Name: "slot", Value: name}, metrics.Label{Name: "sha256", Value: fingerprint(x.Leaf())},
			metrics.Label{Name: "generation", Value: generation})
	}
	w.Family("ampoule_certificate_staple_expiry_timestamp_seconds", metrics.Gauge, "When the OCSP response about a certificate ends; it is not served from then on.")
	for _, name := range slots(g.Certificates) {
		x := g.Certificates[name]
		if staple := x.Staple(); staple != nil {
			w.Signed(staple.NextUpdate.Unix(), metrics.Label{Name: "slot", Value: name}, metrics.Label{Name: "sha256", Value: fingerprint(x.Leaf())})
		}
	}
	w.Family("ampoule_crl_expiry_timestamp_seconds", metrics.Gauge, "When the first revocation list of a slot's authorities ends; clients of theirs are refused from then on.")
	for _, name := range slots(g.Authorities) {
		if l := g.Authorities[name].Lists(); l != nil {
			w.Signed(l.NextUpdate().Unix(), metrics.Label{Name: "slot", Value: name})
		}
	}
	s.countCrash(w)
	w.Family("ampoule_management_handshakes_total", metrics.Counter, "TLS handshakes of management clients.")
	w.Value(s.count.handshakes.Load(), metrics.Label{Name: "outcome", Value: "done"})
	w.Value(s.count.failed.Load(), metrics.Label{Name: "outcome", Value: "failed"})
	w.Value(s.count.refused.Load(), metrics.Label{Name: "outcome", Value: "refused"})
	w.Family("ampoule_management_requests_total", metrics.Counter, "Management requests by the class of their status.")
	for i, class := range []string{"2xx", "3xx", "4xx", "5xx"} {
		w.Value(s.count.requests[i+2].Load(), metrics.Label{Name: "status", Value: class})
	}
	w.One("ampoule_management_denied_total", metrics.Counter, "Requests of clients without the role for them.", s.count.denied.Load())
	w.One("ampoule_management_changes_total", metrics.Counter, "Changes that were made.", s.count.changes.Load())
}

// slots are the names of slots in order.
func slots[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
