package image

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ampoule/tools/configc/tree"
	"ampoule/tools/configc/zonefile"
)

func dnssecTable() *table {
	return &table{name: "dns.zones.dnssec", about: "how a zone is signed when the image is built; the keys do not get into the image", keys: []key{
		{name: "private_keys", want: sequence(`a list of key files as dnssec-keygen makes them, without the .key or .private at their end, such as ["Kexample.org.+013+12345"]`),
			about: "keys of algorithms 8, 13 and 15; those with the flag SEP sign the keys, the others all else; where one kind is missing the other does both"},
		{name: "denial", want: choice{"nsec", "nsec3"}, def: "nsec", about: "records that prove what is not there"},
		{name: "nsec3_iterations", want: integer{0, 100}, def: 0, about: "RFC 9276 wants 0"},
		{name: "nsec3_salt", want: text("up to 510 hexadecimal digits"), absent: "none", about: "RFC 9276 wants none"},
		{name: "nsec3_opt_out", want: flag{}, def: false, about: "leave out delegations that are not signed"},
		{name: "validity", want: duration{24 * time.Hour, 10 * 366 * 24 * time.Hour}, def: "1440h",
			about: "how long signatures are valid after the build; an image cannot sign anew"},
	}}
}

// signingSection reads how a zone is signed; nil: not at all.
func signingSection(s *section, all []*table) *zonefile.Signing {
	if !s.has("dnssec") {
		return nil
	}
	s = s.sub("dnssec", schema(all, "dns.zones.dnssec"), all)
	g := &zonefile.Signing{
		NSEC3:      s.choice("denial") == 1,
		Iterations: uint16(s.integer("nsec3_iterations")),
		OptOut:     s.flag("nsec3_opt_out"),
		Validity:   s.duration("validity"),
		Now:        buildTime(),
	}
	salt, v := s.text("nsec3_salt")
	if _, err := hex.DecodeString(salt); v != nil && (err != nil || len(salt) > 510) {
		s.refuse("nsec3_salt", v)
	}
	g.Salt = salt
	v = s.value("private_keys")
	if v == nil {
		return g
	}
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.refuse("private_keys", v)
	}
	for _, v := range items {
		name, ok := v.V.(string)
		if !ok || name == "" {
			s.refuse("private_keys", v)
			continue
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".key"), ".private")
		g.Keys = append(g.Keys, filepath.ToSlash(s.beside(name)))
	}
	return g
}

// buildTime is the time of signing: now, or what SOURCE_DATE_EPOCH says, so that a
// build can be repeated.
func buildTime() time.Time {
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(n, 0)
	}
	return time.Now()
}
