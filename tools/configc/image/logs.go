package image

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"ampoule/tools/configc/certfile"
)

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

	Authorities      []byte // PEM; nil: UDP
	Name             string
	Certificate, Key []byte // PEM; nil: none
}

func syslogTable() *table {
	return &table{name: "syslog", about: "the log, sent to a collector as RFC 5424 has it, over UDP (RFC 5426) or TLS (RFC 5425); left out, nothing of it is in the image", keys: []key{
		{name: "server", want: text(`an address with a port, such as "192.0.2.10:514" or "[2001:db8::10]:514"`), about: "the collector"},
		{name: "facility", want: choice(facilities[:]), def: "daemon", about: "facility of all messages"},
		{name: "level", want: choice(levels[:]), def: "info", about: "lowest level that is sent"},
		{name: "queue", want: integer{1, 4096}, def: 64,
			about: "messages of up to 1.2 KB that wait for the network; more are dropped, counted, and the number reported"},
		{name: "enterprise", want: integer{1, 1<<32 - 1}, def: 32473,
			about: "private enterprise number of the structured data ampoule@N; the default is the one for documentation (RFC 5612)"},
		{name: "authorities", want: text("the path of a file with the certificates of authorities, as PEM"), absent: "UDP", about: "who vouches for the collector; with it the log goes over TLS, whose usual port is 6514"},
		{name: "name", want: text("a host name or an address"), absent: "the address in server", about: "what the collector's certificate must be for"},
		{name: "certificate", want: text("the path of a file with a chain and its private key, as PEM"), absent: "none", about: "the certificate that is shown to the collector"},
		{name: "key_in_image", want: inSoManyWords, absent: "there is no certificate", about: "the word without which no private key is compiled in"},
	}}
}

func syslogSection(s *section, n *Network) *Syslog {
	l := &Syslog{
		Facility: s.choice("facility"), Level: s.choice("level"),
		Queue: s.integer("queue"), Enterprise: s.integer("enterprise"),
	}
	l.secure(s)
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
	if l.Name == "" {
		l.Name = ip.String()
	}
	return l
}

// secure reads what there is about TLS.
func (l *Syslog) secure(s *section) {
	if name, v := s.text("authorities"); v != nil {
		l.Authorities = authorities(s, "authorities", s.read("authorities", v, filepath.ToSlash(s.beside(name))))
	}
	if name, v := s.text("name"); v != nil {
		l.Name = name
		if _, err := netip.ParseAddr(name); err != nil {
			l.Name = lowerName(v)
		}
		if l.Name == "" || strings.HasPrefix(l.Name, "*.") {
			s.refuse("name", v)
		}
	}
	if data := s.agreed("certificate", "key_in_image"); data != nil {
		l.own(s, data)
	}
	for _, key := range []string{"name", "certificate"} {
		if v := s.value(key); v != nil && !s.has("authorities") {
			s.against(key, v, "but there are no authorities, and so no TLS")
		}
	}
}

// own reads the certificate that is shown to the collector.
func (l *Syslog) own(s *section, data []byte) {
	chain, err := certfile.Certificates(data)
	if err != nil {
		s.against("certificate", s.value("certificate"), "but %v", err)
		return
	}
	key, err := certfile.Key(data)
	if err == nil {
		chain, err = certfile.Chain(chain, key)
	}
	var der []byte
	if err == nil {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		s.against("certificate", s.value("certificate"), "but %v", err)
		return
	}
	if wrong, _ := certfile.Dates(chain[0], time.Now()); wrong != "" {
		s.against("certificate", s.value("certificate"), "but %s", wrong)
	}
	var out bytes.Buffer
	for _, x := range chain {
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
	}
	l.Certificate, l.Key = out.Bytes(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// source writes the field of config.System.
func (l *Syslog) source(w io.Writer) {
	fmt.Fprintf(w, "\tSyslog: &syslog.Config{\n\t\tServer: netip.AddrPortFrom(%s, %d), // %s\n"+
		"\t\tFacility: %d, // %s\n\t\tLevel: %s,\n\t\tQueue: %d,\n\t\tEnterprise: %d,\n",
		addr(l.Server.Addr()), l.Server.Port(), l.Server, l.Facility, facilities[l.Facility], level(l.Level), l.Queue, l.Enterprise)
	if l.Authorities != nil {
		fmt.Fprintf(w, "\t\tSecure: secure.TLS{Authorities: %q, Name: %q", l.Authorities, l.Name)
		if l.Certificate != nil {
			fmt.Fprintf(w, ", Certificate: %q, Key: %q", l.Certificate, l.Key)
		}
		fmt.Fprint(w, "},\n")
	}
	fmt.Fprint(w, "\t},\n")
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
