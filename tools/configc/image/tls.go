package image

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"ampoule/tools/configc/tree"
)

// TLS is the table [tls].
type TLS struct {
	Port                               int
	MinVersion, UnknownName, Proxy     int // indexes in minVersions, unknownNames, proxies
	ALPN                               []string
	TicketRotation                     time.Duration // 0: no tickets
	Connections, Handshakes, PerClient int
	Buffers                            int
	Handshake, Connect, Attempt        time.Duration
	Idle, HalfClosed, Stall, Lifetime  time.Duration
	Certificates                       []Certificate
	ClientCAs                          []string // DER
	ClientCRL                          string   // PEM
	AskClients, RequireClient          bool
	Backends                           []Backend
	Health                             Health
}

// Backend is one of tls.backends.
type Backend struct {
	Addr        netip.AddrPort
	Connections int
	Backup      bool
}

// Health is the table [tls.health].
type Health struct {
	Every, Timeout time.Duration
	Fall, Rise     int
}

var (
	minVersions  = choice{"1.2", "1.3"}
	unknownNames = choice{"default", "refuse"}
	proxies      = choice{"off", "v1", "v2"}
)

const wantBackend = text(`an address with a port, such as "192.0.2.10:8080" or "[2001:db8::10]:8080"`)

func tlsTable() *table {
	limit := duration{time.Second, time.Hour}
	return &table{name: "tls", about: "the TLS terminator", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 443, about: "port that clients connect to"},
		{name: "min_version", want: minVersions, def: "1.2", about: "oldest version of TLS that is spoken; the newest is 1.3"},
		{name: "alpn", want: sequence(`a list of protocols, the preferred first, such as ["http/1.1"]`), absent: "clients are told nothing",
			about: "protocols that the backends speak (RFC 7301); a client that offers others only is refused"},
		{name: "unknown_name", want: unknownNames, def: "default", about: "what a client gets that asks for a name without certificate: the default one, or the alert unrecognized_name"},
		{name: "tickets", want: flag{}, def: true, about: "clients may resume sessions (RFC 8446, section 2.2; RFC 5077)"},
		{name: "ticket_rotation", want: duration{time.Minute, 8 * time.Hour}, def: "8h", about: "how long a key encrypts tickets; it decrypts them for twice that time more"},
		{name: "proxy_protocol", want: proxies, def: "off", about: "version of the PROXY protocol by which backends are told who the client is"},
		{name: "certificates", want: tables("a list of certificates, each [[tls.certificates]] with chain and key"), absent: "an error, unless there is [management], through which they come then", about: "the certificates to begin with"},
		{name: "clients", want: tables("a table: [tls.clients]"), absent: "clients are not asked for a certificate", about: "certificates of clients"},
		{name: "backends", want: tables("a list of servers, each [[tls.backends]] with an address"), about: "where connections go, at least one"},
		{name: "health", want: tables("a table: [tls.health]"), absent: "the defaults", about: "how backends are checked"},
		{name: "connections", want: integer{1, 30000}, def: 1000, about: "clients' connections at a time, each of which has one to a backend; one more is reset"},
		{name: "per_client", want: integer{1, 30000}, absent: "no bound of its own", about: "connections of one IPv4 address, or of one /64 of IPv6"},
		{name: "handshakes", want: integer{1, 10000}, def: 64, about: "handshakes at a time; one more ends the oldest, if that has had a second, or else is reset"},
		{name: "buffers", want: integer{1, 10000}, def: 64, about: "buffers of 16 KiB for all connections; without one a connection goes on with 2 KiB"},
		{name: "handshake", want: limit, def: "10s", about: "time for the handshake"},
		{name: "connect", want: limit, def: "5s", about: "time to find a backend, over all attempts"},
		{name: "attempt", want: limit, def: "2s", about: "time for one attempt"},
		{name: "idle", want: duration{time.Second, 24 * time.Hour}, def: "5m", about: "time without a byte either way"},
		{name: "half_closed", want: limit, def: "30s", about: "the same when one end has closed its direction"},
		{name: "stall", want: limit, def: "1m", about: "time that an end may take nothing of what is there for it"},
		{name: "lifetime", want: duration{time.Second, 24 * time.Hour}, absent: "no bound", about: "time for a connection as a whole"},
	}}
}

func clientsTable() *table {
	return &table{name: "tls.clients", about: "certificates of clients", keys: []key{
		{name: "crl", want: text("the path of a PEM file, from the folder of this file"), absent: "nobody is asked whether a client was revoked",
			about: "revocation lists of those authorities (RFC 5280): with them a client is refused that is in one, or whose issuer has none in force"},
		{name: "ca", want: text("the path of a PEM file, from the folder of this file"), absent: "an error, unless there is [management]: until the authorities of the slot clients are there, required refuses everybody",
			about: "authorities whose certificates are good"},
		{name: "required", want: flag{}, def: true, about: "a client without certificate is refused"},
	}}
}

func backendsTable() *table {
	return &table{name: "tls.backends", about: "a server behind the terminator, once for each: [[tls.backends]]", keys: []key{
		{name: "address", want: wantBackend, about: "where it listens"},
		{name: "connections", want: integer{1, 65535}, absent: "no bound of its own", about: "most that it gets at a time; more wait"},
		{name: "backup", want: flag{}, def: false, about: "it gets connections only while no other can take them"},
	}}
}

func healthTable() *table {
	return &table{name: "tls.health", about: "checks of the backends, by connecting", keys: []key{
		{name: "every", want: duration{time.Second, time.Hour}, def: "5s", about: "time between two checks"},
		{name: "timeout", want: duration{time.Second, time.Minute}, def: "2s", about: "time for one"},
		{name: "fall", want: integer{1, 100}, def: 3, about: "failures in a row, those of connections included, that make a backend ill"},
		{name: "rise", want: integer{1, 100}, def: 2, about: "checks in a row that make it well again"},
	}}
}

func tlsTables() []*table {
	return []*table{tlsTable(), certificatesTable(), clientsTable(), backendsTable(), healthTable()}
}

func tlsSection(s *section, all []*table, l *Limits, n *Network, m *Management) TLS {
	t := TLS{
		Port: s.integer("port"), MinVersion: s.choice("min_version"), UnknownName: s.choice("unknown_name"), Proxy: s.choice("proxy_protocol"),
		ALPN: s.protocols(), TicketRotation: s.duration("ticket_rotation"),
		Connections: s.integer("connections"), Handshakes: s.integer("handshakes"), PerClient: s.integer("per_client"), Buffers: s.integer("buffers"),
		Handshake: s.duration("handshake"), Connect: s.duration("connect"), Attempt: s.duration("attempt"),
		Idle: s.duration("idle"), HalfClosed: s.duration("half_closed"), Stall: s.duration("stall"), Lifetime: s.duration("lifetime"),
	}
	if !s.flag("tickets") {
		if v := s.value("ticket_rotation"); v != nil {
			s.against("ticket_rotation", v, "but tickets is false")
		}
		t.TicketRotation = 0
	}
	if m == nil && !s.has("certificates") {
		s.missing("certificates")
	}
	t.Certificates = certificates(s, all, m)
	if s.has("clients") {
		t.clients(s.sub("clients", schema(all, "tls.clients"), all), m)
	}
	if m != nil {
		t.initial(s, m)
	}
	for _, b := range s.tables("backends", all) {
		t.backend(b, n)
	}
	h := s.sub("health", schema(all, "tls.health"), all)
	t.Health = Health{h.duration("every"), h.duration("timeout"), h.integer("fall"), h.integer("rise")}
	t.reserve(s, l, m)
	return t
}

// spare is how many TCP connections there are beside those of clients and to backends
// for every hundred of these: checks, and those that are over but still known.
const spare = 10

// reserve makes room for the connections below TLS. What limits do not say is kept
// small: what a client does not take stays with the backend.
func (t *TLS) reserve(s *section, l *Limits, m *Management) {
	need := 2 * t.Connections
	if v := s.value("connections"); v != nil && l.Connections > 0 && need > l.Connections {
		s.errorf("connections", v, "at most %d, which is half of limits.tcp_connections", l.Connections/2)
	}
	if l.Connections == 0 {
		more := 2*len(t.Backends) + 16
		if m != nil {
			more += m.Connections
		}
		l.Connections = min(need+need*spare/100+more, 65535)
	} else {
		t.Connections = min(t.Connections, max(l.Connections/2, 1))
	}
	t.Handshakes = min(t.Handshakes, t.Connections)
	if l.Send == 0 {
		l.Send = 32 << 10
	}
	if l.Receive == 0 {
		l.Receive = 16 << 10
	}
}

// protocols reads alpn.
func (s *section) protocols() (list []string) {
	for _, v := range s.strings("alpn") {
		p := v.V.(string)
		if p == "" || len(p) > 255 || slices.Contains(list, p) {
			s.errorf("alpn", v, "a protocol of 1 to 255 bytes that is not there yet")
			continue
		}
		list = append(list, p)
	}
	return list
}

func (t *TLS) backend(s *section, n *Network) {
	b := Backend{Connections: s.integer("connections"), Backup: s.flag("backup")}
	text, v := s.text("address")
	if v == nil {
		return
	}
	a, err := netip.ParseAddrPort(text)
	ip := a.Addr()
	switch {
	case err != nil || a.Port() == 0 || ip.Zone() != "" || ip.Is4In6():
		s.refuse("address", v)
	case !oneHost(ip) || ip.Is6() && ip.IsLinkLocalUnicast():
		s.errorf("address", v, "the address of one host beyond the link")
	case ip.Is4() && !n.uses4() || ip.Is6() && !n.uses6():
		s.against("address", v, "but [network] has no address of that IP version; must be one that the image can reach")
	case n.owns(ip):
		s.errorf("address", v, "another host's address, not the image's own")
	case !n.reaches(ip):
		s.against("address", v, "which is outside the networks in [network], and there is no gateway; must be one that the image can reach")
	case slices.ContainsFunc(t.Backends, func(o Backend) bool { return o.Addr == a }):
		s.against("address", v, "a backend that is there already")
	}
	b.Addr = a
	t.Backends = append(t.Backends, b)
}

// lowerName is a DNS name in lower case without a dot at its end, or "" if v is none;
// the first label may be a star.
func lowerName(v *tree.Value) string {
	name := strings.ToLower(strings.TrimSuffix(v.V.(string), "."))
	for i, label := range strings.Split(name, ".") {
		if i == 0 && label == "*" {
			continue
		}
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return ""
		}
	}
	if len(name) > 253 || name == "*" {
		return ""
	}
	return name
}
