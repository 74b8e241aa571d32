package image

import (
	"encoding/base64"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Key is one of dns.keys.
type Key struct {
	Name      string // fully qualified, lower case
	Algorithm string // as package tsig/algorithm calls it
	Secret    []byte
}

// algorithms are those of TSIG (RFC 8945 section 6), by the names that package
// tsig/algorithm has for them. SHA-1 is for peers that have no other.
var (
	algorithms     = choice{"hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1"}
	algorithmNames = [...]string{"SHA256", "SHA384", "SHA512", "SHA1"}
)

// minSecret is how many bytes a secret has at least.
const minSecret = 16

// consent is the value true, which has to be written.
type consent string

func (c consent) String() string { return string(c) }

func keyTable() *table {
	return &table{name: "dns.keys", about: "a key for signed queries and transfers (TSIG, RFC 8945), once for each: [[dns.keys]]", keys: []key{
		{name: "name", want: text(`the name of the key, such as "transfer.example"`), about: "its name"},
		{name: "algorithm", want: algorithms, def: "hmac-sha256", about: "its algorithm; SHA-1 is for peers that have no other"},
		{name: "file", want: text("the path of a file with the secret in base64, alone or as tsig-keygen writes it"), about: "where its secret is"},
		{name: "secret_in_image", want: consent("true: the secret becomes part of the image, and who has the image has the secret"),
			about: "the word without which no secret is compiled in"},
	}}
}

// keySection reads dns.keys.
func keySection(s *section, all []*table) (keys []Key) {
	for _, s := range s.tables("keys", all) {
		k := Key{Name: s.keyName(keys), Algorithm: algorithmNames[s.choice("algorithm")]}
		agreed := false
		if v := s.value("secret_in_image"); v != nil {
			if agreed, _ = v.V.(bool); !agreed {
				s.refuse("secret_in_image", v)
			}
		}
		file, v := s.text("file")
		if v != nil && agreed {
			path := filepath.ToSlash(s.beside(file))
			var reason string
			if data := s.read("file", v, path); data != nil {
				// What the file has is not shown: it may be the secret.
				if k.Secret, reason = readSecret(data); reason != "" {
					s.errorf("file", v, "%s, but %s %s", s.schema.key("file").want, path, reason)
				}
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// keyName reads the name of a key.
func (s *section) keyName(others []Key) string {
	name, v := s.text("name")
	if v == nil {
		return ""
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" || name == "." {
		s.refuse("name", v)
		return ""
	}
	name = dns.CanonicalName(name)
	if slices.ContainsFunc(others, func(k Key) bool { return k.Name == name }) {
		s.against("name", v, "a name that is there already")
	}
	return name
}

// keygen finds the secret in what tsig-keygen and others write.
var keygen = regexp.MustCompile(`(?m)^\s*secret\s+"([^"]*)"\s*;`)

// readSecret reads the secret of a key out of its file, or says why not.
func readSecret(data []byte) (secret []byte, reason string) {
	text := strings.TrimSpace(string(data))
	if m := keygen.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	secret, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil || len(secret) == 0:
		return nil, "has none"
	case len(secret) < minSecret:
		return nil, "has one of less than 16 bytes, which who sees a signature could guess"
	}
	return secret, ""
}
