package zonefile

import (
	"cmp"
	"crypto"
	"slices"
	"strings"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/report"

	"github.com/miekg/dns"
)

// Signing says how a zone is signed (RFC 4034, RFC 4035, RFC 5155).
type Signing struct {
	// Keys are files as dnssec-keygen makes them, by name without the .key and
	// .private at the end.
	Keys []string
	// NSEC3 is for hashed denial of existence; the other fields are its
	// parameters. Salt is in hexadecimal digits.
	NSEC3      bool
	Iterations uint16
	Salt       string
	OptOut     bool
	// Now is the time of signing. Signatures are valid from an hour before it,
	// for clocks that are behind, and for Validity after it.
	Now      time.Time
	Validity time.Duration
}

// expiryWarning is how long before the first signature expires a build warns of
// it: an image can't sign anew.
const expiryWarning = 14 * 24 * time.Hour

// early is how long before the time of signing a signature begins to be valid.
const early = time.Hour

// signer signs one zone.
type signer struct {
	*Signing
	origin  string
	ttl     uint32 // of NSEC and NSEC3 records (RFC 9077 section 3)
	keys    []key
	checker *checker
	out     []zone.Record
	err     error
}

// sign returns what signing adds to the records of c: DNSKEY, NSEC or NSEC3, and
// RRSIG. It returns false when it could not, after saying why.
func (g *Signing) sign(c *checker, file string, readFile func(string) ([]byte, error)) ([]zone.Record, bool) {
	s := &signer{Signing: g, origin: c.origin, checker: c}
	for name, types := range c.names {
		for _, t := range []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM} {
			if set := types[t]; set != nil {
				c.errorf(set[0].place, "%s %s: the zone is signed already; leave dnssec out to serve it as it is", name, dns.Type(t))
				return nil, false
			}
		}
	}
	if len(g.Keys) == 0 {
		c.list.Errorf(file, 0, "%s: no key to sign with", c.origin)
		return nil, false
	}
	var ok bool
	if s.keys, ok = readKeys(g.Keys, c.origin, c.list, readFile); !ok {
		return nil, false
	}
	soa, _ := c.names[c.origin][dns.TypeSOA][0].rr.(*dns.SOA)
	s.ttl = min(soa.Hdr.Ttl, soa.Minttl)
	keySet := s.publish(soa.Hdr.Ttl)
	nodes := s.nodes(keySet)
	s.signAll(nodes)
	if g.NSEC3 {
		s.nsec3(nodes)
	} else {
		s.nsec(nodes)
	}
	if s.err != nil {
		c.list.Errorf(file, 0, "%s: can't be signed: %v", c.origin, s.err)
		return nil, false
	}
	return s.out, true
}

// node is a name that a signed zone answers for, or a delegation.
type node struct {
	name string
	wire []byte
	cut  bool
	sets [][]dns.RR
}

// nodes lists the names in canonical order, without what lies below delegations
// (RFC 4035 section 2.2). keySet are the DNSKEY records.
func (s *signer) nodes(keySet []dns.RR) []node {
	var nodes []node
	for name, types := range s.checker.names {
		n := node{name: name, wire: wireName(name), cut: name != s.origin && types[dns.TypeNS] != nil}
		for _, set := range types {
			n.sets = append(n.sets, unify(set))
		}
		if name == s.origin {
			n.sets = slices.DeleteFunc(n.sets, func(set []dns.RR) bool { return set[0].Header().Rrtype == dns.TypeDNSKEY })
			n.sets = append(n.sets, keySet)
		}
		slices.SortFunc(n.sets, func(a, b []dns.RR) int { return cmp.Compare(a[0].Header().Rrtype, b[0].Header().Rrtype) })
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b node) int { return zone.CompareNames(a.wire, b.wire) })
	cut := ""
	return slices.DeleteFunc(nodes, func(n node) bool {
		if cut != "" && n.name != cut && dns.IsSubDomain(cut, n.name) {
			return true
		}
		if n.cut {
			cut = n.name
		}
		return false
	})
}

// unify returns the records of a set, each once, with the least of their TTLs, as
// zone.Compile will have them.
func unify(set []entry) []dns.RR {
	ttl := set[0].TTL
	for _, e := range set {
		ttl = min(ttl, e.TTL)
	}
	var rrs []dns.RR
	seen := map[string]bool{}
	for _, e := range set {
		if !seen[string(e.Data)] {
			seen[string(e.Data)] = true
			rr := dns.Copy(e.rr)
			rr.Header().Ttl = ttl
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// signAll signs what the zone is authoritative for.
func (s *signer) signAll(nodes []node) {
	for _, n := range nodes {
		for _, set := range n.sets {
			if !n.cut || set[0].Header().Rrtype == dns.TypeDS {
				s.signSet(set)
			}
		}
	}
}

// signSet signs one set: DNSKEY and its kin by the keys for that, all else by the
// others.
func (s *signer) signSet(set []dns.RR) {
	h := set[0].Header()
	apex := h.Rrtype == dns.TypeDNSKEY || h.Rrtype == dns.TypeCDS || h.Rrtype == dns.TypeCDNSKEY
	for _, k := range s.keys {
		if apex && !k.forKeys || !apex && !k.forZone {
			continue
		}
		sig := &dns.RRSIG{
			Hdr:        dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
			Algorithm:  k.Algorithm,
			KeyTag:     k.KeyTag(),
			SignerName: s.origin,
			Inception:  uint32(s.Now.Add(-early).Unix()),
			Expiration: uint32(s.Now.Add(s.Validity).Unix()),
		}
		if err := sig.Sign(k.signer, set); err != nil && s.err == nil {
			s.err = err
		}
		s.add(sig)
	}
}

// add puts a record into wire format.
func (s *signer) add(rr dns.RR) {
	r, err := pack(rr)
	if err != nil && s.err == nil {
		s.err = err
	}
	s.out = append(s.out, r)
}

// publish adds the DNSKEY records that are not in the zone, and returns the set.
func (s *signer) publish(ttl uint32) []dns.RR {
	there := s.checker.names[s.origin][dns.TypeDNSKEY]
	var set []dns.RR
	if there != nil {
		set = unify(there)
		ttl = set[0].Header().Ttl
	}
	for _, k := range s.keys {
		if slices.ContainsFunc(set, func(rr dns.RR) bool { return rr.(*dns.DNSKEY).PublicKey == k.PublicKey }) {
			continue
		}
		rr := dns.Copy(k.DNSKEY).(*dns.DNSKEY)
		rr.Hdr = dns.RR_Header{Name: s.origin, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: ttl}
		set = append(set, rr)
		s.add(rr)
	}
	return set
}

// types lists the types that are at n for a parent or a validator: of a delegation
// only those that are the parent's.
func (n *node) types(also ...uint16) []uint16 {
	types := also
	for _, set := range n.sets {
		t := set[0].Header().Rrtype
		if !n.cut || t == dns.TypeNS || t == dns.TypeDS {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

// warnExpiry warns of signatures that have expired or soon will.
func warnExpiry(z zone.Zone, file, origin string, signing *Signing, list *report.List) {
	if z.Expiry() == 0 {
		return
	}
	now := time.Now()
	if signing != nil {
		now = signing.Now
	}
	left := time.Duration(int32(z.Expiry()-uint32(now.Unix()))) * time.Second
	at := now.Add(left).UTC().Format("2006-01-02 15:04 MST")
	switch {
	case left <= 0:
		list.Warnf(file, 0, "%s: a signature has expired at %s; validators refuse it", origin, at)
	case left < expiryWarning:
		list.Warnf(file, 0, "%s: the first signature expires at %s; build and start a new image before", origin, at)
	}
}

// key is a key that signs.
type key struct {
	*dns.DNSKEY
	signer           crypto.Signer
	forKeys, forZone bool
}

// readKeys reads the key files of a zone.
func readKeys(names []string, origin string, list *report.List, readFile func(string) ([]byte, error)) ([]key, bool) {
	var keys []key
	ok := true
	for _, name := range names {
		k, err := readKey(name, origin, readFile)
		if err != nil {
			list.Errorf(name, 0, "%v", err)
			ok = false
			continue
		}
		keys = append(keys, k)
	}
	// A key with the flag SEP signs the keys, one without it all else; where one
	// kind is missing, the other does both (RFC 4034 section 2.1.1, RFC 6781).
	for i := range keys {
		k := &keys[i]
		sep := k.Flags&dns.SEP != 0
		other := slices.ContainsFunc(keys, func(o key) bool { return o.Algorithm == k.Algorithm && o.Flags&dns.SEP != 0 != sep })
		k.forKeys, k.forZone = sep || !other, !sep || !other
	}
	return keys, ok
}

// isName says whether two names are the same.
func isName(a, b string) bool { return strings.EqualFold(dns.Fqdn(a), dns.Fqdn(b)) }
