package cli

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

// changeFlags are changes beside certificates.
type changeFlags struct {
	authorities, staples, crls, remove, removeAuthorities, removeStaples, removeCRLs, revoke, restore []string
}

func (f *changeFlags) add(c *cobra.Command) {
	v := c.Flags().StringArrayVar
	v(&f.authorities, "authorities", nil, "authorities that clients are checked with (`SLOT=FILE`)")
	v(&f.staples, "staple", nil, "OCSP response for the certificate of a slot, where planes take them (`SLOT=FILE`)")
	v(&f.crls, "crl", nil, "revocation lists of the authorities of a slot (`SLOT=FILE`)")
	v(&f.remove, "remove", nil, "the certificate of a `SLOT` goes")
	v(&f.removeAuthorities, "remove-authorities", nil, "the authorities of a `SLOT` go")
	v(&f.removeStaples, "remove-staple", nil, "the OCSP response of a `SLOT` goes")
	v(&f.removeCRLs, "remove-crl", nil, "the revocation lists of a `SLOT` go")
	v(&f.revoke, "revoke", nil, "a management client is not welcome any more: its certificate's `FILE`, or SHA-256")
	v(&f.restore, "restore", nil, "it is again (`FILE`, or SHA-256)")
}

// changes reads what the command line has of changes.
func (a *app) changes(args []string, f *changeFlags) ([]client.Change, error) {
	var all []client.Change
	add := func(kind client.Kind, name string, data []byte, remove bool) error {
		entry := client.Entry{Kind: kind, Name: name, Remove: remove}
		for _, o := range all {
			if o.Kind == kind && o.Name == name {
				return usage("%s is there twice", o)
			}
		}
		all = append(all, client.Change{Entry: entry, Data: data})
		return nil
	}
	for _, list := range []struct {
		kind client.Kind
		args []string
	}{{client.Certificates, args}, {client.Authorities, f.authorities}, {client.Staples, f.staples}, {client.CRLs, f.crls}} {
		for _, arg := range list.args {
			slot, file, ok := strings.Cut(arg, "=")
			if !ok || slot == "" || file == "" {
				return nil, usage("%s: must be SLOT=FILE, such as dot=bundle.pem", arg)
			}
			data, err := a.source(file, certs.MaxBundle)
			if err != nil {
				return nil, err
			}
			if err := add(list.kind, slot, data, false); err != nil {
				return nil, err
			}
		}
	}
	for _, list := range []struct {
		kind   client.Kind
		args   []string
		remove bool
	}{{client.Certificates, f.remove, true}, {client.Authorities, f.removeAuthorities, true}, {client.Staples, f.removeStaples, true}, {client.CRLs, f.removeCRLs, true},
		{client.Revoked, f.revoke, false}, {client.Revoked, f.restore, true}} {
		for _, name := range list.args {
			if list.kind == client.Revoked {
				var err error
				if name, err = a.fingerprint(name); err != nil {
					return nil, err
				}
			}
			if err := add(list.kind, name, nil, list.remove); err != nil {
				return nil, err
			}
		}
	}
	if len(all) == 0 {
		return nil, usage("nothing is to be changed; -h shows what can be")
	}
	return all, nil
}

// fingerprint is the SHA-256 of a client's certificate, from a file or as it is.
func (a *app) fingerprint(arg string) (string, error) {
	plain := strings.ToLower(strings.ReplaceAll(arg, ":", ""))
	if b, err := hex.DecodeString(plain); err == nil && len(b) == 32 {
		return plain, nil
	}
	data, err := a.source(arg, certs.MaxBundle)
	if err != nil {
		return "", err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		x, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", usage("%s: the certificate in it can't be read", arg)
		}
		return client.Fingerprint(x), nil
	}
	return "", usage("%s: there is no certificate in it, and it is no SHA-256", arg)
}
