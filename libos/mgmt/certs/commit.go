package certs

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"maps"
	"time"
)

// Client is who asks for a change: it must still be welcome after it.
type Client struct {
	Who   string
	Chain []*x509.Certificate // as it sent it; empty: it is not asked for
}

// Validate says what a commit would be refused for; nil: nothing.
func (s *Store) Validate(c Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, p := s.next(c)
	return asError(p)
}

// Commit puts what is staged in force, if the current generation still has the
// number base, and returns the new number.
func (s *Store) Commit(c Client, base uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.current.Load()
	if base != now.Number {
		return now.Number, conflict(now.Number, base)
	}
	g, p := s.next(c)
	if p != nil {
		return now.Number, p
	}
	if err := s.replace(g); err != nil {
		return now.Number, err
	}
	s.staged = nil
	return g.Number, nil
}

// Abort forgets what is staged, whoever did it.
func (s *Store) Abort() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged == nil {
		return refuse(Nothing, "Nothing is staged.")
	}
	s.staged = nil
	return nil
}

// Rollback puts the content of the generation before in force again, as a new
// generation, if the current one still has the number base.
func (s *Store) Rollback(c Client, base uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.current.Load()
	if base != now.Number {
		return now.Number, conflict(now.Number, base)
	}
	if s.previous == nil {
		return now.Number, refuse(NoPrevious, "There is no generation before this one.")
	}
	g := s.previous.clone(c.Who, s.cfg.Now())
	g.Number = now.Number + 1
	maps.Copy(g.Revoked, now.Revoked) // who was revoked since stays so
	if p := g.keepLists(now, nil); p != nil {
		return now.Number, p
	}
	if p := s.check(g, c); p != nil {
		return now.Number, p
	}
	if err := s.replace(g); err != nil {
		return now.Number, err
	}
	return g.Number, nil
}

func conflict(now, base uint64) *Problem {
	return refuse(Conflict, "The generation is %d, not %d: somebody else made a change.", now, base)
}

// replace makes g durable, which may give it another number, and puts it in force.
func (s *Store) replace(g *Generation) error {
	now := s.current.Load()
	if s.cfg.Keep != nil {
		n, err := s.cfg.Keep.Keep(now.Number, both(g, now))
		if errors.Is(err, ErrTooMuch) {
			// The way back is given up after a restart, rather than the change.
			n, err = s.cfg.Keep.Keep(now.Number, g.values())
		}
		if err != nil {
			return refuse(StoreFailed, "The generation could not be stored: %v.", err)
		}
		g.Number = n
	}
	s.previous = now
	s.current.Store(g)
	for _, w := range s.watchers {
		w.f(g)
	}
	return nil
}

// next makes the generation that a commit would put in force.
func (s *Store) next(c Client) (*Generation, *Problem) {
	t := s.staged
	if t == nil || len(t.values) == 0 || s.cfg.Now().Sub(t.last) > Patience {
		return nil, refuse(Nothing, "Nothing is staged.")
	}
	if t.who != c.Who {
		return nil, refuse(Busy, "What is staged was staged by %s.", t.who)
	}
	g := s.current.Load().clone(c.Who, s.cfg.Now())
	for _, later := range []bool{false, true} { // what is for the new certificates
		for e, v := range t.values {
			if e.kind.depends() != later {
				continue
			}
			if p := g.set(e, v, s.cfg.Now()); p != nil {
				return nil, p
			}
		}
	}
	if p := g.keepLists(s.current.Load(), t); p != nil {
		return nil, p
	}
	return g, s.check(g, c)
}

// set changes one value of a generation that is not in force yet.
func (g *Generation) set(e entry, v any, now time.Time) *Problem {
	missing := refuse(SlotMissing, "There is nothing of that name that could go.")
	missing.Slot = e.name
	switch e.kind {
	case KindCertificate:
		if v == nil {
			if g.Certificates[e.name] == nil {
				return missing
			}
			delete(g.Certificates, e.name)
			return nil
		}
		g.Certificates[e.name] = v.(*Certificate)
	case KindAuthority:
		if v == nil {
			if g.Authorities[e.name] == nil {
				return missing
			}
			delete(g.Authorities, e.name)
			return nil
		}
		g.Authorities[e.name] = v.(*Authority)
	case KindStaple:
		c := g.Certificates[e.name]
		if c == nil || v == nil && c.staple == nil {
			return missing
		}
		var staple *Staple
		if v != nil {
			var p *Problem
			if staple, p = checkStaple(v.(*Staple).der, c, now); p != nil {
				p.Slot = e.name
				return p
			}
		}
		g.Certificates[e.name] = c.stapled(staple)
	case KindCRL:
		a := g.Authorities[e.name]
		if a == nil || v == nil && a.lists == nil {
			return missing
		}
		var lists *Lists
		if v != nil {
			var p *Problem
			if lists, p = checkLists(v.(*Lists).pem, a, now); p != nil {
				p.Slot = e.name
				return p
			}
		}
		g.Authorities[e.name] = a.listed(lists)
	case KindRevoked:
		var sum [32]byte
		hex.Decode(sum[:], []byte(e.name)) // Stage has seen that it is one
		if v == nil {
			if !g.Revoked[sum] {
				return missing
			}
			delete(g.Revoked, sum)
			return nil
		}
		g.Revoked[sum] = true
	}
	return nil
}

// check checks a generation as a whole, and its values once more: time has passed.
func (s *Store) check(g *Generation, c Client) *Problem {
	if n := max(len(g.Certificates), len(g.Authorities), len(g.Revoked)/revokedPerSlot); n > s.cfg.Slots {
		return refuse(SlotsFull, "There would be %d slots; at most %d are configured.", n, s.cfg.Slots)
	}
	now := s.cfg.Now()
	for slot, v := range g.Certificates {
		if p := expired(v, now); p != nil {
			p.Slot = slot
			return p
		}
	}
	for _, r := range s.cfg.Required {
		v := g.Certificates[r.Slot]
		if v == nil {
			continue
		}
		for _, h := range r.Hosts {
			if v.Leaf().VerifyHostname(h) != nil {
				p := refuse(NameMissing, "The configuration wants slot %s to be good for %s, which its certificate is not.", r.Slot, h)
				p.Slot = r.Slot
				return p
			}
		}
	}
	if p := g.index(); p != nil {
		return p
	}
	return s.welcome(g, c, now)
}

func expired(c *Certificate, now time.Time) *Problem {
	if now.After(c.Expiry()) {
		return refuse(Expired, "%s, or its issuer, has expired: it was good until %s.", title(c.Leaf()), c.Expiry().UTC().Format(time.RFC3339))
	}
	return nil
}

// welcome refuses a generation in which the plane can't be reached, or not by who
// makes it.
func (s *Store) welcome(g *Generation, c Client, now time.Time) *Problem {
	if g.Certificates[Management] == nil || g.Authorities[Management] == nil {
		return refuse(LockOut, "The management plane's own certificate and the authorities of its clients can be replaced, but not removed.")
	}
	if len(c.Chain) == 0 {
		return nil
	}
	if err := g.Welcome(c.Chain, now); err != nil {
		return refuse(LockOut, "You would lock yourself out: your own certificate would be refused (%v).", err)
	}
	return nil
}

// Welcome says why a client of the management plane with this chain is refused;
// nil: it is not.
func (g *Generation) Welcome(chain []*x509.Certificate, now time.Time) error {
	leaf := chain[0]
	if g.revoked(leaf) {
		return errRevoked
	}
	between := x509.NewCertPool()
	for _, x := range chain[1:] {
		between.AddCert(x)
	}
	a := g.Authorities[Management]
	if a == nil {
		return errNobody
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}
