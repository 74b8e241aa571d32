package certs

import (
	"slices"
	"time"

	"ampoule/libos/format"
)

// Holder is a plane.Plane that gives appliances its certificates, for those that
// need more than its Secure: names of their own, authorities for clients, tickets.
type Holder interface {
	// Certificates is the store. An appliance may read and Watch it.
	Certificates() *Store
}

// watcher is who wants to know of generations.
type watcher struct{ f func(*Generation) }

// Watch calls f once for each generation that comes into force after this call, in
// their order, from the goroutine that commits it and before the commit is answered:
// what f puts in its place serves from then on. f must neither block nor use the
// Store, but for Current. cancel, which f must not call, ends that.
func (s *Store) Watch(f func(*Generation)) (cancel func()) {
	w := &watcher{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, w)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.watchers, w); i >= 0 {
			s.watchers = slices.Delete(s.watchers, i, i+1)
		}
	}
}

// Initial is a certificate, or a bundle of authorities, that was compiled in.
type Initial struct {
	Kind   Kind
	Slot   string
	PEM    string
	Staple string // an OCSP response in DER, or nothing
}

// Begin adds what was compiled in to the generation that the Store begins with. It is
// called before Restore and before anybody else has the Store. Dates don't matter: the
// image was built when they were good.
func (s *Store) Begin(all []Initial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	g := old.clone(old.Who, old.Since)
	g.Number = old.Number
	for _, i := range all {
		v := Value{Name: string(i.Kind) + "/" + i.Slot, Data: []byte(i.PEM)}
		if err := g.restore(v, s.cfg.Roots); err != nil {
			return format.Errorf("%s of the image: %w", v.Name, err)
		}
		if i.Kind == KindCertificate && i.Staple != "" {
			c := g.Certificates[i.Slot]
			// One that clients would refuse is left out: they do without.
			if staple, p := checkStaple([]byte(i.Staple), c, time.Time{}); p == nil {
				g.Certificates[i.Slot] = c.stapled(staple)
			}
		}
	}
	if p := g.index(); p != nil {
		return format.Errorf("certificates of the image: %w", p)
	}
	s.current.Store(g)
	return nil
}
