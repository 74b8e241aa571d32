package answer

import (
	"errors"
	"maps"
	"slices"

	"ampoule/libos/config/zone"
	"ampoule/libos/format"
)

// missing stands for a zone that is ours but has no content: not loaded yet, or
// expired. It is no compiled zone.
const missing zone.Zone = "-"

// view is a set of zones that is never changed: an answer is made from one view.
type view struct {
	zones   map[string]zone.Zone // by origin, lower case
	labels  int                  // of the longest origin
	origins zoneTable
}

func newView(zones map[string]zone.Zone) *view {
	v := &view{zones: zones}
	for name := range zones {
		var n zone.Name
		zone.Set(&n, name) // valid, as it is in the map
		v.labels = max(v.labels, n.Labels())
	}
	v.origins = newZoneTable(zones)
	return v
}

// find returns the zone with the longest origin at or above name. DS belongs to
// the parent's side of a cut (RFC 4035 section 3.1.4.1).
func (v *view) find(name *zone.Name, qtype uint16) (found zone.Zone, ok bool) {
	for i := max(0, name.Labels()-v.labels); i <= name.Labels(); i++ {
		z, hit := v.zones[string(name.Bytes(i))]
		if hit {
			found, ok = z, true
			if qtype != typeDS || i > 0 {
				return found, true
			}
		}
	}
	return found, ok
}

// add puts the first zones into the map.
func add(zones map[string]zone.Zone, z zone.Zone) error {
	if err := z.Check(); err != nil {
		return err
	}
	name := z.Name(z.Apex())
	if _, ok := zones[name]; ok {
		return errors.New("there twice")
	}
	zones[name] = z
	return nil
}

// Zone returns the content of the zone of an origin, which is in wire format and
// lower case; "" if it has none. ok says whether the zone is ours.
func (s *Server) Zone(origin string) (z zone.Zone, ok bool) {
	if z, ok = s.view.Load().zones[origin]; z == missing {
		z = ""
	}
	return z, ok
}

// Each calls f with each zone, in the order of their origins; content is "" for
// one that has none.
func (s *Server) Each(f func(origin string, content zone.Zone)) {
	zones := s.view.Load().zones
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		z := zones[origin]
		if z == missing {
			z = ""
		}
		f(origin, z)
	}
}

// Set gives the zone of an origin new content, all at once: an answer is made
// from the old or the new. Without content, "", questions for it get SERVFAIL.
func (s *Server) Set(origin string, z zone.Zone) error {
	if z == "" {
		z = missing
		var n zone.Name
		if size, err := zone.Set(&n, origin); err != nil || size != len(origin) {
			return zone.ErrName
		}
	} else if err := z.Check(); err != nil {
		return err
	} else if z.Name(z.Apex()) != origin {
		return format.Errorf("answer: content of %s for zone %s", Presentation(z.Name(z.Apex())), Presentation(origin))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	zones := maps.Clone(s.view.Load().zones)
	zones[origin] = z
	s.view.Store(newView(zones))
	return nil
}

// Remove forgets a zone: questions for it get REFUSED.
func (s *Server) Remove(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	zones := maps.Clone(s.view.Load().zones)
	delete(zones, origin)
	s.view.Store(newView(zones))
}
