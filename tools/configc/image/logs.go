package image

import "net/netip"

// levels are those of the log, with the names that package telemetry gives them.
var levels = [...]string{"debug", "info", "warn", "error"}

// facilities are those of RFC 5424, section 6.2.1, by number, with the names
// that syslog daemons know.
var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

func consoleTable() *table {
	return &table{name: "console", about: "the log on the VM's console", keys: []key{
		{name: "level", want: choice(levels[:]), def: "info", about: "lowest level that is written"},
	}}
}

// Syslog is the table [syslog].
type Syslog struct {
	Server     netip.AddrPort
	Facility   int // index in facilities
	Level      int // index in levels
	Queue      int
	Enterprise int
}

func syslogTable() *table {
	return &table{name: "syslog", about: "the log, sent to a collector over UDP (RFC 5424, RFC 5426); left out, nothing of it is in the image", keys: []key{
		{name: "server", want: text(`an address with a port, such as "192.0.2.10:514" or "[2001:db8::10]:514"`), about: "the collector"},
		{name: "facility", want: choice(facilities[:]), def: "daemon", about: "facility of all messages"},
		{name: "level", want: choice(levels[:]), def: "info", about: "lowest level that is sent"},
		{name: "queue", want: integer{1, 4096}, def: 64,
			about: "messages of up to 1.2 KB that wait for the network; more are dropped, counted, and the number reported"},
		{name: "enterprise", want: integer{1, 1<<32 - 1}, def: 32473,
			about: "private enterprise number of the structured data ampoule@N; the default is the one for documentation (RFC 5612)"},
	}}
}

func syslogSection(s *section, n *Network) *Syslog {
	l := &Syslog{
		Facility: s.choice("facility"), Level: s.choice("level"),
		Queue: s.integer("queue"), Enterprise: s.integer("enterprise"),
	}
	t, v := s.text("server")
	if v == nil {
		return l
	}
	a, err := netip.ParseAddrPort(t)
	ip := a.Addr()
	switch {
	case err != nil || a.Port() == 0 || ip.Zone() != "" || ip.Is4In6():
		s.refuse("server", v)
	case !oneHost(ip) || ip.Is6() && ip.IsLinkLocalUnicast():
		s.errorf("server", v, "the address of one host beyond the link")
	case ip.Is4() && !n.uses4() || ip.Is6() && !n.uses6():
		s.against("server", v, "but [network] has no address of that IP version; must be one that the image can reach")
	case n.owns(ip):
		s.errorf("server", v, "another host's address, not the image's own")
	case !n.reaches(ip):
		s.against("server", v, "which is outside the networks in [network], and there is no gateway; must be one that the image can reach")
	}
	l.Server = a
	return l
}

// owns says whether a is one of the image's addresses.
func (n *Network) owns(a netip.Addr) bool {
	for _, p := range append(n.IPv6, n.IPv4) {
		if p.IsValid() && p.Addr() == a {
			return true
		}
	}
	return false
}

// reaches says whether there is, or may come, a way to a.
func (n *Network) reaches(a netip.Addr) bool {
	if a.Is4() && (n.DHCP || n.Gateway4.IsValid()) || a.Is6() && (n.SLAAC || n.Gateway6.IsValid()) {
		return true
	}
	for _, p := range append(n.IPv6, n.IPv4) {
		if p.IsValid() && p.Contains(a) {
			return true
		}
	}
	return false
}
