// Package certs holds the certificates of an appliance: those of its services,
// that of its management plane, the authorities that clients are checked with, and
// the clients that are no longer welcome.
//
// What is held is a Generation, which is never changed but replaced as a whole. A
// change is a transaction: values are staged, each checked as it comes, then
// validated together and committed, or aborted. Whatever is refused changes
// nothing, and says why by a stable Code and a sentence. New handshakes use the new
// generation from the moment of the commit; connections go on as they began. One
// step back is possible (Rollback), which makes a new generation with the content
// of the one before.
//
// Session tickets are of one generation: a client that comes back with a ticket of
// an older one makes a full handshake, and so sees the certificate in force.
package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Management is the slot of the management plane's own certificate, and of the
// authorities of its clients.
const Management = "management"

// Kind says what a value is.
type Kind string

// Kinds of values.
const (
	KindCertificate Kind = "certificates" // chain and key, by slot
	KindAuthority   Kind = "authorities"  // by slot
	KindRevoked     Kind = "revoked"      // by fingerprint
	KindStaple      Kind = "staples"      // OCSP response, by the slot of its certificate
	KindCRL         Kind = "crls"         // revocation lists, by the slot of their authorities
)

// depends says whether a value is checked with another one, which comes first.
func (k Kind) depends() bool { return k == KindStaple || k == KindCRL }

// Required says that the certificate of a slot must cover hosts.
type Required struct {
	Slot  string
	Hosts []string
}

// Config bounds a Store.
type Config struct {
	Slots    int // certificates, and authorities, and a hundredfold of revoked clients
	Required []Required
	Roots    []*x509.Certificate // that chains may end in without having them
	Now      func() time.Time
	// Keep makes generations durable; nil: nothing does.
	Keep Keeper
}

// Generation is what holds at a time. It is never changed.
type Generation struct {
	Number       uint64
	Since        time.Time
	Who          string // made it
	Certificates map[string]*Certificate
	Authorities  map[string]*Authority
	Revoked      map[[32]byte]bool // SHA-256 of certificates of clients

	hosts map[string][]*Certificate // of the services, by name; "*.x" for wildcards
}

// Store holds the current generation. Any goroutine may use it.
type Store struct {
	cfg     Config
	current atomic.Pointer[Generation]

	mu       sync.Mutex // guards what follows, and is held by who replaces current
	previous *Generation
	staged   *transaction // nil: none
	watchers []*watcher
}

// transaction is what is staged.
type transaction struct {
	who    string
	last   time.Time // when something was staged
	values map[entry]any
}

// entry names a value: *Certificate, *Authority, *Staple, *Lists or true, or nil for one
// that is to go.
type entry struct {
	kind Kind
	name string
}

// Patience is how long a transaction is kept that nobody goes on with.
const Patience = 10 * time.Minute

// revokedPerSlot is how many revoked clients there may be for each slot.
const revokedPerSlot = 64

// New makes a Store that begins with the given authorities of the management
// plane's clients and its own certificate. None of both makes a Store whose plane
// nobody can reach.
func New(cfg Config, own *Certificate, clients *Authority) *Store {
	s := &Store{cfg: cfg}
	g := &Generation{Since: cfg.Now(), Who: "boot", Certificates: map[string]*Certificate{},
		Authorities: map[string]*Authority{}, Revoked: map[[32]byte]bool{}}
	if own != nil {
		g.Certificates[Management] = own
	}
	if clients != nil {
		g.Authorities[Management] = clients
	}
	g.index()
	s.current.Store(g)
	return s
}

// Kept says whether a restart finds the current generation, and what the operator
// ought to know of that.
func (s *Store) Kept() (bool, string) {
	s.mu.Lock()
	keep := s.cfg.Keep
	s.mu.Unlock()
	if keep == nil {
		return false, "not persisted: nothing is configured to keep generations"
	}
	return keep.Kept()
}

// Check checks a bundle for the slot of a certificate. The zero now leaves dates
// alone.
func Check(slot string, data []byte, now time.Time) (*Certificate, error) {
	c, p := readCertificate(slot, data, now, nil)
	return c, asError(p)
}

// CheckAuthority checks a bundle of authorities, likewise.
func CheckAuthority(slot string, data []byte, now time.Time) (*Authority, error) {
	a, p := readAuthority(slot, data, now)
	return a, asError(p)
}

func asError(p *Problem) error {
	if p == nil {
		return nil
	}
	return p
}

// Current is the generation in force.
func (s *Store) Current() *Generation { return s.current.Load() }

// Stage checks a value and adds it to the transaction of who, which begins with
// it if there is none. Without data the value is to go. A transaction of somebody
// else is in the way until it ends or Patience is over.
func (s *Store) Stage(who string, kind Kind, name string, data []byte, remove bool) error {
	v, p := s.read(kind, name, data, remove)
	if p != nil {
		p.Slot = name
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if kind == KindStaple && !remove {
		if v, p = s.stapleFor(name, data); p != nil {
			p.Slot = name
			return p
		}
	}
	if kind == KindCRL && !remove {
		if v, p = s.listsFor(name, data); p != nil {
			p.Slot = name
			return p
		}
	}
	if p := s.begin(who); p != nil {
		return p
	}
	e := entry{kind, canonical(kind, name)}
	if _, there := s.staged.values[e]; !there && s.staged.count(kind) >= s.most(kind) {
		return refuse(SlotsFull, "No more than %d of these can be staged at once.", s.most(kind))
	}
	s.staged.values[e] = v
	return nil
}

// count is how many values of a kind are staged.
func (t *transaction) count(kind Kind) (n int) {
	for e := range t.values {
		if e.kind == kind {
			n++
		}
	}
	return n
}

// most is how many values of a kind can be staged: all slots can be replaced by
// others.
func (s *Store) most(kind Kind) int {
	if kind == KindRevoked {
		return 2 * s.cfg.Slots * revokedPerSlot
	}
	return 2 * s.cfg.Slots
}

// read makes the value of what was sent.
func (s *Store) read(kind Kind, name string, data []byte, remove bool) (any, *Problem) {
	if kind == KindRevoked {
		if b, err := hex.DecodeString(name); err != nil || len(b) != sha256.Size {
			return nil, refuse(Fingerprint, "A client is named by the SHA-256 of its certificate: 64 hexadecimal digits.")
		}
		if remove {
			return nil, nil
		}
		return true, nil
	}
	if !validSlot(name) {
		return nil, refuse(SlotName, "A slot is named by 1 to 64 small letters, digits, dots and hyphens.")
	}
	if remove || kind.depends() { // which needs another value to be read
		return nil, nil
	}
	if kind == KindAuthority {
		a, p := readAuthority(name, data, s.cfg.Now())
		return a, p
	}
	c, p := readCertificate(name, data, s.cfg.Now(), s.cfg.Roots)
	return c, p
}

func canonical(kind Kind, name string) string {
	if kind == KindRevoked {
		return strings.ToLower(name)
	}
	return name
}

func validSlot(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && s[0] != '.' && s[0] != '-'
}

// expire forgets a transaction that nobody goes on with.
func (s *Store) expire() {
	if s.staged != nil && s.cfg.Now().Sub(s.staged.last) > Patience {
		s.staged = nil
	}
}

// begin makes the transaction who's, if it can be.
func (s *Store) begin(who string) *Problem {
	now := s.cfg.Now()
	if s.staged == nil {
		s.staged = &transaction{who: who, values: map[entry]any{}}
	}
	if s.staged.who != who {
		return refuse(Busy, "A transaction of %s is under way; abort it, or wait until %s.", s.staged.who,
			s.staged.last.Add(Patience).UTC().Format(time.RFC3339))
	}
	s.staged.last = now
	return nil
}

// Staged is a value that is staged.
type Staged struct {
	Kind   Kind
	Name   string
	Remove bool
}

// Staged lists what is staged, whose it is, and until when.
func (s *Store) Staged() (who string, until time.Time, all []Staged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.staged
	if t == nil || s.cfg.Now().Sub(t.last) > Patience {
		return "", time.Time{}, nil
	}
	for e, v := range t.values {
		all = append(all, Staged{e.kind, e.name, v == nil})
	}
	slices.SortFunc(all, func(a, b Staged) int {
		return strings.Compare(string(a.Kind)+"/"+a.Name, string(b.Kind)+"/"+b.Name)
	})
	return t.who, t.last.Add(Patience), all
}

// Previous says whether there is a generation to go back to.
func (s *Store) Previous() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.previous != nil
}

// clone is a copy that may be changed, with the next number.
func (g *Generation) clone(who string, now time.Time) *Generation {
	return &Generation{Number: g.Number + 1, Since: now, Who: who, Certificates: maps.Clone(g.Certificates),
		Authorities: maps.Clone(g.Authorities), Revoked: maps.Clone(g.Revoked)}
}
