package image

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/secret"
	"ampoule/tools/configc/tree"
	"ampoule/tools/configc/zonefile"

	"github.com/miekg/dns"
)

// DNS is the table [dns].
type DNS struct {
	Port           int
	UDPSize        int
	TCPConnections int
	TCPIdle        time.Duration
	Zones          []Zone
}

// Zone is one of dns.zones.
type Zone struct {
	Origin string // fully qualified, lower case
	File   string
	Table  zone.Zone
}

func dnsTable() *table {
	return &table{name: "dns", about: "the DNS appliance", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 53, about: "port of UDP and TCP"},
		{name: "udp_size", want: integer{512, 4096}, def: 1232, about: "longest answer over UDP in bytes"},
		{name: "tcp_connections", want: integer{1, 65535}, def: 128,
			about: "connections open at a time, at most limits.tcp_connections; one more ends the one that is idle for longest"},
		{name: "tcp_idle", want: duration{time.Second, time.Hour}, def: "10s", about: "time that a client gets for one message"},
		{name: "zones", want: tables(`a list of zones, each [[dns.zones]] with an origin and a file`),
			about: "the zones to answer for, at least one"},
	}}
}

func zoneTable() *table {
	return &table{name: "dns.zones", about: "a zone, once for each: [[dns.zones]]", keys: []key{
		{name: "origin", want: text(`the name of a zone, such as "example.org"`), about: "name of the zone"},
		{name: "file", want: text("the path of a zone file, from the folder of this file"), about: "its zone file (RFC 1035, section 5)"},
	}}
}

func dnsSection(s *section, of *table, l *Limits, p ports) DNS {
	d := DNS{
		Port:           p.integer(s, "port", "the DNS service"),
		UDPSize:        s.integer("udp_size"),
		TCPConnections: s.integer("tcp_connections"),
		TCPIdle:        s.duration("tcp_idle"),
	}
	if v := s.value("tcp_connections"); v != nil && l.Connections > 0 && d.TCPConnections > l.Connections {
		s.errorf("tcp_connections", v, "at most %d, which is limits.tcp_connections", l.Connections)
	}
	if l.Connections > 0 {
		d.TCPConnections = min(d.TCPConnections, l.Connections)
	}
	v := s.value("zones")
	if v == nil {
		return d
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.refuse("zones", v)
		return d
	}
	lines := map[string]int{}
	for _, v := range items {
		t, ok := v.V.(*tree.Table)
		if !ok {
			s.refuse("zones", v)
			continue
		}
		d.Zones = append(d.Zones, zoneSection(open(s.file, of, t, s.list, nil), lines))
	}
	slices.SortFunc(d.Zones, func(a, b Zone) int { return strings.Compare(a.Origin, b.Origin) })
	return d
}

// zoneSection reads one zone; lines says where those before it are.
func zoneSection(s *section, lines map[string]int) Zone {
	var z Zone
	origin, vo := s.text("origin")
	file, vf := s.text("file")
	if vo == nil || vf == nil {
		return z
	}
	if _, ok := dns.IsDomainName(origin); !ok || origin == "" {
		s.refuse("origin", vo)
		return z
	}
	z.Origin = dns.CanonicalName(origin)
	if line, ok := lines[z.Origin]; ok {
		s.repeat("origin", vo, line)
		return z
	}
	lines[z.Origin] = vo.Line
	if file == "" {
		s.refuse("file", vf)
		return z
	}
	z.File = filepath.ToSlash(s.beside(file))
	data := s.read("file", vf, z.File)
	if data == nil {
		return z
	}
	if secret.Check(z.File, data, s.list) {
		z.Table = zonefile.Read(z.File, z.Origin, s.list)
	}
	return z
}
