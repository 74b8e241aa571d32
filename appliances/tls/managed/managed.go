// Package managed gives the TLS terminator the certificates that the management plane
// holds (libos/mgmt/certs). The configuration of an image that has a plane brings it;
// others have none of it.
//
// A certificate is for all the names that it has, and a name may have one for each kind
// of key. The slot "default" is for clients that ask for no name or an unknown one, and
// so is the only slot when there is one; without a default such clients are refused. The
// authorities of the slot "clients" are those that clients' certificates are checked with.
package managed

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"ampoule/appliances/tls/certs"
	"ampoule/libos/appliance"
	"ampoule/libos/format"
	held "ampoule/libos/mgmt/certs"
	"ampoule/libos/telemetry"
)

// Clients is the slot of the authorities that clients' certificates are checked with, and
// of their revocation lists.
const Clients = "clients"

// Certificates is a tlsd.Managed: plain data that tools/configc writes as Go source.
type Certificates struct {
	// Clients says that clients are asked for a certificate.
	Clients bool
}

// Open implements tlsd.Managed.
func (c Certificates) Open(env *appliance.Env) (certs.Source, error) {
	h, ok := env.Management.(held.Holder)
	if !ok {
		return nil, format.Errorf("managed: there is no management plane with certificates")
	}
	return &source{c, h.Certificates(), env.Log}, nil
}

// source is a certs.Source.
type source struct {
	cfg   Certificates
	store *held.Store
	log   *telemetry.Logger
}

// Current implements certs.Source.
func (s *source) Current() *certs.Generation { return s.convert(s.store.Current()) }

// Watch implements certs.Source.
func (s *source) Watch(f func(*certs.Generation)) (cancel func()) {
	return s.store.Watch(func(g *held.Generation) { f(s.convert(g)) })
}

// convert is a generation as the terminator knows it. Certificates for one name come in
// the order in which clients get them.
func (s *source) convert(g *held.Generation) *certs.Generation {
	out := &certs.Generation{Number: g.Number}
	fallback := g.Fallback()
	var all []*held.Certificate
	for _, slot := range slices.Sorted(maps.Keys(g.Certificates)) {
		if slot != held.Management {
			all = append(all, g.Certificates[slot])
		}
	}
	slices.SortStableFunc(all, held.Cheaper)
	for _, c := range all {
		out.Certificates = append(out.Certificates, certs.Certificate{TLS: c.TLS, Names: c.Hosts, Default: slices.Contains(fallback, c),
			Serve: func() *tls.Certificate { return c.Serve(time.Now()) }})
	}
	switch a := g.Authorities[Clients]; {
	case a == nil:
	case s.cfg.Clients:
		out.Clients = a.Pool
		if l := a.Lists(); l != nil {
			out.Revoked = func(chains [][]*x509.Certificate) error { return l.Check(chains, time.Now()) }
		}
	default:
		s.log.Warn("authorities of clients are held, but the configuration has no [tls.clients]: nobody is asked for a certificate", "generation", g.Number)
	}
	return out
}
