package mgmt

import (
	"strings"

	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry/metrics"
)

// keepCrash takes over what keeps crashes, and says what is there.
func (s *Server) keepCrash(c plane.Crashes) {
	s.crash = c
	last, why := c.Crash()
	if why != "" {
		s.host.Log.Warn("a crash would leave no record", "reason", why)
	}
	if last == nil {
		return
	}
	first, _, _ := strings.Cut(last.Text, "\n")
	s.host.Log.Warn("an earlier run crashed", "time", last.Time, "build", last.Build, "said", first[:min(len(first), 256)])
}

// lastCrash answers with the record of the last crash.
func (s *Server) lastCrash(c *Call) {
	if s.crash == nil {
		c.Fail(404, "no-crash", "No crash is recorded, and none would be: there is no disk for it.")
		return
	}
	last, why := s.crash.Crash()
	switch {
	case last == nil && why != "":
		c.Fail(404, "no-crash", "No crash is recorded, and none would be: "+why+".")
		return
	case last == nil:
		c.Fail(404, "no-crash", "No crash is recorded.")
		return
	}
	var o object
	o.open('{')
	o.time("time", last.Time)
	o.text("build", last.Build)
	o.text("text", last.Text)
	o.close('}')
	c.reply(&o)
}

// countCrash writes when the last crash was.
func (s *Server) countCrash(w *metrics.Writer) {
	if s.crash == nil {
		return
	}
	if last, _ := s.crash.Crash(); last != nil {
		w.Family("ampoule_last_crash_timestamp_seconds", metrics.Gauge, "When the last crash was that left a record.")
		w.Signed(last.Time.Unix())
	}
}
