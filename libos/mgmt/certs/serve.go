package certs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	errRevoked = errors.New("the certificate is revoked")
	errNobody  = errors.New("there are no authorities for clients")
)

// index finds out which certificates of a service are for which name, and refuses
// two for one whose keys are of one kind.
func (g *Generation) index() *Problem {
	g.hosts = map[string][]*Certificate{}
	for _, slot := range slices.Sorted(maps.Keys(g.Certificates)) {
		if slot == Management {
			continue
		}
		c := g.Certificates[slot]
		for _, h := range c.Hosts {
			for _, o := range g.hosts[h] {
				if o.kind() == c.kind() {
					p := refuse(NameTwice, "The certificates of the slots %s and %s are both for %s, and both have %s keys.", o.Slot, slot, h, c.kind())
					p.Slot = slot
					return p
				}
			}
			g.hosts[h] = append(g.hosts[h], c)
		}
	}
	for _, all := range g.hosts {
		slices.SortFunc(all, Cheaper)
	}
	return nil
}

// kind is what kind of key the certificate has.
func (c *Certificate) kind() x509.PublicKeyAlgorithm { return c.Leaf().PublicKeyAlgorithm }

// Cheaper is below 0 if a handshake with a takes less than one with b, and 0 if they
// have keys of one kind.
func Cheaper(a, b *Certificate) int { return a.cost() - b.cost() }

func (c *Certificate) cost() int {
	switch c.kind() {
	case x509.ECDSA:
		return 0
	case x509.Ed25519:
		return 1
	}
	return 2
}

// Default is the slot of the certificate for clients that name no host, or one
// that no certificate is for. Without it they get that of the only other slot, if
// there is one.
const Default = "default"

// For is the certificates of a service for the host that a client names, one for each
// kind of key that there is, the cheapest for a handshake first; nil: there is none.
func (g *Generation) For(host string) []*Certificate {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if all := g.hosts[host]; all != nil {
		return all
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		if all := g.hosts["*."+parent]; all != nil {
			return all
		}
	}
	return g.Fallback()
}

// Fallback is For without a host: the certificate of the slot Default, or the only
// one, and others for its first name.
func (g *Generation) Fallback() []*Certificate {
	c := g.Certificates[Default]
	if c == nil {
		for slot, o := range g.Certificates {
			if slot == Management {
				continue
			}
			if c != nil {
				return nil
			}
			c = o
		}
	}
	if c == nil {
		return nil
	}
	return g.hosts[c.Hosts[0]]
}

// Choose returns the first of all that the client can use, or the first when it can
// use none, so that the handshake fails with the right alert; nil: there is none.
func Choose(all []*Certificate, hello *tls.ClientHelloInfo) *Certificate {
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 {
		for _, c := range all {
			if hello.SupportsCertificate(&c.TLS) == nil {
				return c
			}
		}
	}
	return all[0]
}

// TLS is a configuration whose handshakes use the generation that is in force
// when they begin. base is what all generations have in common; it is not changed.
// adjust may be nil; pick chooses a generation's certificate, nil is For.
func (s *Store) TLS(base *tls.Config, adjust func(*tls.Config, *Generation), pick func(*Generation, *tls.ClientHelloInfo) *Certificate) *tls.Config {
	if pick == nil {
		pick = func(g *Generation, h *tls.ClientHelloInfo) *Certificate { return Choose(g.For(h.ServerName), h) }
	}
	var mu sync.Mutex
	var of *Generation
	var made *tls.Config
	var keys tickets
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		g, now := s.Current(), s.cfg.Now()
		mu.Lock()
		defer mu.Unlock()
		if of != g {
			c := base.Clone()
			c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if c := pick(g, h); c != nil {
					return c.Serve(s.cfg.Now()), nil
				}
				return nil, nil // which is told as unrecognized_name (RFC 6066, section 3)
			}
			if adjust != nil {
				adjust(c, g)
			}
			of, made, keys = g, c, tickets{}
		}
		keys.renew(made, now)
		return made, nil
	}
	return outer
}

// ticketLife is how long a key makes session tickets. They are good for as long
// again.
const ticketLife = 12 * time.Hour

// tickets are the keys of one generation's session tickets. Without keys of its
// own a generation would have those of the configuration it is derived from, which
// outlive it.
type tickets struct {
	keys [][32]byte // the one in use first
	made time.Time
}

// renew gives c new keys when it is time.
func (t *tickets) renew(c *tls.Config, now time.Time) {
	if age := now.Sub(t.made); c.SessionTicketsDisabled || len(t.keys) > 0 && age >= 0 && age < ticketLife {
		return
	}
	var key [32]byte
	rand.Read(key[:]) // does not return without (crypto/rand)
	t.keys = append([][32]byte{key}, t.keys[:min(len(t.keys), 1)]...)
	t.made = now
	c.SetSessionTicketKeys(t.keys)
}
