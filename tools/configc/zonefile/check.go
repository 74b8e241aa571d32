package zonefile

import (
	"strings"

	"ampoule/tools/configc/report"

	"github.com/miekg/dns"
)

// maxTTL is the largest TTL (RFC 2181 section 8).
const maxTTL = 1<<31 - 1

// maxSet bounds the data of one set in bytes, so that an answer with it fits
// into a message of 65,535 with its question and OPT record.
const maxSet = 65535 - 12 - 259 - 11

// checker looks at a whole zone.
type checker struct {
	origin  string
	entries []entry
	names   map[string]map[uint16][]entry // by owner in canonical form, then type
	list    *report.List
	errors  *report.List // what of list came from this zone
}

func newChecker(origin string, entries []entry, list, errors *report.List) *checker {
	c := &checker{dns.CanonicalName(origin), entries, map[string]map[uint16][]entry{}, list, errors}
	for _, e := range entries {
		name := dns.CanonicalName(e.rr.Header().Name)
		if c.names[name] == nil {
			c.names[name] = map[uint16][]entry{}
		}
		t := e.rr.Header().Rrtype
		c.names[name][t] = append(c.names[name][t], e)
	}
	return c
}

func (c *checker) errorf(p place, format string, args ...any) {
	c.list.Errorf(p.file, p.line, format, args...)
	c.errors.Errorf(p.file, p.line, format, args...)
}

func (c *checker) warnf(p place, format string, args ...any) {
	c.list.Warnf(p.file, p.line, format, args...)
}

// check looks at single records, then at sets, then at names.
func (c *checker) check(file string) {
	for _, e := range c.entries {
		c.record(e)
	}
	for name, types := range c.names {
		for _, set := range types {
			c.set(name, set)
		}
		c.name(name, types)
	}
	c.apex(file)
}

// record checks what can be said of one record alone.
func (c *checker) record(e entry) {
	h := e.rr.Header()
	switch {
	case h.Name == "":
		c.errorf(e.place, "%s record without an owner, and no record before it has one", dns.Type(h.Rrtype))
	case h.Class != dns.ClassINET:
		c.errorf(e.place, "%s: class %s; the only class served is IN", head(e.rr), dns.Class(h.Class))
	case !dns.IsSubDomain(c.origin, h.Name):
		c.errorf(e.place, "%s: outside the zone %s", head(e.rr), c.origin)
	case h.Rrtype == dns.TypeSOA && dns.CanonicalName(h.Name) != c.origin:
		c.errorf(e.place, "%s: an SOA record belongs to the zone's own name %s", head(e.rr), c.origin)
	case h.Rrtype == 0 || h.Rrtype == dns.TypeOPT || h.Rrtype >= 128 && h.Rrtype <= 255:
		c.errorf(e.place, "%s: a type of queries, not of records", head(e.rr))
	case h.Ttl > maxTTL:
		c.errorf(e.place, "%s: TTL %d; the largest is %d (RFC 2181 section 8)", head(e.rr), h.Ttl, maxTTL)
	default:
		c.data(e)
	}
}

// set checks the records of one name and type.
func (c *checker) set(name string, set []entry) {
	first, size := set[0], 0
	seen := map[string]bool{}
	for _, e := range set {
		if seen[string(e.Data)] {
			c.warnf(e.place, "%s: the same record is already there; it is taken once", head(e.rr))
		} else if seen[string(e.Data)] = true; len(seen) == 2 {
			c.single(name, e)
		}
		size += len(e.Data) + 12
		if e.TTL != first.TTL && e.Type != dns.TypeRRSIG {
			c.warnf(e.place, "%s: TTL %d differs from TTL %d of the set's first record at %s:%d; the least is used (RFC 2181 section 5.2)",
				head(e.rr), e.TTL, first.TTL, first.file, first.line)
		}
	}
	if size > maxSet {
		c.errorf(first.place, "%s: the set takes %d bytes; the most that fits into a message is %d", head(first.rr), size, maxSet)
	}
}

// single refuses a second record of a type that may be there once.
func (c *checker) single(name string, e entry) {
	switch e.Type {
	case dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME:
		c.errorf(e.place, "%s: more than one %s record at %s", head(e.rr), dns.Type(e.Type), name)
	}
}

// name checks what may stand together at one name and below another.
func (c *checker) name(name string, types map[uint16][]entry) {
	if alias := types[dns.TypeCNAME]; alias != nil {
		for t, set := range types {
			switch t {
			case dns.TypeCNAME, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
			default:
				c.errorf(set[0].place, "%s: a CNAME record is at the same name, %s:%d; it must stand alone (RFC 2181 section 10.1)",
					head(set[0].rr), alias[0].file, alias[0].line)
			}
		}
	}
	cut := false
	for _, above := range c.ancestors(name) {
		if d := c.names[above][dns.TypeDNAME]; d != nil {
			e := first(types)
			c.errorf(e.place, "%s: below the DNAME record of %s, %s:%d (RFC 6672 section 2.4)",
				head(e.rr), above, d[0].file, d[0].line)
		}
		cut = cut || above != c.origin && c.names[above][dns.TypeNS] != nil
	}
	if cut {
		for t, set := range types {
			if t != dns.TypeA && t != dns.TypeAAAA {
				c.warnf(set[0].place, "%s: below a delegation; it is never in an answer", head(set[0].rr))
			}
		}
		return
	}
	for _, e := range types[dns.TypeNS] {
		c.server(name, e)
	}
	for _, e := range types[dns.TypeMX] {
		if mx, ok := e.rr.(*dns.MX); ok {
			c.target(e, mx.Mx)
		}
	}
}

// first returns the entry that comes first in its file.
func first(types map[uint16][]entry) entry {
	var first entry
	for _, set := range types {
		if first.rr == nil || set[0].line < first.line {
			first = set[0]
		}
	}
	return first
}

// ancestors returns the names above name inside the zone, the lowest first.
func (c *checker) ancestors(name string) []string {
	var above []string
	for name != c.origin && dns.IsSubDomain(c.origin, name) {
		i, end := dns.NextLabel(name, 0)
		if name = name[i:]; end || name == "" {
			name = "."
		}
		above = append(above, name)
	}
	return above
}

// server checks the target of an NS record at name.
func (c *checker) server(name string, e entry) {
	ns, ok := e.rr.(*dns.NS)
	if !ok {
		return
	}
	c.target(e, ns.Ns)
	target := dns.CanonicalName(ns.Ns)
	types := c.names[target]
	if !dns.IsSubDomain(name, target) || types[dns.TypeA] != nil || types[dns.TypeAAAA] != nil {
		return
	}
	if name == c.origin && c.delegated(target) {
		return // its addresses are in the child zone
	}
	c.warnf(e.place, "%s: %s has no address in this zone, and nowhere else can one be found", head(e.rr), ns.Ns)
}

// delegated says whether name is at or below a delegation.
func (c *checker) delegated(name string) bool {
	for _, n := range append(c.ancestors(name), name) {
		if n != c.origin && c.names[n][dns.TypeNS] != nil {
			return true
		}
	}
	return false
}

// target warns of a name that must not be an alias (RFC 2181 section 10.3).
func (c *checker) target(e entry, name string) {
	if alias := c.names[dns.CanonicalName(name)][dns.TypeCNAME]; alias != nil {
		c.warnf(e.place, "%s: %s is an alias, %s:%d; it must have addresses of its own (RFC 2181 section 10.3)",
			head(e.rr), name, alias[0].file, alias[0].line)
	}
}

// apex checks what every zone needs at its own name.
func (c *checker) apex(file string) {
	types := c.names[c.origin]
	if types[dns.TypeSOA] == nil {
		c.errorf(place{file: file}, "zone %s has no SOA record at its own name", c.origin)
	}
	if types[dns.TypeNS] == nil {
		c.errorf(place{file: file}, "zone %s has no NS record at its own name", c.origin)
	}
	for _, e := range types[dns.TypeSOA] {
		if soa, ok := e.rr.(*dns.SOA); ok && strings.Contains(strings.ReplaceAll(soa.Mbox, `\@`, ""), "@") {
			c.errorf(e.place, "%s: the mailbox %s has an @; write a dot for it", head(soa), soa.Mbox)
		}
	}
}
