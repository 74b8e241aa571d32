package image

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/secret"
	"ampoule/tools/configc/zonefile"
)

// DNS is the table [dns].
type DNS struct {
	Port           int
	UDPSize        int
	TCPConnections int
	TCPIdle        time.Duration
	TLSPort        int // 0: none
	TLSConnections int
	TLSHandshakes  int
	NSID           string
	Version        string
	Identity       string
	Cookies        bool
	CookieSecrets  [][16]byte
	RRL            RRL
	Keys           []Key
	Zones          []Zone        // compiled in
	Transferred    []Transferred // from other servers
	Secondary      Secondary
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
	Policy
}

func dnsTable() *table {
	const short = text("a text of 1 to 64 bytes")
	return &table{name: "dns", about: "the DNS appliance", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 53, about: "port of UDP and TCP"},
		{name: "udp_size", want: integer{512, 4096}, def: 1232, about: "longest answer over UDP in bytes"},
		{name: "tcp_connections", want: integer{1, 65535}, def: 128,
			about: "connections open at a time, at most limits.tcp_connections; one more ends the one that is idle for longest"},
		{name: "tcp_idle", want: duration{time.Second, time.Hour}, def: "10s", about: "time that a client gets for one message"},
		{name: "tls_port", want: integer{1, 65535}, absent: "no DNS over TLS", about: "port of DNS over TLS (RFC 7858 has 853), with the certificates of the management plane"},
		{name: "tls_connections", want: integer{1, 65535}, def: 32, about: "of them, open at a time; one more ends the one that is idle for longest"},
		{name: "tls_handshakes", want: integer{1, 100000}, def: 100, about: "of them, begun in a second; more are refused, as a handshake takes as much time as a thousand answers"},
		{name: "nsid", want: short, absent: "not told", about: "name of the server for clients that ask for it (RFC 5001)"},
		{name: "version", want: short, absent: "REFUSED", about: "answer to version.bind and version.server, class CH"},
		{name: "identity", want: short, absent: "REFUSED", about: "answer to id.server and hostname.bind, class CH (RFC 4892)"},
		{name: "cookies", want: flag{}, def: false, about: "give and check DNS cookies (RFC 7873, RFC 9018)"},
		{name: "cookie_secrets", want: sequence("a list of 1 to 4 secrets, each 32 hexadecimal digits in quotes"), absent: "made at boot, replaced every day",
			about: "secrets shared by the servers at one address: the first makes cookies, all check them. To replace one, add the new one behind the old on all servers, then put it in front, then take the old one out"},
		{name: "rrl", want: tables("a table: [dns.rrl]"), absent: "no limit", about: "response-rate limiting"},
		{name: "keys", want: tables("a list of keys, each [[dns.keys]] with a name and a file"), absent: "none", about: "keys of TSIG"},
		{name: "zones", want: tables(`a list of zones, each [[dns.zones]] with an origin and a file or primaries`), absent: "an error, unless there are catalogs",
			about: "the zones to answer for, at least one"},
		{name: "catalogs", want: tables("a list of catalogs, each [[dns.catalogs]] with an origin and primaries"), absent: "none", about: "catalogs of zones"},
		{name: "secondary", want: tables("a table: [dns.secondary]"), absent: "the defaults", about: "bounds for zones that are transferred in"},
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
	return &table{name: "dns.zones", about: "a zone, once for each: [[dns.zones]]", keys: append([]key{
		{name: "origin", want: wantName, about: "name of the zone"},
		{name: "file", want: text("the path of a zone file, from the folder of this file"), absent: "an error, unless it has primaries", about: "its zone file (RFC 1035, section 5)"},
		{name: "dnssec", want: tables("a table: dnssec = { private_keys = [...] }"), absent: "the zone is served as it is in its file, signed or not",
			about: "how the zone is signed when the image is built"},
		{name: "primaries", want: wantPeers, absent: "it has a file", about: "servers that it is transferred from while the image runs; they may send NOTIFY"},
	}, policyKeys("the zone")...)}
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
	d.Keys = keySection(s, all)
	lines := map[string]int{}
	d.Transferred = catalogs(s, all, d.Keys, lines)
	d.Secondary = secondarySection(s.sub("secondary", schema(all, "dns.secondary"), all))
	if !s.has("zones") && len(d.Transferred) == 0 && !s.has("catalogs") && !s.lost {
		s.missing("zones")
	}
	for _, s := range s.tables("zones", all) {
		zoneSection(s, all, &d, lines)
	}
	slices.SortFunc(d.Zones, func(a, b Zone) int { return strings.Compare(a.Origin, b.Origin) })
	slices.SortFunc(d.Transferred, func(a, b Transferred) int { return strings.Compare(a.Origin, b.Origin) })
	if v := s.value("secondary"); v != nil && len(d.Transferred) == 0 {
		s.against("secondary", v, "but there is no zone with primaries, and no catalog")
	}
	return d
}

// zoneSection reads one zone into d: one from a file or from other servers. lines
// says where those before it are.
func zoneSection(s *section, all []*table, d *DNS, lines map[string]int) {
	z := Zone{Origin: s.origin(lines)}
	primaries := s.peers("primaries", d.Keys)
	z.Policy = s.policy(d.Keys)
	file, vf := s.text("file")
	signing := signingSection(s, all)
	if v := s.value("primaries"); v != nil {
		if vf != nil {
			s.against("primaries", v, "but a zone has a file or primaries, not both")
		}
		if v := s.value("dnssec"); v != nil {
			s.against("dnssec", v, "but a zone from primaries is signed there")
		}
		d.Transferred = append(d.Transferred, Transferred{Origin: z.Origin, Primaries: primaries, Policy: z.Policy})
		return
	}
	if !s.has("file") {
		s.missing("file")
	}
	if vf != nil && file == "" {
		s.refuse("file", vf)
	}
	if z.Origin == "" || file == "" {
		return
	}
	z.File = filepath.ToSlash(s.beside(file))
	data := s.read("file", vf, z.File)
	if data != nil && secret.Check(z.File, data, s.list) {
		z.Table = zonefile.Read(z.File, z.Origin, signing, s.list)
	}
	d.Zones = append(d.Zones, z)
}

// overTLS reads what there is about DNS over TLS.
func (d *DNS) overTLS(s *section, tcp ports, m *Management) {
	d.TLSPort, d.TLSConnections = tcp.integer(s, "tls_port", "DNS over TLS"), s.integer("tls_connections")
	d.TLSHandshakes = s.integer("tls_handshakes")
	if v := s.value("tls_port"); v != nil && m == nil {
		s.against("tls_port", v, "but there is no [management], which brings the certificates")
	}
}

// hashed says whether zones may deny names by their hashes (NSEC3): one that is
// compiled in does, or there are zones that come at run time.
func (d *DNS) hashed() bool {
	return len(d.Transferred) > 0 || slices.ContainsFunc(d.Zones, func(z Zone) bool { return z.Table.Hashed() > 0 })
}
