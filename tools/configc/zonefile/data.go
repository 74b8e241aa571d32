package zonefile

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// digests are the octets of a digest by its algorithm in DS, CDS and ZONEMD
// records (IANA's registry of delegation signer digests, RFC 8976).
var digests = [...]struct{ algorithm, size int }{{1, 20}, {2, 32}, {4, 48}}

// data checks the data of one record, as far as the parser does not.
func (c *checker) data(e entry) {
	if len(e.Data) == 0 && dns.TypeToString[e.Type] != "" && e.Type != dns.TypeNULL && e.Type != dns.TypeAPL {
		c.errorf(e.place, "%s: no data", head(e.rr))
		return
	}
	switch rr := e.rr.(type) {
	case *dns.TLSA:
		c.needs(e, rr.Certificate)
	case *dns.SMIMEA:
		c.needs(e, rr.Certificate)
	case *dns.HINFO:
		if i := slices.IndexFunc(e.fields, func(f string) bool { return strings.EqualFold(f, "HINFO") }); i >= 0 && len(e.fields)-i < 3 {
			c.errorf(e.place, "%s: one text; it takes two", head(rr))
		}
	case *dns.TXT, *dns.SPF:
		if e.longest > 255 {
			c.errorf(e.place, "%s: a text of %d octets; the most is 255, so cut it into several", head(e.rr), e.longest)
		}
	case *dns.DS:
		c.digest(e, int(rr.DigestType), len(rr.Digest)/2)
	case *dns.SSHFP:
		if size := map[uint8]int{1: 20, 2: 32}[rr.Type]; size != 0 && len(rr.FingerPrint)/2 != size {
			c.warnf(e.place, "%s: a fingerprint of %d octets; type %d has %d (RFC 4255, RFC 6594)", head(rr), len(rr.FingerPrint)/2, rr.Type, size)
		}
	case *dns.SVCB:
		c.mandatory(e, rr)
	case *dns.HTTPS:
		c.mandatory(e, &rr.SVCB)
	}
}

// needs refuses a field that is empty where it must not be.
func (c *checker) needs(e entry, field string) {
	if field == "" {
		c.errorf(e.place, "%s: a field is missing at the end", head(e.rr))
	}
}

// digest warns of a digest that no key can have.
func (c *checker) digest(e entry, algorithm, size int) {
	for _, d := range digests {
		if d.algorithm == algorithm && d.size != size {
			c.warnf(e.place, "%s: a digest of %d octets; type %d has %d", head(e.rr), size, algorithm, d.size)
		}
	}
}

// mandatory makes sure that the keys which a service binding calls mandatory are
// there (RFC 9460 section 8).
func (c *checker) mandatory(e entry, rr *dns.SVCB) {
	for _, v := range rr.Value {
		m, ok := v.(*dns.SVCBMandatory)
		if !ok {
			continue
		}
		for _, key := range m.Code {
			if !slices.ContainsFunc(rr.Value, func(v dns.SVCBKeyValue) bool { return v.Key() == key }) {
				c.errorf(e.place, "%s: the key %s is mandatory, but not there (RFC 9460 section 8)", head(e.rr), key)
			}
		}
	}
}
