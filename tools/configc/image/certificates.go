package image

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"ampoule/libos/crl"
	"ampoule/libos/mgmt/certs"
	"ampoule/tools/configc/certfile"
	"ampoule/tools/configc/secret"
)

// Certificate is one of tls.certificates.
type Certificate struct {
	Chain   []string // DER, as it is sent
	Key     string   // PKCS #8
	Staple  string   // an OCSP response in DER; "": none
	Names   []string // in lower case
	Default bool
	Slot    string // "": of its names
	kind    string // of key
	line    int
}

func certificatesTable() *table {
	return &table{name: "tls.certificates", about: "a certificate, once for each: [[tls.certificates]]", keys: []key{
		{name: "chain", want: text("the path of a PEM file, from the folder of this file"), about: "the certificate and those between it and its authority, in any order"},
		{name: "key", want: text("the path of a PEM file, from the folder of this file"), about: "its private key: RSA of 2048 bits or more, ECDSA or Ed25519"},
		{name: "secret_in_image", want: consent("true: the private key becomes part of the image, and who has the image has the key"),
			about: "the word without which no key is compiled in"},
		{name: "names", want: sequence(`a list of names, such as ["www.example.org", "*.example.org"]`), absent: "those that the certificate has",
			about: "names that clients get it for; each must be one that it covers"},
		{name: "default", want: flag{}, def: false, about: "clients that ask for no name or an unknown one get it; if none is, the first"},
		{name: "slot", want: text("1 to 64 small letters, digits, dots and hyphens"), absent: `"default" for the default, else its first name, with any. for *.`,
			about: "name by which the management plane has it, and replaces it"},
		{name: "staple", want: text("the path of an OCSP response in DER, from the folder of this file"), absent: "none", about: "what is sent with it (RFC 6066, section 8); it is good for a few days only"},
	}}
}

// certificates reads tls.certificates.
func certificates(s *section, all []*table, m *Management) (list []Certificate) {
	for _, s := range s.tables("certificates", all) {
		c := Certificate{Default: s.flag("default"), line: s.table.Line}
		c.managed(s, m)
		c.read(s)
		for _, o := range list {
			for _, n := range c.Names {
				if o.kind == c.kind && slices.Contains(o.Names, n) {
					s.list.Errorf(s.file, s.table.Line, "tls.certificates: %q has a certificate with an %s key already in line %d; must have one", n, c.kind, o.line)
				}
			}
			if o.Default && c.Default && o.kind == c.kind {
				s.against("default", s.value("default"), "but the one in line %d is, and has an %s key too; must be one", o.line, c.kind)
			}
		}
		list = append(list, c)
	}
	if len(list) > 0 && list[0].Slot == "" && !slices.ContainsFunc(list, func(c Certificate) bool { return c.Default || m != nil && c.Slot == certs.Default }) {
		list[0].Default = true
	}
	return list
}

// file reads the file that a key names; nil: it says what is wrong, or there is none.
func (s *section) pem(key string) (data []byte, path string) {
	name, v := s.text(key)
	if v == nil {
		return nil, ""
	}
	path = filepath.ToSlash(s.beside(name))
	return s.read(key, v, path), path
}

// wrong says that the file that a key names is not what it must be.
func (s *section) wrong(key, path string, reason any) {
	s.errorf(key, s.value(key), "%s, but in %s %v", s.schema.key(key).want, path, reason)
}

// read fills in c.
func (c *Certificate) read(s *section) {
	agreed := false
	if v := s.value("secret_in_image"); v != nil {
		if agreed, _ = v.V.(bool); !agreed {
			s.refuse("secret_in_image", v)
		}
	}
	if data, _ := s.pem("staple"); data != nil {
		c.Staple = string(data)
	}
	data, path := s.pem("chain")
	if data == nil || !secret.Check(path, data, s.list) {
		return
	}
	found, err := certfile.Certificates(data)
	if err != nil {
		s.wrong("chain", path, err)
		return
	}
	data, keyPath := s.pem("key")
	if data == nil || !agreed {
		return
	}
	key, err := certfile.Key(data)
	if err != nil {
		s.wrong("key", keyPath, err)
		return
	}
	if found, err = certfile.Chain(found, key); err != nil {
		s.wrong("chain", path, err)
		return
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.wrong("key", keyPath, err)
		return
	}
	c.Key, c.kind = string(der), found[0].PublicKeyAlgorithm.String()
	c.take(s, found, path)
}

// take takes a chain in its order.
func (c *Certificate) take(s *section, chain []*x509.Certificate, path string) {
	for _, x := range chain {
		wrong, soon := certfile.Dates(x, time.Now())
		if wrong != "" {
			s.wrong("chain", path, wrong)
		}
		if soon != "" {
			s.list.Warnf(path, 0, "%s", soon)
		}
		c.Chain = append(c.Chain, string(x.Raw))
	}
	leaf := chain[0]
	for _, v := range s.strings("names") {
		name := lowerName(v)
		switch {
		case name == "":
			s.errorf("names", v, "a DNS name, or one behind \"*.\"")
		case slices.Contains(c.Names, name):
			s.against("names", v, "a name that is there already")
		case !covers(leaf, name):
			s.against("names", v, "which the certificate in %s is not for; it is for %v", path, leaf.DNSNames)
		}
		c.Names = append(c.Names, name)
	}
	if !s.has("names") {
		c.Names = append(c.Names, leaf.DNSNames...)
	}
	if len(c.Names) == 0 && !c.Default {
		s.list.Warnf(path, 0, "the certificate of %q has no name; clients get it only as the default", fmt.Sprint(leaf.Subject))
	}
}

// covers says whether a certificate is good for a name.
func covers(leaf *x509.Certificate, name string) bool {
	return slices.Contains(leaf.DNSNames, name) || leaf.VerifyHostname(name) == nil
}

// clients reads tls.clients.
func (t *TLS) clients(s *section, m *Management) {
	t.AskClients, t.RequireClient = true, s.flag("required")
	if m == nil && !s.has("ca") {
		s.missing("ca")
	}
	if s.has("crl") && !s.has("ca") {
		s.against("crl", s.value("crl"), "but there is no ca: lists for the authorities of the slot clients come with these, by the API")
	}
	data, path := s.pem("ca")
	if data == nil || !secret.Check(path, data, s.list) {
		return
	}
	found, err := certfile.Certificates(data)
	if err != nil {
		s.wrong("ca", path, err)
		return
	}
	for _, x := range found {
		if wrong, soon := certfile.Dates(x, time.Now()); wrong != "" || soon != "" {
			s.list.Warnf(path, 0, "%s%s", wrong, soon)
		}
		if !x.IsCA {
			s.wrong("ca", path, fmt.Sprintf("the certificate of %q is no authority's", x.Subject))
		}
		t.ClientCAs = append(t.ClientCAs, string(x.Raw))
	}
	t.revoked(s, found)
}

// revoked reads tls.clients.crl.
func (t *TLS) revoked(s *section, authorities []*x509.Certificate) {
	data, path := s.pem("crl")
	if data == nil {
		return
	}
	if len(data) > certs.MaxBundle { // as the management plane has it
		s.wrong("crl", path, fmt.Sprintf("are %d bytes; at most %d are taken", len(data), certs.MaxBundle))
		return
	}
	l, err := crl.New(data, authorities, time.Now())
	if err != nil {
		s.wrong("crl", path, err)
		return
	}
	t.ClientCRL = string(data)
	if left := time.Until(l.NextUpdate()); left < 7*24*time.Hour {
		s.list.Warnf(path, 0, "the first of its lists ends at %s; all clients of its authority are refused from then on", l.NextUpdate().UTC().Format(time.RFC3339))
	}
}
