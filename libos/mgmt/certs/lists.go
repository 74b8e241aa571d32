package certs

import (
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
	if p := tidy(data); slices.Contains(p, '-') && len(p) > 0 && p[0] == '-' {
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
// authorities were added, or by a way back. If the lists don't fit and there are no others,
// it is refused.
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
		lists, p := checkLists(old.lists.pem, a, time.Time{})
		if a.lists != nil && (p != nil || !lists.Covers(a.lists.Lists)) {
			continue // a way back: its own say more
		}
		if p != nil {
			p = refuse(CRLLost, "The revocation lists in force are not of these authorities; stage lists of theirs, or that the lists go.")
			p.Slot = slot
			return p
		}
		g.Authorities[slot] = a.listed(lists)
	}
	return nil
}
