package certs

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"time"
)

var (
	errRevoked = errors.New("the certificate is revoked")
	errNobody  = errors.New("there are no authorities for clients")
	errNoCert  = errors.New("certs: no certificate for this name")
)

// index finds out which certificate of a service is for which name, and refuses
// two for one.
func (g *Generation) index() *Problem {
	g.hosts = map[string]*Certificate{}
	for slot, c := range g.Certificates {
		if slot == Management {
			continue
		}
		for _, h := range c.Hosts {
			if o := g.hosts[h]; o != nil {
				p := refuse(NameTwice, "The certificates of the slots %s and %s are both for %s.", min(slot, o.Slot), max(slot, o.Slot), h)
				p.Slot = max(slot, o.Slot)
				return p
			}
			g.hosts[h] = c
		}
	}
	return nil
}

// Default is the slot of the certificate for clients that name no host, or one
// that no certificate is for. Without it they get that of the only other slot, if
// there is one.
const Default = "default"

// For is the certificate of a service for the host that a client names, or nil.
func (g *Generation) For(host string) *Certificate {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if c := g.hosts[host]; c != nil {
		return c
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		if c := g.hosts["*."+parent]; c != nil {
			return c
		}
	}
	if c := g.Certificates[Default]; c != nil {
		return c
	}
	var only *Certificate
	for slot, c := range g.Certificates {
		if slot != Management {
			if only != nil {
				return nil
			}
			only = c
		}
	}
	return only
}

// TLS is a configuration whose handshakes use the generation that is in force
// when they begin. base is what all generations have in common; it is not changed.
// adjust may be nil; pick chooses a generation's certificate, nil is For.
func (s *Store) TLS(base *tls.Config, adjust func(*tls.Config, *Generation), pick func(*Generation, *tls.ClientHelloInfo) *Certificate) *tls.Config {
	if pick == nil {
		pick = func(g *Generation, h *tls.ClientHelloInfo) *Certificate { return g.For(h.ServerName) }
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
					return &c.TLS, nil
				}
				return nil, errNoCert
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
