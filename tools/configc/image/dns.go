package image

import (
	"net/netip"
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
	NSID           string
	Version        string
	Identity       string
	Cookies        bool
	CookieSecrets  [][16]byte
	RRL            RRL
	Zones          []Zone
}

// RRL is the table [dns.rrl].
type RRL struct {
	Rate, Slip, IPv4Prefix, IPv6Prefix, Buckets int
	Exempt                                      []netip.Prefix
}

// Zone is one of dns.zones.
type Zone struct {
	Origin string // fully qualified, lower case
	File   string
	Table  zone.Zone
}

func dnsTable() *table {
	const short = text("a text of 1 to 64 bytes")
	return &table{name: "dns", about: "the DNS appliance", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 53, about: "port of UDP and TCP"},
		{name: "udp_size", want: integer{512, 4096}, def: 1232, about: "longest answer over UDP in bytes"},
		{name: "tcp_connections", want: integer{1, 65535}, def: 128,
			about: "connections open at a time, at most limits.tcp_connections; one more ends the one that is idle for longest"},
		{name: "tcp_idle", want: duration{time.Second, time.Hour}, def: "10s", about: "time that a client gets for one message"},
		{name: "nsid", want: short, absent: "not told", about: "name of the server for clients that ask for it (RFC 5001)"},
		{name: "version", want: short, absent: "REFUSED", about: "answer to version.bind and version.server, class CH"},
		{name: "identity", want: short, absent: "REFUSED", about: "answer to id.server and hostname.bind, class CH (RFC 4892)"},
		{name: "cookies", want: flag{}, def: false, about: "give and check DNS cookies (RFC 7873, RFC 9018)"},
		{name: "cookie_secrets", want: sequence("a list of 1 to 4 secrets, each 32 hexadecimal digits in quotes"), absent: "made at boot, replaced every day",
			about: "secrets shared by the servers at one address: the first makes cookies, all check them. To replace one, add the new one behind the old on all servers, then put it in front, then take the old one out"},
		{name: "rrl", want: tables("a table: [dns.rrl]"), absent: "no limit", about: "response-rate limiting"},
		{name: "zones", want: tables(`a list of zones, each [[dns.zones]] with an origin and a file`),
			about: "the zones to answer for, at least one"},
	}}
}

func rrlTable() *table {
	return &table{name: "dns.rrl", about: "response-rate limiting: how many answers of one kind a network gets over UDP", keys: []key{
		{name: "rate", want: integer{0, 16384}, def: 0, about: "answers of one kind for one network in a second; 0: no limit"},
		{name: "slip", want: integer{0, 100}, def: 2, about: "of so many answers above the rate one is sent with TC and without records; 0: none"},
		{name: "ipv4_prefix", want: integer{8, 32}, def: 24, about: "bits of an IPv4 address that tell networks apart"},
		{name: "ipv6_prefix", want: integer{16, 64}, def: 56, about: "bits of an IPv6 address that tell networks apart"},
		{name: "buckets", want: integer{1024, 1 << 22}, def: 1 << 14, about: "kinds and networks remembered, a power of two; 8 bytes each"},
		{name: "exempt", want: sequence(`a list of networks, such as ["192.0.2.0/24", "2001:db8::/32"]`), absent: "none", about: "networks that are not limited"},
	}}
}

func zoneTable() *table {
	return &table{name: "dns.zones", about: "a zone, once for each: [[dns.zones]]", keys: []key{
		{name: "origin", want: text(`the name of a zone, such as "example.org"`), about: "name of the zone"},
		{name: "file", want: text("the path of a zone file, from the folder of this file"), about: "its zone file (RFC 1035, section 5)"},
		{name: "dnssec", want: tables("a table: dnssec = { private_keys = [...] }"), absent: "the zone is served as it is in its file, signed or not",
			about: "how the zone is signed when the image is built"},
	}}
}

func dnsSection(s *section, all []*table, l *Limits, p ports) DNS {
	d := DNS{
		Port:           p.integer(s, "port", "the DNS service"),
		UDPSize:        s.integer("udp_size"),
		TCPConnections: s.integer("tcp_connections"),
		TCPIdle:        s.duration("tcp_idle"),
		NSID:           shortText(s, "nsid"),
		Version:        shortText(s, "version"),
		Identity:       shortText(s, "identity"),
		Cookies:        s.flag("cookies"),
		CookieSecrets:  cookieSecrets(s),
		RRL:            rrlSection(s.sub("rrl", schema(all, "dns.rrl"), all)),
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
		d.Zones = append(d.Zones, zoneSection(open(s.file, schema(all, "dns.zones"), t, s.list, all), all, lines))
	}
	slices.SortFunc(d.Zones, func(a, b Zone) int { return strings.Compare(a.Origin, b.Origin) })
	return d
}

// zoneSection reads one zone; lines says where those before it are.
func zoneSection(s *section, all []*table, lines map[string]int) Zone {
	var z Zone
	origin, vo := s.text("origin")
	file, vf := s.text("file")
	signing := signingSection(s, all)
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
		z.Table = zonefile.Read(z.File, z.Origin, signing, s.list)
	}
	return z
}
