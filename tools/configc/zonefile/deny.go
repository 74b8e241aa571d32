package zonefile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// nsec adds the chain of NSEC records and signs it (RFC 4034 section 4).
func (s *signer) nsec(nodes []node) {
	for i, n := range nodes {
		rr := &dns.NSEC{
			Hdr:        dns.RR_Header{Name: n.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: s.ttl},
			NextDomain: nodes[(i+1)%len(nodes)].name,
			TypeBitMap: n.types(dns.TypeNSEC, dns.TypeRRSIG),
		}
		s.add(rr)
		s.signSet([]dns.RR{rr})
	}
}

// hashed is an NSEC3 record in the making.
type hashed struct {
	hash  string
	types []uint16
}

// nsec3 adds the chain of NSEC3 records and its parameters, and signs them (RFC
// 5155 section 7.1).
func (s *signer) nsec3(nodes []node) {
	salt := strings.ToUpper(s.Salt)
	param := &dns.NSEC3PARAM{
		Hdr:  dns.RR_Header{Name: s.origin, Rrtype: dns.TypeNSEC3PARAM, Class: dns.ClassINET},
		Hash: dns.SHA1, Iterations: s.Iterations, SaltLength: uint8(len(salt) / 2), Salt: salt,
	}
	s.add(param)
	s.signSet([]dns.RR{param})
	var list []hashed
	for name, types := range s.hashedNames(nodes) {
		list = append(list, hashed{dns.HashName(name, dns.SHA1, s.Iterations, salt), types})
	}
	slices.SortFunc(list, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	flags := uint8(0)
	if s.OptOut {
		flags = 1
	}
	for i, h := range list {
		rr := &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: h.hash + "." + strings.TrimPrefix(s.origin, "."), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: s.ttl},
			Hash: dns.SHA1, Flags: flags, Iterations: s.Iterations, SaltLength: uint8(len(salt) / 2), Salt: salt,
			HashLength: 20, NextDomain: list[(i+1)%len(list)].hash, TypeBitMap: h.types,
		}
		s.add(rr)
		s.signSet([]dns.RR{rr})
	}
}

// hashedNames returns the types at each name that gets an NSEC3 record: those of
// the zone and the empty ones between, but with opt-out no insecure delegations
// nor what is there for them alone.
func (s *signer) hashedNames(nodes []node) map[string][]uint16 {
	names := map[string][]uint16{}
	for _, n := range nodes {
		types := n.types()
		secure := !n.cut || slices.Contains(types, dns.TypeDS)
		if !secure && s.OptOut {
			continue
		}
		if secure {
			types = append(types, dns.TypeRRSIG)
		}
		if n.name == s.origin {
			types = append(types, dns.TypeNSEC3PARAM)
		}
		slices.Sort(types)
		names[n.name] = types
		for _, above := range s.checker.ancestors(n.name) {
			if _, ok := names[above]; !ok {
				names[above] = nil
			}
		}
	}
	return names
}
