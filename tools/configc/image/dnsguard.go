package image

import (
	"encoding/hex"
	"net/netip"

	"ampoule/tools/configc/tree"
)

// shortText returns a text that clients may be told; "" if there is none.
func shortText(s *section, key string) string {
	t, v := s.text(key)
	if v != nil && (t == "" || len(t) > 64) {
		s.refuse(key, v)
	}
	return t
}

// cookieSecrets reads the secrets that servers at one address share.
func cookieSecrets(s *section) [][16]byte {
	v := s.value("cookie_secrets")
	if v == nil {
		return nil
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 || len(items) > 4 {
		s.refuse("cookie_secrets", v)
		return nil
	}
	var secrets [][16]byte
	for _, v := range items {
		t, _ := v.V.(string)
		b, err := hex.DecodeString(t)
		if err != nil || len(b) != 16 {
			// What was found is a secret, or nearly one: it is not shown.
			s.list.Errorf(s.file, v.Line, "%s: must be %s", s.schema.path("cookie_secrets"), s.schema.key("cookie_secrets").want)
			continue
		}
		secrets = append(secrets, [16]byte(b))
	}
	return secrets
}

func rrlSection(s *section) RRL {
	r := RRL{
		Rate: s.integer("rate"), Slip: s.integer("slip"),
		IPv4Prefix: s.integer("ipv4_prefix"), IPv6Prefix: s.integer("ipv6_prefix"),
		Buckets: s.integer("buckets"),
	}
	if v := s.value("buckets"); v != nil && r.Buckets&(r.Buckets-1) != 0 {
		s.errorf("buckets", v, "a power of two")
	}
	v := s.value("exempt")
	if v == nil {
		return r
	}
	items, ok := v.V.([]*tree.Value)
	if !ok {
		s.refuse("exempt", v)
	}
	for _, v := range items {
		t, _ := v.V.(string)
		p, err := netip.ParsePrefix(t)
		if err != nil || p.Masked() != p || p.Addr().Is4In6() {
			s.errorf("exempt", v, `a network, such as "192.0.2.0/24" or "2001:db8::/32"`)
			continue
		}
		r.Exempt = append(r.Exempt, p)
	}
	return r
}
