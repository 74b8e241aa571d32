package dnsd

import (
	"strconv"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/config/zone"
	"ampoule/libos/telemetry/metrics"
)

// types are the names of types that are counted by name, by slot.
var types = map[int]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 28: "AAAA", 29: "LOC",
	33: "SRV", 35: "NAPTR", 39: "DNAME", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3",
	51: "NSEC3PARAM", 52: "TLSA", 59: "CDS", 60: "CDNSKEY", 64: "SVCB", 65: "HTTPS", 99: "SPF", 251: "IXFR", 252: "AXFR",
	255: "ANY", slotURI: "URI", slotCAA: "CAA",
}

// rcodes are the names of rcodes (RFC 6895, section 2.3).
var rcodes = [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
	"NXRRSET", "NOTAUTH", "NOTZONE", 16: "BADVERS"}

// labels are those that CoreDNS has on all that follows: the server as a URL, the
// zone of the server block, which is the root as there is one block, and the view.
func (s *server) labels(w way, more ...metrics.Label) []metrics.Label {
	url, proto := "dns://:"+strconv.Itoa(int(s.cfg.Port)), "udp"
	switch w {
	case overTCP:
		proto = "tcp"
	case overTLS:
		url, proto = "tls://:"+strconv.Itoa(int(s.cfg.TLSPort)), "tcp"
	}
	return append([]metrics.Label{{Name: "server", Value: url}, {Name: "zone", Value: "."}, {Name: "view", Value: ""},
		{Name: "proto", Value: proto}}, more...)
}

// collect writes the counters with the names that CoreDNS has for them
// (coredns.io/plugins/metrics), as far as it has. Where it has no label for the
// protocol there is one more here.
func (s *server) collect(w *metrics.Writer) {
	s.countMu.Lock()
	defer s.countMu.Unlock()
	all := s.merged()
	w.Family("coredns_dns_requests_total", metrics.Counter, "DNS queries by transport, family and type.")
	for p := overUDP; p < ways; p++ {
		s.requests(w, p, &all[p])
	}
	w.Family("coredns_dns_responses_total", metrics.Counter, "DNS answers by rcode.")
	for p := overUDP; p < ways; p++ {
		for code, n := range all[p].rcodes {
			if n > 0 {
				name := "RCODE" + strconv.Itoa(code)
				if code < len(rcodes) && rcodes[code] != "" {
					name = rcodes[code]
				}
				w.Value(n, s.labels(p, metrics.Label{Name: "rcode", Value: name}, metrics.Label{Name: "plugin", Value: "ampoule"})...)
			}
		}
	}
	w.Family("coredns_dns_do_requests_total", metrics.Counter, "DNS queries with the DO bit.")
	for p := overUDP; p < ways; p++ {
		w.Value(all[p].do, s.labels(p)...)
	}
	w.Family("coredns_dns_response_size_bytes", metrics.Histogram, "Sizes of DNS answers.")
	for p := overUDP; p < ways; p++ {
		w.Sizes(&all[p].response, s.labels(p)...)
	}
	w.Family("coredns_dns_request_duration_seconds", metrics.Histogram,
		"Time that an answer took to make; those made in the driver's buffer are not among them.")
	for p := overUDP; p < ways; p++ {
		w.Times(&all[p].took, s.labels(p)...)
	}
	w.Family("ampoule_dns_unanswered_total", metrics.Counter, "DNS queries without an answer: above the rate, or not to be answered.")
	for p := overUDP; p < ways; p++ {
		w.Value(all[p].silent, s.labels(p)...)
	}
	w.Family("ampoule_dns_tls_refused_total", metrics.Counter, "Connections of DNS over TLS beyond the rate.")
	for _, st := range s.streams {
		if st.way == overTLS {
			w.Value(st.refused.Load())
		}
	}
	w.One("coredns_panics_total", metrics.Counter, "Queries that made the server panic.", s.panicked.Load())
	s.zones(w, time.Now())
}

// merged is the counts of all ways, the quick ones among those over UDP. The caller
// holds countMu.
func (s *server) merged() *[ways]counts {
	all := *s.counts
	s.quickCounts.addTo(&all[overUDP])
	return &all
}

// requests writes the queries of one way. Types that have no name are one.
func (s *server) requests(w *metrics.Writer, p way, c *counts) {
	for f, family := range [...]string{"2", "1"} { // as CoreDNS numbers them: 1 is IPv4
		other := uint64(0)
		for i, n := range c.types[f] {
			name := types[i]
			if name == "" {
				other += n
			} else if n > 0 {
				w.Value(n, s.labels(p, metrics.Label{Name: "family", Value: family}, metrics.Label{Name: "type", Value: name})...)
			}
		}
		if other > 0 {
			w.Value(other, s.labels(p, metrics.Label{Name: "family", Value: family}, metrics.Label{Name: "type", Value: "other"})...)
		}
	}
}

// zones writes what there is about each zone.
func (s *server) zones(w *metrics.Writer, now time.Time) {
	w.Family("ampoule_dns_zone_loaded", metrics.Gauge, "Whether a zone has content: 0 until it is transferred, and when it has expired.")
	s.answer.Each(func(origin string, z zone.Zone) {
		w.Bool(z != "", metrics.Label{Name: "zone", Value: answer.Presentation(origin)})
	})
	w.Family("ampoule_dns_signature_expiry_timestamp_seconds", metrics.Gauge, "When the first signature of a signed zone ends.")
	s.answer.Each(func(origin string, z zone.Zone) {
		if z != "" && z.Expiry() != 0 {
			w.Signed(now.Unix()+int64(int32(z.Expiry()-uint32(now.Unix()))), metrics.Label{Name: "zone", Value: answer.Presentation(origin)})
		}
	})
}
