package secondary

import (
	"errors"

	"strings"

	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
	"ampoule/libos/format"
)

const (
	typePTR = 12
	typeTXT = 16
)

// catalog brings the members of a catalog to what its new version says. One that is
// broken changes nothing (RFC 9432 section 5.1).
func (it *item) catalog(z zone.Zone) error {
	want, err := members(z, it.conf.Origin, it.conf.Catalog.Members)
	if err != nil {
		return format.Errorf("catalog: %w", err)
	}
	s := it.s
	for origin, m := range it.members {
		// With another label it is another zone of that name (section 5.4).
		if want[origin] != m.label {
			s.remove(m)
			delete(it.members, origin)
			s.log.Info("zone removed", "zone", presentation(origin), "catalog", presentation(it.conf.Origin))
		}
	}
	if it.members == nil {
		it.members = map[string]*item{}
	}
	for origin, label := range want {
		if it.members[origin] == nil {
			it.admit(origin, label)
		}
	}
	return nil
}

// admit takes a new member, unless there is a zone of that name already (section
// 5.2).
func (it *item) admit(origin, label string) {
	s := it.s
	_, served := s.zones.Zone(origin)
	if served || s.item(origin) != nil {
		s.log.Warn("zone of a catalog is there already", "zone", presentation(origin), "catalog", presentation(it.conf.Origin))
		return
	}
	c := it.conf.Catalog
	z := &Zone{Zone: xfr.Zone{Origin: origin, Policy: c.Policy}, Primaries: c.Primaries}
	if len(z.Primaries) == 0 {
		z.Primaries = it.conf.Primaries
	}
	m, err := s.add(z, it, label)
	if err != nil {
		s.log.Warn("zone of a catalog can't be added", "zone", presentation(origin), "error", err)
		return
	}
	it.members[origin] = m
	s.log.Info("zone added", "zone", presentation(origin), "catalog", presentation(it.conf.Origin))
}

// members reads a catalog: the zones, each with its label (RFC 9432 section 4).
func members(z zone.Zone, origin string, most int) (map[string]string, error) {
	list, labels := map[string]string{}, map[string]bool{}
	version := 0
	for rec := range xfr.Records(z) {
		name, ok := strings.CutSuffix(string(rec.Owner), origin)
		if !ok {
			continue
		}
		switch {
		case name == "\x07version" && rec.Type == typeTXT:
			if version++; string(rec.Data) != "\x012" {
				return nil, errors.New("its version is not 2")
			}
		case rec.Type == typePTR && strings.HasSuffix(name, "\x05zones") && len(name) == 1+int(name[0])+len("\x05zones"):
			label := name[:1+int(name[0])]
			var member zone.Name
			if size, err := zone.Set(&member, rec.Data); err != nil || size != len(rec.Data) {
				return nil, zone.ErrName
			}
			m := string(member.Bytes(0))
			if _, twice := list[m]; twice {
				return nil, format.Errorf("zone %s is there twice", presentation(m))
			}
			if labels[label] {
				return nil, errors.New("a label with several zones")
			}
			list[m], labels[label] = label, true
			if len(list) > most {
				return nil, format.Errorf("more than %d zones: %w", most, errTooLarge)
			}
		}
	}
	if version != 1 {
		return nil, errors.New("it has no version, or several")
	}
	return list, nil
}
