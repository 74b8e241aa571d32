// Package image reads the configuration of an image, one TOML file, and turns
// it into Go source that is compiled into it.
package image

import (
	"strings"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/report"
	"ampoule/tools/configc/tree"
)

// Apps are the appliances whose configuration can be compiled.
var Apps = [...]string{"dns", "echo", "http", "tls"}

// Image is a checked configuration.
type Image struct {
	App      string
	Hostname string
	Network  Network
	Limits   Limits
	Console  int // index in levels
	Syslog   *Syslog
	Mgmt     *Management // nil: none
	DNS      DNS
	Echo     Echo
	TLS      TLS
	HTTP     HTTP
	HTTPS    *HTTPS // nil: none
}

// schemas are the tables that an image of an appliance may have: the file
// itself, those that all have, and the appliance's own.
func schemas(app string) []*table {
	own := map[string][]*table{
		"dns":  {dnsTable(), rrlTable(), zoneTable(), dnssecTable(), keyTable(), catalogTable(), secondaryTable()},
		"echo": {echoTable()},
		"tls":  tlsTables(),
		"http": {httpTable(), siteTable(), siteRedirectTable(), siteHeaderTable(), httpsTable()},
	}
	all := []*table{nil, networkTable(), limitsTable(), consoleTable(), syslogTable()}
	root := &table{about: "The file itself.", keys: []key{{
		name: "hostname", want: text("a host name: letters, digits and hyphens, with dots between, up to 253 in all"),
		absent: "the appliance's name", about: "name in the log and for the hypervisor's tools; told to a DHCP server",
	}}}
	all = append(all, own[app]...)
	all = append(all, managementTable(), grantTable(), requiredTable(), sshKeyTable())
	for _, t := range all[1:] {
		if !strings.Contains(t.name, ".") {
			root.keys = append(root.keys, key{name: t.name, want: tables("a table: [" + t.name + "]"), absent: "empty", about: t.about})
		}
	}
	all[0] = root
	return all
}

// schema returns the table of a name.
func schema(all []*table, name string) *table {
	for _, t := range all {
		if t.name == name {
			return t
		}
	}
	panic("no schema " + name)
}

// Load reads and checks the configuration of an image for the appliance app,
// one of Apps. Everything that is wrong goes to list; the result is of use only
// when no error did.
func Load(file, app string, list *report.List) *Image {
	tree := tree.Read(file, list)
	if tree == nil {
		return nil
	}
	all := schemas(app)
	root := open(file, all[0], tree, list, all)
	sub := func(name string) *section { return root.sub(name, schema(all, name), all) }
	img := &Image{App: app, Hostname: hostname(root, app)}
	img.Network = network(sub("network"))
	img.Limits = limits(sub("limits"))
	console := sub("console")
	img.Console = console.choice("level")
	if root.has("syslog") {
		img.Syslog = syslogSection(sub("syslog"), &img.Network)
	}
	p, tcp := ports{}, ports{}
	if root.has("management") {
		m := sub("management")
		img.Mgmt = managementSection(m, all, &img.Network)
		tcp.integer(m, "port", "the management plane")
		tcp.integer(m, "ssh_port", "the management plane over SSH")
	}
	if img.Network.DHCP {
		p.take(68, "network.dhcp", "the DHCP client")
	}
	switch app {
	case "dns":
		d := sub("dns")
		img.DNS = dnsSection(d, all, &img.Limits, p)
		tcp.integer(d, "port", "the DNS service")
		img.DNS.overTLS(d, tcp, img.Mgmt)
	case "http":
		h := sub("http")
		img.HTTP = httpSection(h, all)
		tcp.integer(h, "port", "the HTTP service")
		if root.has("https") {
			h := sub("https")
			img.HTTPS = httpsSection(h, img.Mgmt)
			tcp.integer(h, "port", "HTTPS")
		}
	case "echo":
		e := sub("echo")
		img.Echo.Port = p.integer(e, "port", "the echo service")
		tcp.integer(e, "port", "the echo service")
	case "tls":
		t := sub("tls")
		img.TLS = tlsSection(t, all, &img.Limits, &img.Network, img.Mgmt)
		tcp.integer(t, "port", "the TLS service")
	}
	return img
}

// ports is who uses which port of UDP, or of TCP.
type ports map[int]struct{ key, what string }

func (p ports) take(port int, key, what string) { p[port] = struct{ key, what string }{key, what} }

// integer reads a port for what, and refuses one that is in use.
func (p ports) integer(s *section, key, what string) int {
	n := s.integer(key)
	if n == 0 {
		return 0 // there is none
	}
	if o, used := p[n]; used {
		if v := s.value(key); v != nil {
			s.against(key, v, "which %s has (%s); must be another port", o.what, o.key)
		} else {
			s.list.Errorf(s.file, s.table.Line, "%s: is %d if it is left out, which %s has (%s); must be another port", s.schema.path(key), n, o.what, o.key)
		}
		return n
	}
	p.take(n, s.schema.path(key), what)
	return n
}

// hostname returns the name that the image goes by in its log.
func hostname(s *section, otherwise string) string {
	name, v := s.text("hostname")
	if v == nil {
		return otherwise
	}
	if !isHostname(name) {
		s.refuse("hostname", v)
	}
	return name
}

func isHostname(name string) bool {
	ok := len(name) <= 253
	for _, label := range strings.Split(name, ".") {
		ok = ok && label != "" && len(label) <= zone.MaxLabel &&
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" &&
			label[0] != '-' && label[len(label)-1] != '-'
	}
	return ok
}
