package tlsd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	"ampoule/appliances/tls/session"
	"ampoule/libos/crl"
	"ampoule/libos/telemetry/metrics"
)

// Outcomes of handshakes, as second indexes of Stats.Handshakes.
const (
	Full     = iota // a new session
	Resumed         // with a ticket
	Refused         // by the terminator: nothing in common, a name, a client's certificate
	Rejected        // by the client, with an alert: our certificate, mostly
	Closed          // by the client, without a word
	Limited         // by a bound: the time, or the place was needed; or the terminator ended
	Revoked         // by the terminator: the client's certificate, or there is no list in force
	outcomes
)

var outcomeNames = [outcomes]string{"full", "resumed", "refused", "rejected", "closed", "limited", "revoked"}

// Versions of handshakes, as first indexes of Stats.Handshakes.
const (
	unknown = iota // the handshake ended before it was agreed on
	TLS12
	TLS13
	versions
)

var versionNames = [versions]string{"unknown", "TLSv1.2", "TLSv1.3"}

// shaken counts the handshake of c, which ended with err.
func (s *Stats) shaken(c *conn, err error) {
	state := c.tls.ConnectionState()
	version, outcome := unknown, Full
	switch state.Version {
	case tls.VersionTLS12:
		version = TLS12
	case tls.VersionTLS13:
		version = TLS13
	}
	var op *net.OpError
	var revoked *session.RevokedError
	switch {
	case err == nil && state.DidResume:
		outcome = Resumed
	case err == nil:
	case c.over.Load():
		outcome = Limited
	case errors.As(err, &revoked):
		outcome = Revoked
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		outcome = Closed
	case errors.As(err, &op) && op.Op == "remote error": // as crypto/tls calls an alert
		outcome = Rejected
	case errors.As(err, &op) && op.Op != "local error":
		outcome = Closed
	default:
		outcome = Refused
	}
	s.Handshakes[version][outcome].Add(1)
}

// maxRevoked is how many clients that are refused as revoked the log names in a tick.
const maxRevoked = 10

// revoked writes a line about a client that is refused because of revocation lists.
func (t *Terminator) revoked(c *conn, err error) {
	var r *session.RevokedError
	if !errors.As(err, &r) || t.named.Add(1) > maxRevoked {
		return
	}
	t.log.Audit("client refused", "client", c.remote, "result", crl.Reason(r.Err), "subject", r.Certificate.Subject.String(),
		"issuer", r.Certificate.Issuer.String(), "serial", r.Certificate.SerialNumber.Text(16), "generation", t.session.Generation())
}

// lacks says what is missing for clients to be served.
func (t *Terminator) lacks() string {
	var all []string
	if l := t.session.Lacks(); l != "" {
		all = append(all, l)
	}
	well := false
	for _, b := range t.pool.States() {
		well = well || b.Well && !b.Draining
	}
	if !well {
		all = append(all, "no backend is well")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining {
		all = append(all, "it is ending")
	}
	return strings.Join(all, "; ")
}

// collect writes the metrics.
func (t *Terminator) collect(w *metrics.Writer) {
	s := &t.stats
	w.Family("ampoule_tls_handshakes_total", metrics.Counter, "Handshakes of clients by version and outcome.")
	for v := range s.Handshakes {
		for o := range s.Handshakes[v] {
			if v == unknown && (o == Full || o == Resumed) {
				continue
			}
			w.Value(count(&s.Handshakes[v][o]), metrics.Label{Name: "version", Value: versionNames[v]}, metrics.Label{Name: "outcome", Value: outcomeNames[o]})
		}
	}
	w.One("ampoule_tls_connections", metrics.Gauge, "Connections of clients.", count(&s.Open))
	w.Family("ampoule_tls_connections_total", metrics.Counter, "Connections of clients: accepted, or refused for a limit.")
	w.Value(count(&s.Accepted), metrics.Label{Name: "fate", Value: "accepted"})
	w.Value(count(&s.Refused), metrics.Label{Name: "fate", Value: "refused"})
	w.Family("ampoule_tls_connections_failed_total", metrics.Counter,
		"Connections that ended badly after the handshake: without a backend, cut by either end, out of time, or because memory was short.")
	w.Value(count(&s.NoBackend), metrics.Label{Name: "reason", Value: "no_backend"})
	w.Value(count(&s.Cut), metrics.Label{Name: "reason", Value: "cut"})
	w.Value(count(&s.Late), metrics.Label{Name: "reason", Value: "timeout"})
	w.Value(count(&s.Shed), metrics.Label{Name: "reason", Value: "memory"})
	w.Family("ampoule_tls_bytes_total", metrics.Counter, "Bytes within TLS, by direction.")
	w.Value(count(&s.FromClient), metrics.Label{Name: "direction", Value: "from_client"})
	w.Value(count(&s.ToThem), metrics.Label{Name: "direction", Value: "to_client"})
	w.One("ampoule_tls_generation", metrics.Gauge, "Number of the generation of certificates that handshakes get.", t.session.Generation())
	t.collectBackends(w)
}

// count is what a counter has, which is never below zero.
func count(n interface{ Load() int64 }) uint64 { return uint64(max(n.Load(), 0)) }

// collectBackends writes what there is about each backend.
func (t *Terminator) collectBackends(w *metrics.Writer) {
	all := t.pool.States()
	label := func(i int) metrics.Label { return metrics.Label{Name: "backend", Value: all[i].Address} }
	w.Family("ampoule_tls_backend_up", metrics.Gauge, "Whether checks and connections find the backend well.")
	for i := range all {
		w.Bool(all[i].Well, label(i))
	}
	w.Family("ampoule_tls_backend_draining", metrics.Gauge, "Whether the backend gets no new connections.")
	for i := range all {
		w.Bool(all[i].Draining, label(i))
	}
	w.Family("ampoule_tls_backend_connections", metrics.Gauge, "Connections to the backend.")
	for i := range all {
		w.Value(uint64(max(all[i].Active, 0)), label(i))
	}
	w.Family("ampoule_tls_backend_connections_total", metrics.Counter, "Connections that the backend took.")
	for i := range all {
		w.Value(all[i].Taken, label(i))
	}
	w.Family("ampoule_tls_backend_failures_total", metrics.Counter, "Connections that the backend did not take, and checks that failed.")
	for i := range all {
		w.Value(all[i].Failed, label(i), metrics.Label{Name: "of", Value: "connection"})
		w.Value(all[i].FailedChecks, label(i), metrics.Label{Name: "of", Value: "check"})
	}
}
