package image

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Part is a part of the configuration that decides what is linked. The rest of the
// configuration is constants, which have the same size whatever they say.
type Part struct {
	Name   string   // that of its main key: "network.dhcp"
	Keys   []string // each of these brings it
	About  string
	Within string // name of the part without which this one cannot be; "": none
	remove func(*Image)
}

// Parts are the parts of this image, in the order of the reference, each behind
// the one that it is within.
func (img *Image) Parts() []Part {
	n, d := &img.Network, &img.DNS
	version := "" // that fragments are within, where there is only one
	switch {
	case !n.uses6():
		version = "network.ipv4"
	case !n.uses4():
		version = "network.ipv6"
	}
	var list []Part
	add := func(present bool, p Part) {
		if present {
			list = append(list, p)
		}
	}
	add(n.uses4(), Part{"network.ipv4", []string{"network.ipv4", "network.dhcp"}, "IPv4", "", withoutIPv4})
	add(n.DHCP, Part{"network.dhcp", []string{"network.dhcp"}, "the DHCP client", "network.ipv4", withoutDHCP})
	add(n.uses6(), Part{"network.ipv6", []string{"network.ipv6", "network.slaac"}, "IPv6", "", withoutIPv6})
	add(n.SLAAC, Part{"network.slaac", []string{"network.slaac"}, "router advertisements", "network.ipv6", withoutSLAAC})
	add(n.Fragments, Part{"network.fragments", []string{"network.fragments"}, "IP fragments", version,
		func(img *Image) { img.Network.Fragments = false }})
	add(img.Syslog != nil, Part{"syslog", []string{"syslog"}, "the log's way to a collector", "",
		func(img *Image) { img.Syslog = nil }})
	add(img.Syslog != nil && img.Syslog.Authorities != nil, Part{"syslog.authorities", []string{"syslog.authorities"}, "TLS on that way", "syslog",
		withoutSecureLog})
	m := img.Mgmt
	add(m != nil, Part{"management", []string{"management"}, "the management plane", "", withoutManagement})
	add(m != nil && m.Disk, Part{"management.disk", []string{"management.disk"}, "disks, and certificates on one", "management",
		func(img *Image) { img.manage(func(m *Management) { m.Disk, m.DiskKey = false, nil }) }})
	add(m != nil && m.Pprof, Part{"management.pprof", []string{"management.pprof"}, "profiles", "management",
		func(img *Image) { img.manage(func(m *Management) { m.Pprof = false }) }})
	add(m != nil && m.Capture, Part{"management.capture", []string{"management.capture"}, "capture of packets", "management",
		func(img *Image) { img.manage(func(m *Management) { m.Capture = false }) }})
	add(img.HTTPS != nil, Part{"https", []string{"https"}, "HTTPS", "management", func(img *Image) { img.HTTPS = nil }})
	add(img.HTTPS != nil && img.HTTPS.HTTP2, Part{"https.http2", []string{"https.http2"}, "HTTP/2", "https", withoutHTTP2})
	add(len(d.Keys) > 0, Part{"dns.keys", []string{"dns.keys"}, "TSIG", "",
		func(img *Image) { img.DNS.Keys = nil }})
	add(len(d.Zones) > 0, Part{"dns.zones", []string{"dns.zones.file"}, "zones that are compiled in", "",
		func(img *Image) { img.DNS.Zones = nil }})
	add(slices.ContainsFunc(d.Zones, Zone.shared), Part{"dns.zones.allow_transfer",
		[]string{"dns.zones.allow_transfer", "dns.zones.notify"}, "their transfer to others", "dns.zones", withoutSharing})
	add(len(d.Transferred) > 0, Part{"dns.zones.primaries", []string{"dns.zones.primaries", "dns.catalogs"},
		"zones from other servers", "", func(img *Image) { img.DNS.Transferred = nil }})
	return list
}

// Without is a copy of the image that lacks the parts of these names. It is for
// measuring what they take, not for serving: what leaves it without an address
// of some kind is not refused.
func (img *Image) Without(names ...string) (*Image, error) {
	parts := img.Parts()
	less := *img
	less.DNS.Zones = slices.Clone(img.DNS.Zones)
	for _, name := range names {
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Name == name })
		if i < 0 {
			var have []string
			for _, p := range parts {
				have = append(have, p.Name)
			}
			return nil, fmt.Errorf("the configuration has no part %q; it has %s", name, strings.Join(have, ", "))
		}
		parts[i].remove(&less)
	}
	return &less, nil
}

func withoutIPv4(img *Image) {
	n := &img.Network
	n.IPv4, n.DHCP, n.Gateway4 = netip.Prefix{}, false, netip.Addr{}
}

// withoutDHCP has an address instead, if there is IPv4 at all: it stays linked.
func withoutDHCP(img *Image) {
	n := &img.Network
	if n.DHCP {
		n.DHCP, n.IPv4 = false, netip.MustParsePrefix("192.0.2.1/24")
	}
}

func withoutIPv6(img *Image) {
	n := &img.Network
	n.IPv6, n.SLAAC, n.Gateway6 = nil, false, netip.Addr{}
}

// withoutSLAAC has an address, as above.
func withoutSLAAC(img *Image) {
	n := &img.Network
	if n.SLAAC && len(n.IPv6) == 0 {
		n.IPv6 = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
	}
	n.SLAAC = false
}

func withoutSecureLog(img *Image) {
	if img.Syslog != nil {
		l := *img.Syslog
		l.Authorities = nil
		img.Syslog = &l
	}
}

func withoutManagement(img *Image) { img.Mgmt, img.DNS.TLSPort, img.HTTPS = nil, 0, nil }

// withoutHTTP2 changes a copy, if there is still HTTPS.
func withoutHTTP2(img *Image) {
	if img.HTTPS != nil {
		h := *img.HTTPS
		h.HTTP2 = false
		img.HTTPS = &h
	}
}

// manage changes a copy of what there is about management.
func (img *Image) manage(change func(*Management)) {
	if img.Mgmt != nil {
		m := *img.Mgmt
		change(&m)
		img.Mgmt = &m
	}
}

func withoutSharing(img *Image) {
	for i := range img.DNS.Zones {
		img.DNS.Zones[i].Policy = Policy{}
	}
}
