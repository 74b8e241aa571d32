package image

import "time"

// Secondary is the section [dns.secondary]. Zero stands for the default of package
// secondary.
type Secondary struct {
	RefreshMin, RefreshMax, RetryMin, RetryMax, ExpireMin, ExpireMax time.Duration
	ZoneBytes, AllBytes, JournalBytes, Transfers                     int
	Timeout                                                          time.Duration
}

func secondaryTable() *table {
	const second, month = time.Second, 31 * 24 * time.Hour
	bound := func(name, def, about string) key {
		return key{name: name, want: duration{second, 12 * month}, def: def, about: about}
	}
	bytes := size{4 << 10, 1 << 30}
	return &table{name: "dns.secondary", about: "bounds for all zones that are transferred in", keys: []key{
		bound("refresh_min", "30s", "least time between questions for a zone's version, whatever its SOA record says"),
		bound("refresh_max", "336h", "most of it"),
		bound("retry_min", "5s", "least time between attempts behind one that failed"),
		bound("retry_max", "24h", "most of it"),
		bound("expire_min", "60s", "least time until a zone that no primary confirms is answered with SERVFAIL"),
		bound("expire_max", "8928h", "most of it"),
		{name: "zone_memory", want: bytes, absent: "a thirty-second of the memory",
			about: "the most that the records of a zone may take, each counted with 48 bytes more than it has; while it is loaded the zone takes some four times as much"},
		{name: "memory", want: bytes, absent: "an eighth of the memory", about: "the most that the tables and journals of all zones may take"},
		{name: "journal", want: size{0, 256 << 20}, absent: "64KiB", about: "the most that the differences between the versions of a zone may take, for IXFR; 0KiB keeps none"},
		{name: "transfers", want: integer{1, 16}, def: 2, about: "zones that are transferred in at a time"},
		{name: "timeout", want: duration{second, 10 * time.Minute}, def: "10s",
			about: "time that a primary gets for a connection and for each message; a whole transfer may take 60 times as long"},
	}}
}

func secondarySection(s *section) Secondary {
	c := Secondary{
		RefreshMin: s.duration("refresh_min"), RefreshMax: s.duration("refresh_max"),
		RetryMin: s.duration("retry_min"), RetryMax: s.duration("retry_max"),
		ExpireMin: s.duration("expire_min"), ExpireMax: s.duration("expire_max"),
		ZoneBytes: s.size("zone_memory"), AllBytes: s.size("memory"), JournalBytes: s.size("journal"),
		Transfers: s.integer("transfers"), Timeout: s.duration("timeout"),
	}
	if !s.has("journal") {
		c.JournalBytes = 64 << 10
	}
	for _, p := range []struct {
		name     string
		min, max time.Duration
	}{{"refresh", c.RefreshMin, c.RefreshMax}, {"retry", c.RetryMin, c.RetryMax}, {"expire", c.ExpireMin, c.ExpireMax}} {
		if v := s.value(p.name + "_max"); p.max < p.min && v != nil {
			s.errorf(p.name+"_max", v, "at least %s, which is %v", s.schema.path(p.name+"_min"), p.min)
		} else if v := s.value(p.name + "_min"); p.max < p.min && v != nil {
			s.errorf(p.name+"_min", v, "at most %s, which is %v", s.schema.path(p.name+"_max"), p.max)
		}
	}
	if v := s.value("zone_memory"); v != nil && c.AllBytes > 0 && c.ZoneBytes > c.AllBytes {
		s.errorf("zone_memory", v, "at most %s", s.schema.path("memory"))
	}
	return c
}
