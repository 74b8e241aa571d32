package secondary

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/libos/telemetry/metrics"
)

// Collect implements dnsd.Collector.
func (s *Server) Collect(w *metrics.Writer) {
	s.Server.Collect(w)
	label := func(name, value string) metrics.Label { return metrics.Label{Name: name, Value: value} }
	c := &s.stats
	w.Family("ampoule_dns_transfers_in_total", metrics.Counter, "Zones taken from other servers, and attempts that failed.")
	w.Value(c.AXFR.Load(), label("kind", "axfr"))
	w.Value(c.IXFR.Load(), label("kind", "ixfr"))
	w.Value(c.Failed.Load(), label("kind", "failed"))
	w.One("ampoule_dns_transfers_too_large_total", metrics.Counter, "Transfers refused for their size.", c.TooLarge.Load())
	w.One("ampoule_dns_zone_checks_total", metrics.Counter, "Questions to primaries for the serial number.", c.Checked.Load())
	w.One("ampoule_dns_zones_expired_total", metrics.Counter, "Zones that no primary confirmed in time.", c.Expired.Load())
	w.Family("ampoule_dns_notify_in_total", metrics.Counter, "NOTIFY that came.")
	denied := c.Denied.Load()
	w.Value(c.NotifyIn.Load()-denied, label("outcome", "taken"))
	w.Value(denied, label("outcome", "denied"))
	w.One("ampoule_dns_zone_bytes", metrics.Gauge, "Bytes of zones from other servers and their journals.", uint64(max(c.Bytes.Load(), 0)))
	items := s.all()
	w.Family("ampoule_dns_zone_expiry_timestamp_seconds", metrics.Gauge, "When a zone expires that no primary confirms.")
	for _, it := range items {
		if at, ok := it.expires(); ok {
			w.Signed(at.Unix(), label("zone", presentation(it.conf.Origin)))
		}
	}
	w.Family("ampoule_dns_zone_serial", metrics.Gauge, "Serial number of a zone from other servers.")
	for _, it := range items {
		it.mu.Lock()
		serial, there := it.soa.Serial, it.content != ""
		it.mu.Unlock()
		if there {
			w.Value(uint64(serial), label("zone", presentation(it.conf.Origin)))
		}
	}
}

// all are the items in the order of their origins.
func (s *Server) all() []*item {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*item, 0, len(s.items))
	for _, it := range s.items {
		all = append(all, it)
	}
	slices.SortFunc(all, func(a, b *item) int { return strings.Compare(a.conf.Origin, b.conf.Origin) })
	return all
}

// expires is when the item's content ends, unless a primary confirms it; false:
// there is none.
func (it *item) expires() (time.Time, bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.fresh.Add(it.s.cfg.Expire.clamp(it.soa.Expire)), it.content != ""
}

// Missing implements dnsd.Readier: zones that have never been loaded.
func (s *Server) Missing() string {
	n, first := 0, ""
	for _, it := range s.all() {
		if it.current() == "" {
			if n++; first == "" {
				first = presentation(it.conf.Origin)
			}
		}
	}
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n) + " zones have not been transferred yet, such as " + first
}
