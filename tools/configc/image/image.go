// Package image reads the configuration of an image, one TOML file, and turns
// it into Go source that is compiled into it.
package image

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/report"
	"ampoule/tools/configc/tree"
	"ampoule/tools/configc/zonefile"

	"github.com/miekg/dns"
)

// Apps are the appliances whose configuration can be compiled.
var Apps = [...]string{"dns", "echo"}

// Image is a checked configuration.
type Image struct {
	App      string
	Hostname string
	Network  Network
	DNS      DNS
	Echo     Echo
}

// Network is the section [network].
type Network struct {
	IPv4      netip.Prefix
	Gateway4  netip.Addr
	IPv6      []netip.Prefix
	Gateway6  netip.Addr
	Fragments bool
}

// Echo is the section [echo].
type Echo struct{ Port int }

// DNS is the section [dns].
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

// Load reads and checks the configuration of an image for the appliance app,
// one of Apps. Everything that is wrong goes to list; the result is of use only
// when no error did.
func Load(file, app string, list *report.List) *Image {
	root := tree.Read(file, list)
	if root == nil {
		return nil
	}
	s := &section{file: file, table: root, list: list}
	img := &Image{App: app, Hostname: hostname(s, app)}
	img.Network = network(s.sub("network"))
	switch app {
	case "dns":
		img.DNS = dnsSection(s.sub("dns"))
	case "echo":
		e := s.sub("echo")
		img.Echo.Port = e.integer("port", 1, 65535, 7)
		e.finish()
	}
	s.finish()
	return img
}

// hostname returns the name that the image goes by in its log.
func hostname(s *section, otherwise string) string {
	const want = "a host name: letters, digits and hyphens, with dots between, up to 253 in all"
	name, v := s.text("hostname", want)
	if v == nil {
		return otherwise
	}
	ok := len(name) <= 253
	for _, label := range strings.Split(name, ".") {
		ok = ok && label != "" && len(label) <= zone.MaxLabel &&
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" &&
			label[0] != '-' && label[len(label)-1] != '-'
	}
	if !ok {
		s.errorf("hostname", v, "%s", want)
	}
	return name
}

func network(s *section) Network {
	var n Network
	v4, v6 := s.value("ipv4"), s.value("ipv6")
	if v4 == nil && v6 == nil {
		s.missing("ipv4", "an address, or ipv6 be a list of them")
	}
	var four []netip.Prefix
	if v4 != nil {
		if n.IPv4 = s.prefix("ipv4", v4, true); n.IPv4.IsValid() {
			four = append(four, n.IPv4)
		}
	}
	n.Gateway4 = s.gateway("gateway4", true, "ipv4", four)
	if v6 != nil {
		items, ok := v6.V.([]*tree.Value)
		if !ok {
			s.errorf("ipv6", v6, `a list of addresses, such as ["2001:db8::53/64"]`)
		}
		for _, v := range items {
			p := s.prefix("ipv6", v, false)
			if slices.Contains(n.IPv6, p) && p.IsValid() {
				s.repeat("ipv6", v)
			}
			if p.IsValid() {
				n.IPv6 = append(n.IPv6, p)
			}
		}
	}
	n.Gateway6 = s.gateway("gateway6", false, "ipv6", n.IPv6)
	n.Fragments = s.flag("fragments")
	s.finish()
	return n
}

func dnsSection(s *section) DNS {
	d := DNS{
		Port:           s.integer("port", 1, 65535, 53),
		UDPSize:        s.integer("udp_size", 512, 4096, 1232),
		TCPConnections: s.integer("tcp_connections", 1, 65535, 128),
		TCPIdle:        s.duration("tcp_idle", time.Second, time.Hour, 10*time.Second),
	}
	const want = `a list of zones, each [[dns.zones]] with an origin and a file`
	v := s.value("zones")
	s.finish()
	if v == nil {
		s.missing("zones", want)
		return d
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.errorf("zones", v, want)
		return d
	}
	for _, v := range items {
		t, ok := v.V.(*tree.Table)
		if !ok {
			s.errorf("zones", v, want)
			continue
		}
		z := zoneSection(&section{s.file, "dns.zones", t, s.list, nil}, d.Zones)
		d.Zones = append(d.Zones, z)
	}
	slices.SortFunc(d.Zones, func(a, b Zone) int { return strings.Compare(a.Origin, b.Origin) })
	return d
}

// zoneSection reads one zone; others are those before it.
func zoneSection(s *section, others []Zone) Zone {
	const wantOrigin = `the name of a zone, such as "example.org"`
	const wantFile = "the path of a zone file, from the folder of this file"
	var z Zone
	origin, vo := s.text("origin", wantOrigin)
	file, vf := s.text("file", wantFile)
	s.finish()
	if vo == nil && s.table.Values["origin"] == nil {
		s.missing("origin", wantOrigin)
	}
	if vf == nil && s.table.Values["file"] == nil {
		s.missing("file", wantFile)
	}
	if vo == nil || vf == nil {
		return z
	}
	if _, ok := dns.IsDomainName(origin); !ok || origin == "" {
		s.errorf("origin", vo, wantOrigin)
		return z
	}
	z.Origin = dns.CanonicalName(origin)
	if slices.ContainsFunc(others, func(o Zone) bool { return o.Origin == z.Origin }) {
		s.repeat("origin", vo)
		return z
	}
	if file == "" {
		s.errorf("file", vf, wantFile)
		return z
	}
	z.File = filepath.ToSlash(s.beside(file))
	z.Table = zonefile.Read(z.File, z.Origin, s.list)
	return z
}
