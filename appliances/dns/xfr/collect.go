package xfr

import "ampoule/libos/telemetry/metrics"

// Collect implements dnsd.Collector.
func (s *Server) Collect(w *metrics.Writer) {
	kind := func(name string) metrics.Label { return metrics.Label{Name: "kind", Value: name} }
	w.Family("ampoule_dns_transfers_out_total", metrics.Counter, "Zones given to other servers, and transfers refused.")
	w.Value(s.stats.AXFR.Load(), kind("axfr"))
	w.Value(s.stats.IXFR.Load(), kind("ixfr"))
	w.Value(s.stats.Refused.Load(), kind("refused"))
	outcome := func(name string) metrics.Label { return metrics.Label{Name: "outcome", Value: name} }
	w.Family("ampoule_dns_notify_out_total", metrics.Counter, "NOTIFY sent to other servers.")
	w.Value(s.stats.Notified.Load(), outcome("answered"))
	w.Value(s.stats.Unheard.Load(), outcome("unanswered"))
}
