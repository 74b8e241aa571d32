package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"ampoule/libos/format"
)

// Keeper makes generations durable. Its methods may block for a disk.
type Keeper interface {
	// Load returns what is kept, and the number of that generation; 0: nothing.
	Load() (values []Value, number uint64)
	// Keep replaces generation base by values and returns the number of the new
	// one, which is higher. After an error the old one is kept, as far as is known;
	// ErrTooMuch says that there is no room for all of them.
	Keep(base uint64, values []Value) (uint64, error)
	// Kept says whether a restart finds the current generation, and what the
	// operator ought to know of that.
	Kept() (bool, string)
}

// Value is a part of a generation that is kept.
type Value struct {
	Name    string
	Data    []byte
	Private bool // must not be readable by who has the disk
}

// ErrTooMuch is a Keeper's error.
var ErrTooMuch = errors.New("no room for so much")

// made is the name of the value that says when a generation was made and by whom.
const made = "made"

// previous is in front of the names of the values of the generation before, and
// same is the content of those that are also in the one in force.
const (
	previous = "previous/"
	same     = "="
)

// both are the values of a generation and of the one before it.
func both(g, before *Generation) []Value {
	all := g.values()
	now := map[string][]byte{}
	for _, v := range all {
		now[v.Name] = v.Data
	}
	for _, v := range before.values() {
		if data, ok := now[v.Name]; ok && bytes.Equal(data, v.Data) {
			v.Data, v.Private = []byte(same), false
		}
		v.Name = previous + v.Name
		all = append(all, v)
	}
	return all
}

// split is the opposite of both; before is empty if there is none.
func split(values []Value) (now, before []Value) {
	data := map[string][]byte{}
	for _, v := range values {
		if !strings.HasPrefix(v.Name, previous) {
			now = append(now, v)
			data[v.Name] = v.Data
		}
	}
	for _, v := range values {
		name, ok := strings.CutPrefix(v.Name, previous)
		if !ok {
			continue
		}
		if v.Name = name; string(v.Data) == same {
			v.Data = data[name] // nil is refused by who reads it
		}
		before = append(before, v)
	}
	return now, before
}

// values are those of a generation, in the order of their names.
func (g *Generation) values() []Value {
	all := []Value{{Name: made, Data: []byte(g.Since.UTC().Format(time.RFC3339) + " " + g.Who)}}
	for slot, c := range g.Certificates {
		all = append(all, Value{string(KindCertificate) + "/" + slot, c.pem, true})
		if c.staple != nil {
			all = append(all, Value{string(KindStaple) + "/" + slot, c.staple.der, false})
		}
	}
	for slot, a := range g.Authorities {
		all = append(all, Value{string(KindAuthority) + "/" + slot, a.pem, false})
		if a.lists != nil {
			all = append(all, Value{string(KindCRL) + "/" + slot, a.lists.pem, false})
		}
	}
	for sum := range g.Revoked {
		all = append(all, Value{string(KindRevoked) + "/" + hex.EncodeToString(sum[:]), []byte("1"), false})
	}
	slices.SortFunc(all, func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Restore puts in force what is kept, and says whether there was anything. Dates
// don't matter: a certificate that has expired while the VM was off is in force as
// it was, and can be replaced. After an error nothing has changed, and nothing is
// kept any more, so that what is there stays.
func (s *Store) Restore() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Keep == nil {
		return false, nil
	}
	values, number := s.cfg.Keep.Load()
	if number == 0 {
		return false, nil
	}
	now, before := split(values)
	g, err := s.generation(now, number)
	if err != nil {
		s.cfg.Keep = nil
		return false, err
	}
	if len(before) > 0 {
		// What can't be gone back to is not there to be gone back to.
		s.previous, _ = s.generation(before, number)
	}
	s.current.Store(g)
	return true, nil
}

// generation makes one of what was kept; number is that of the one in force.
func (s *Store) generation(values []Value, number uint64) (*Generation, error) {
	g := &Generation{Number: number, Certificates: map[string]*Certificate{}, Authorities: map[string]*Authority{}, Revoked: map[[32]byte]bool{}}
	for _, later := range []bool{false, true} { // what needs certificates
		for _, v := range values {
			kind, _, _ := strings.Cut(v.Name, "/")
			if Kind(kind).depends() != later {
				continue
			}
			if err := g.restore(v, s.cfg.Roots); err != nil {
				return nil, format.Errorf("generation %d: %s: %w", number, v.Name, err)
			}
		}
	}
	p := g.index()
	if p == nil {
		p = s.welcome(g, Client{}, s.cfg.Now())
	}
	if p != nil {
		return nil, format.Errorf("generation %d: %w", number, p)
	}
	return g, nil
}

// restore takes over a value that was kept.
func (g *Generation) restore(v Value, roots []*x509.Certificate) error {
	if v.Name == made {
		when, who, _ := strings.Cut(string(v.Data), " ")
		g.Since, _ = time.Parse(time.RFC3339, when) // else it is not known
		g.Who = who
		return nil
	}
	kind, name, _ := strings.Cut(v.Name, "/")
	switch Kind(kind) {
	case KindCertificate:
		c, p := readCertificate(name, v.Data, time.Time{}, roots)
		if p != nil {
			return p
		}
		g.Certificates[name] = c
	case KindAuthority:
		a, p := readAuthority(name, v.Data, time.Time{})
		if p != nil {
			return p
		}
		g.Authorities[name] = a
	case KindStaple:
		c := g.Certificates[name]
		if c == nil {
			return refuse(SlotMissing, "There is no certificate for a staple.")
		}
		staple, p := checkStaple(v.Data, c, time.Time{})
		if p != nil {
			return p
		}
		g.Certificates[name] = c.stapled(staple)
	case KindCRL:
		a := g.Authorities[name]
		if a == nil {
			return refuse(SlotMissing, "There are no authorities for a revocation list.")
		}
		lists, p := checkLists(v.Data, a, time.Time{})
		if p != nil {
			return p
		}
		g.Authorities[name] = a.listed(lists)
	case KindRevoked:
		var sum [32]byte
		if n, err := hex.Decode(sum[:], []byte(name)); err != nil || n != len(sum) {
			return refuse(Fingerprint, "%s is no fingerprint.", name)
		}
		g.Revoked[sum] = true
	default:
		return format.Errorf("a value of an unknown kind")
	}
	return nil
}
