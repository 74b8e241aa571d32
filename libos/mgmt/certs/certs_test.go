package certs

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

func bothUses(x *x509.Certificate) { x.KeyUsage |= x509.KeyUsageDigitalSignature }

// TestGoodBundles: PEM of any sane shape is taken, and the chain is sent in its
// order without the root.
func TestGoodBundles(t *testing.T) {
	p := mgmttest.NewPKI(t)
	leaf, mid, root, key := p.Leaf.Cert(), p.Mid.Cert(), p.Root.Cert(), p.Leaf.KeyPEM(t)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain := join(leaf, mid, root, key)
	indent := []byte("  " + strings.ReplaceAll(string(plain), "\n", "\n  "))
	for what, data := range map[string][]byte{
		"in order":                  plain,
		"key first":                 join(key, leaf, mid, root),
		"backwards":                 join(key, root, mid, leaf),
		"without the root":          join(leaf, mid, key),
		"CR LF":                     bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n")),
		"CR alone":                  bytes.ReplaceAll(plain, []byte("\n"), []byte("\r")),
		"blank lines everywhere":    bytes.ReplaceAll(plain, []byte("\n"), []byte("\n\n")),
		"blanks at the ends":        bytes.ReplaceAll(plain, []byte("\n"), []byte(" \t\n")),
		"indented":                  indent,
		"a byte order mark":         join([]byte("\xef\xbb\xbf"), plain),
		"no line feed at the end":   bytes.TrimRight(plain, "\n"),
		"no line feed between":      join(bytes.TrimRight(leaf, "\n"), bytes.TrimRight(mid, "\n"), key),
		"text around":               join([]byte("Bag Attributes\n  friendlyName: x\nsubject=CN = leaf\n\n"), leaf, []byte("Certificate:\n Data:\n"), mid, key, []byte("-- \nme\n")),
		"parameters before the key": join(leaf, mid, block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}), key),
		"a self-signed certificate": (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "self", Hosts: []string{"a.example"}}).Bundle(t),
		"a self-signed authority":   (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "self", CA: true, Hosts: []string{"a.example"}, Change: bothUses}).Bundle(t),
		"RSA":                       p.Mid.Issue(t, mgmttest.Spec{Name: "rsa", Hosts: []string{"a.example"}, Key: mgmttest.RSAKey(t, 2048)}).Bundle(t, p.Mid),
		"Ed25519":                   p.Mid.Issue(t, mgmttest.Spec{Name: "ed", Hosts: []string{"a.example"}, Key: edwards}).Bundle(t, p.Mid),
		"a wildcard and addresses":  p.Mid.Issue(t, mgmttest.Spec{Name: "w", Hosts: []string{"*.Example.org", "192.0.2.1", "2001:db8::1"}}).Bundle(t, p.Mid),
		"straight from the root":    p.Root.Issue(t, mgmttest.Spec{Name: "r", Hosts: []string{"a.example"}}).Bundle(t, p.Root),
	} {
		c, err := Check("x", data, time.Now())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for i, der := range c.TLS.Certificate[1:] {
			if !bytes.Equal(der, p.Mid.X.Raw) || i > 0 {
				t.Errorf("%s: certificate %d of the chain is wrong", what, i+1)
			}
		}
		if !bytes.Equal(c.TLS.Certificate[0], c.Leaf().Raw) {
			t.Errorf("%s: the first certificate is not the leaf", what)
		}
	}
}
