package image

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// transferImports are the packages that transferSource uses.
func (d *DNS) transferImports() (paths []string) {
	if len(d.Keys) > 0 {
		paths = append(paths, "ampoule/appliances/dns/tsig", "ampoule/appliances/dns/tsig/algorithm")
	}
	if d.hasPeers() {
		paths = append(paths, "ampoule/appliances/dns/xfr")
	}
	if len(d.Transferred) > 0 {
		paths = append(paths, "ampoule/appliances/dns/secondary")
	}
	return paths
}

// hasPeers says whether the image talks to other name servers.
func (d *DNS) hasPeers() bool {
	return len(d.Transferred) > 0 || slices.ContainsFunc(d.Zones, Zone.shared)
}

// shared says whether other servers have to do with the zone.
func (z Zone) shared() bool { return len(z.Allow)+len(z.Notify) > 0 }

// transferFields writes the fields of dnsd.Config for all that.
func (d *DNS) transferFields(w io.Writer) {
	if len(d.Keys) > 0 {
		fmt.Fprint(w, "\tKeys: keys,\n")
	}
	switch {
	case len(d.Transferred) > 0:
		fmt.Fprint(w, "\tPeers: &peers,\n")
	case d.hasPeers():
		fmt.Fprint(w, "\tPeers: &transfers,\n")
	}
}

// transferSource writes the keys, and what package xfr or secondary is told. An
// image that has neither configured does not import them.
func (d *DNS) transferSource(w io.Writer) {
	if len(d.Keys) > 0 {
		fmt.Fprint(w, "\n// keys are those of TSIG.\nvar keys = tsig.Ring{\n")
		for _, k := range d.Keys {
			fmt.Fprintf(w, "\t{Name: %s, Algorithm: &algorithm.%s, Secret: []byte(%q)},\n", wireName(k.Name), k.Algorithm, k.Secret)
		}
		fmt.Fprint(w, "}\n")
	}
	if !d.hasPeers() {
		return
	}
	fmt.Fprint(w, "\n// transfers is who may have zones that were compiled in.\nvar transfers = xfr.Config{\n")
	if len(d.Keys) > 0 {
		fmt.Fprint(w, "\tKeys: keys,\n")
	}
	fmt.Fprint(w, "\tZones: []xfr.Zone{\n")
	for _, z := range d.Zones {
		if z.shared() {
			fmt.Fprintf(w, "\t\t{Origin: %s, Policy: %s},\n", wireName(z.Origin), z.Policy.source())
		}
	}
	fmt.Fprint(w, "\t},\n}\n")
	if len(d.Transferred) == 0 {
		return
	}
	c := d.Secondary
	fmt.Fprint(w, "\n// peers is what comes from other servers.\nvar peers = secondary.Config{\n\tConfig: transfers,\n")
	bounds := func(name string, low, high time.Duration) {
		fmt.Fprintf(w, "\t%s: secondary.Bounds{Min: %d * time.Second, Max: %d * time.Second},\n",
			name, int(low.Seconds()), int(high.Seconds()))
	}
	bounds("Refresh", c.RefreshMin, c.RefreshMax)
	bounds("Retry", c.RetryMin, c.RetryMax)
	bounds("Expire", c.ExpireMin, c.ExpireMax)
	fmt.Fprintf(w, "\tZoneBytes: %d,\n\tAllBytes: %d,\n\tJournalBytes: %d,\n\tTransfers: %d,\n\tTimeout: %d * time.Millisecond,\n"+
		"\tSecondaries: []secondary.Zone{\n", c.ZoneBytes, c.AllBytes, c.JournalBytes, c.Transfers, c.Timeout.Milliseconds())
	for _, z := range d.Transferred {
		z.source(w)
	}
	fmt.Fprint(w, "\t},\n}\n")
}

// source writes a zone that comes from elsewhere.
func (z *Transferred) source(w io.Writer) {
	own := z.Policy
	if z.Catalog {
		own = Policy{} // is that of the members
	}
	fmt.Fprintf(w, "\t\t{\n\t\t\tZone: xfr.Zone{Origin: %s, Policy: %s},\n\t\t\tPrimaries: %s,\n",
		wireName(z.Origin), own.source(), primaries(z.Primaries))
	if z.Catalog {
		fmt.Fprintf(w, "\t\t\tCatalog: &secondary.Catalog{Members: %d, Primaries: %s, Policy: %s},\n",
			z.Members, primaries(z.MemberPrimaries), z.Policy.source())
	}
	fmt.Fprint(w, "\t\t},\n")
}

// wireName is a name in wire format as Go.
func wireName(name string) string {
	if name == "" {
		return `""`
	}
	b := make([]byte, 256)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		panic(err) // it was found to be one
	}
	return fmt.Sprintf("%q", b[:n])
}

// source is the policy as Go.
func (p *Policy) source() string {
	s := "xfr.Policy{"
	if len(p.Allow) > 0 {
		s += "Allow: []xfr.Rule{"
		for _, r := range p.Allow {
			rule := ""
			if r.Prefix.IsValid() {
				rule = "Prefix: " + prefix(r.Prefix) + ", "
			}
			s += fmt.Sprintf("{%sKey: %s}, ", rule, wireName(r.Key))
		}
		s += "}, "
	}
	if len(p.Notify) > 0 {
		s += "Notify: []xfr.Target{" + peers(p.Notify) + "}"
	}
	return s + "}"
}

func primaries(list []Peer) string {
	if len(list) == 0 {
		return "nil"
	}
	return "[]secondary.Primary{" + peers(list) + "}"
}

func peers(list []Peer) (s string) {
	for _, p := range list {
		s += fmt.Sprintf("{Addr: %s, Key: %s}, ", addrPort(p.Addr), wireName(p.Key))
	}
	return s
}

func addrPort(a netip.AddrPort) string {
	return fmt.Sprintf("netip.AddrPortFrom(%s, %d)", addr(a.Addr()), a.Port())
}
