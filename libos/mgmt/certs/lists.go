package certs

import (
	"bytes"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"ampoule/libos/crl"
)

// Lists are revocation lists of the authorities of a slot, with which an appliance checks
// its clients. Clients of the management plane are revoked by Generation.Revoked.
type Lists struct {
	*crl.Lists
	pem []byte // as it came
}

// Lists are the revocation lists of the authorities; nil: nobody is asked whether a
// client was revoked.
func (a *Authority) Lists() *Lists { return a.lists }

// listed is a with other lists, or none.
func (a *Authority) listed(l *Lists) *Authority {
	out := *a
	out.lists = l
	return &out
}

// checkLists checks lists for the authorities of a. The zero now leaves dates alone.
func checkLists(data []byte, a *Authority, now time.Time) (*Lists, *Problem) {
	if len(data) > MaxBundle {
		return nil, refuse(TooLarge, "The revocation lists have %d bytes; at most %d are taken.", len(data), MaxBundle)
	}
	text := data
	if p := tidy(data); bytes.HasPrefix(p, []byte("-----")) {
		text = p
	}
	l, err := crl.New(text, a.Certificates, now)
	switch {
	case err == nil:
		return &Lists{l, slices.Clone(data)}, nil
	case errors.Is(err, crl.ErrSignature):
		return nil, refuse(CRLSignature, "The revocation lists can't be used: %v.", err)
	case errors.Is(err, crl.ErrTimes):
		return nil, refuse(CRLDates, "The revocation lists can't be used: %v.", err)
	}
	return nil, refuse(CRLMalformed, "The revocation lists can't be used: %v.", err)
}

// listsFor checks what was sent as lists for the authorities that a commit would leave in
// a slot; mu is held.
func (s *Store) listsFor(slot string, data []byte) (*Lists, *Problem) {
	if slot == Management {
		return nil, refuse(SlotName, "Clients of the management plane are revoked by their fingerprints, not by lists.")
	}
	a := s.current.Load().Authorities[slot]
	if s.staged != nil {
		if v, ok := s.staged.values[entry{KindAuthority, slot}]; ok {
			a, _ = v.(*Authority)
		}
	}
	if a == nil {
		return nil, refuse(SlotMissing, "There are no authorities in slot %s; stage them first.", slot)
	}
	return checkLists(data, a, s.cfg.Now())
}

// keepLists has authorities keep the lists that they have in the generation before, unless
// t says something about them: a client that was revoked must not be welcome again because
// authorities were added, or by a way back. Of authorities that had none there, a way back
// has those of its own. If none fits, it is refused.
func (g *Generation) keepLists(before *Generation, t *transaction) *Problem {
	for slot, old := range before.Authorities {
		a := g.Authorities[slot]
		if a == nil || old.lists == nil || a.lists == old.lists {
			continue
		}
		if t != nil {
			if _, said := t.values[entry{KindCRL, slot}]; said {
				continue
			}
		}
		lists, p := checkLists(a.merge(old.lists, a.lists), a, time.Time{})
		if p != nil {
			p = refuse(CRLLost, "The revocation lists in force are not of these authorities; stage lists of theirs, or that the lists go.")
			p.Slot = slot
			return p
		}
		g.Authorities[slot] = a.listed(lists)
	}
	return nil
}

// merge is for each of a's authorities the list of the first of all that has one, as
// checkLists takes it.
func (a *Authority) merge(all ...*Lists) []byte {
	var ders [][]byte
	for _, c := range a.Certificates {
		for _, l := range all {
			if l == nil {
				continue
			}
			if der := l.Of(c); der != nil {
				if !slices.ContainsFunc(ders, func(o []byte) bool { return bytes.Equal(o, der) }) { // who is cross-signed is there twice
					ders = append(ders, der)
				}
				break
			}
		}
	}
	if len(ders) == 1 {
		return ders[0] // shorter
	}
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return text
}
