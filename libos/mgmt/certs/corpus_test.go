package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

// bad is a bundle that must be refused.
type bad struct {
	what string
	code Code
	data []byte
}

// openssl makes what Go does not make any more. Arguments that begin with @ are
// files in a folder, which is returned.
func openssl(t testing.TB, commands ...string) func(file string) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, c := range commands {
		cmd := exec.Command("openssl", strings.Fields(c)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v (tools/setup installs it)\n%s", c, err, out)
		}
	}
	return func(file string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pki is what the corpus is made of.
type pki struct {
	root, mid, leaf, other *mgmttest.Pair
}

func newPKI(t testing.TB) *pki {
	p := &pki{root: mgmttest.Root(t, "root"), other: mgmttest.Root(t, "other")}
	p.mid = p.root.Issue(t, mgmttest.Spec{Name: "mid", CA: true})
	p.leaf = p.mid.Issue(t, mgmttest.Spec{Name: "leaf", Hosts: []string{"a.example"}})
	return p
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// badShapes are wrong as text, or in what is there.
func badShapes(t testing.TB, p *pki) []bad {
	good, key := p.leaf.Bundle(t, p.mid, p.root), p.leaf.KeyPEM(t)
	chain := join(p.leaf.Cert(), p.mid.Cert(), p.root.Cert())
	cut := func(b []byte, from string, n int) []byte {
		i := bytes.Index(b, []byte(from))
		return join(b[:i], b[i+n:])
	}
	many := join(good)
	for range maxCertificates {
		many = append(many, mgmttest.Root(t, "extra").Cert()...)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p.leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	return []bad{
		{"nothing", NoPEM, nil},
		{"blank lines", NoPEM, []byte("\r\n\n \t\n")},
		{"DER", NoPEM, p.leaf.X.Raw},
		{"HTML", NoPEM, []byte("<html>404 Not Found</html>")},
		{"too large", TooLarge, bytes.Repeat(good, 1+MaxBundle/len(good))},
		{"cut off in the last block", BadPEM, good[:len(good)-60]},
		{"cut off in the first block", BadPEM, good[:200]},
		{"damaged base64", BadPEM, bytes.Replace(good, []byte("\nMI"), []byte("\nM!"), 1)},
		{"an end of another type", BadPEM, bytes.Replace(good, []byte("-----END CERTIFICATE"), []byte("-----END CERTIFICAT"), 1)},
		{"an end that is missing", BadPEM, cut(good, "-----END CERTIFICATE-----\n", 26)},
		{"a begin with too few hyphens", BadPEM, bytes.Replace(good, []byte("-----BEGIN CERTIFICATE-----"), []byte("-----BEGIN CERTIFICATE----"), 1)},
		{"only a key", NoCertificate, key},
		{"only a chain", NoKey, chain},
		{"two keys", TwoKeys, join(good, p.other.KeyPEM(t))},
		{"the key twice", TwoKeys, join(good, key)},
		{"a key of another certificate", KeyMismatch, join(chain, p.other.KeyPEM(t))},
		{"the key of an RSA certificate for an ECDSA one", KeyMismatch, join(chain, block("PRIVATE KEY", pkcs8(t, rsaKey(t, 2048))))},
		{"a key that is none", KeyMalformed, join(chain, block("PRIVATE KEY", []byte("secret")))},
		{"a key in a block of another format", KeyMalformed, join(chain, block("RSA PRIVATE KEY", pkcs8(t, p.leaf.Key)))},
		{"a certificate in the block of a key", KeyMalformed, join(chain, block("PRIVATE KEY", p.leaf.X.Raw))},
		{"an empty block", CertMalformed, join(block("CERTIFICATE", nil), good)},
		{"a certificate that is none", CertMalformed, join(block("CERTIFICATE", []byte("x")), good)},
		{"a certificate with data behind it", CertMalformed, join(block("CERTIFICATE", append(bytes.Clone(p.leaf.X.Raw), 0)), p.mid.Cert(), key)},
		{"a key in the block of a certificate", CertMalformed, join(block("CERTIFICATE", pkcs8(t, p.leaf.Key)), key)},
		{"a request", UnknownPEM, join(block("CERTIFICATE REQUEST", csr), key)},
		{"parameters of Diffie-Hellman", UnknownPEM, join(good, block("DH PARAMETERS", []byte{0x30, 0}))},
		{"a public key", UnknownPEM, join(good, block("PUBLIC KEY", p.leaf.X.RawSubjectPublicKeyInfo))},
		{"a list of revoked certificates", UnknownPEM, join(good, block("X509 CRL", []byte{0x30, 0}))},
		{"a key of OpenSSH", KeyType, join(chain, block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")))},
		{"the leaf twice", CertTwice, join(p.leaf.Cert(), good)},
		{"the root twice", CertTwice, join(good, p.root.Cert())},
		{"a crowd", TooMany, many},
	}
}

func pkcs8(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// badChains are whole, and wrong in what the certificates say.
func badChains(t testing.TB, p *pki) []bad {
	now := time.Now()
	leaf := func(change func(*mgmttest.Spec)) *mgmttest.Pair {
		s := mgmttest.Spec{Name: "leaf", Hosts: []string{"a.example"}}
		change(&s)
		return p.mid.Issue(t, s)
	}
	make := func(change func(*mgmttest.Spec)) []byte { return leaf(change).Bundle(t, p.mid, p.root) }
	template := func(f func(*x509.Certificate)) []byte {
		return make(func(s *mgmttest.Spec) { s.Change = f })
	}
	old := p.root.Issue(t, mgmttest.Spec{Name: "old", CA: true, From: now.Add(-48 * time.Hour), Until: now.Add(-24 * time.Hour)})
	late := p.root.Issue(t, mgmttest.Spec{Name: "late", CA: true, From: now.Add(24 * time.Hour), Until: now.Add(48 * time.Hour)})
	plain := p.root.Issue(t, mgmttest.Spec{Name: "plain", Hosts: []string{"plain.example"}})
	sameName := mgmttest.Root(t, "mid")
	bound := p.root.Issue(t, mgmttest.Spec{Name: "bound", CA: true, Change: func(x *x509.Certificate) {
		x.PermittedDNSDomainsCritical, x.PermittedDNSDomains = true, []string{"b.example"}
	}})
	short := p.root.Issue(t, mgmttest.Spec{Name: "short", CA: true, Change: func(x *x509.Certificate) { x.MaxPathLenZero = true }})
	below := short.Issue(t, mgmttest.Spec{Name: "below", CA: true})
	host := mgmttest.Spec{Name: "leaf", Hosts: []string{"a.example"}}
	second := p.mid.Issue(t, mgmttest.Spec{Name: "leaf", Hosts: []string{"a.example"}, Key: p.leaf.Key})
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []bad{
		{"expired", Expired, make(func(s *mgmttest.Spec) { s.Until = now.Add(-time.Minute) })},
		{"not good yet", NotYet, make(func(s *mgmttest.Spec) { s.From = now.Add(time.Hour) })},
		{"an intermediate that has expired", Expired, old.Issue(t, host).Bundle(t, old, p.root)},
		{"an intermediate that is not good yet", NotYet, late.Issue(t, host).Bundle(t, late, p.root)},
		{"no intermediate", ChainIncomplete, p.leaf.Bundle(t)},
		{"a root, but no intermediate", ChainIncomplete, p.leaf.Bundle(t, p.root)},
		{"no issuer at all", ChainIncomplete, plain.Bundle(t)},
		{"another root", ChainStray, p.leaf.Bundle(t, p.mid, p.root, p.other)},
		{"somebody else's certificate", ChainStray, p.leaf.Bundle(t, p.mid, p.root, plain)},
		{"an intermediate of the same name with another key", BadSignature, p.leaf.Bundle(t, sameName)},
		{"an issuer that is no authority", NotCA, plain.Issue(t, host).Bundle(t, plain, p.root)},
		{"two certificates for one key", CertTwice, p.leaf.Bundle(t, p.mid, p.root, second)},
		{"a certificate of an authority", LeafIsCA, p.mid.Issue(t, mgmttest.Spec{Name: "ca", CA: true, Hosts: []string{"a.example"}}).Bundle(t, p.mid, p.root)},
		{"names that the issuer may not give", ChainInvalid, bound.Issue(t, host).Bundle(t, bound, p.root)},
		{"a chain longer than allowed", ChainInvalid, below.Issue(t, host).Bundle(t, below, short, p.root)},
		{"no names", NoName, make(func(s *mgmttest.Spec) { s.Hosts = nil })},
		{"a name with a blank", BadName, make(func(s *mgmttest.Spec) { s.Hosts = []string{"a b.example"} })},
		{"a wildcard within", BadName, make(func(s *mgmttest.Spec) { s.Hosts = []string{"a.*.example"} })},
		{"a URL for a name", BadName, make(func(s *mgmttest.Spec) { s.Hosts = []string{"https://a.example/"} })},
		{"for clients only", Usage, make(func(s *mgmttest.Spec) { s.Client = true })},
		{"for encipherment only", Usage, template(func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageKeyEncipherment })},
		{"an unknown critical extension", ChainInvalid, template(func(x *x509.Certificate) { x.ExtraExtensions = append(x.ExtraExtensions, critical) })},
		{"P-224", KeyWeak, make(func(s *mgmttest.Spec) { s.Key = small })},
		{"RSA with 1024 bits", KeyWeak, make(func(s *mgmttest.Spec) { s.Key = rsaKey(t, 1024) })},
		{"RSA with 5120 bits", KeyHuge, make(func(s *mgmttest.Spec) { s.Key = rsaKey(t, 5120) })},
		{"an intermediate with RSA of 1024 bits", KeyWeak, weakIssuer(t, p)},
	}
}

// weakIssuer is a chain with a weak key in its middle.
func weakIssuer(t testing.TB, p *pki) []byte {
	mid := p.root.Issue(t, mgmttest.Spec{Name: "weak", CA: true, Key: rsaKey(t, 1024)})
	return mid.Issue(t, mgmttest.Spec{Name: "leaf", Hosts: []string{"a.example"}}).Bundle(t, mid, p.root)
}

// badOld are made by openssl.
func badOld(t testing.TB, p *pki) []bad {
	const self = "req -x509 -new -subj /CN=a.example -addext subjectAltName=DNS:a.example -days 9 -nodes -keyout key -out cert -newkey "
	sha1 := openssl(t, self+"rsa:2048 -sha1")
	koblitz := openssl(t, "ecparam -name secp256k1 -genkey -noout -out key", "ecparam -name prime256v1 -genkey -noout -out other",
		"req -x509 -new -key other -subj /CN=a.example -days 9 -out cert")
	dsa := openssl(t, "dsaparam -genkey -out both 2048", "dsa -in both -out key")
	locked := openssl(t, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain", "pkcs8 -topk8 -in plain -out key -passout pass:secret")
	legacy := openssl(t, "genrsa -traditional -aes128 -passout pass:secret -out key 2048")
	one := openssl(t, "genrsa -out key 2048", "req -new -key key -subj /CN=a.example -out csr", "x509 -req -in csr -signkey key -days 9 -out cert")
	ed448 := openssl(t, "genpkey -algorithm ed448 -out key")
	chain := join(p.leaf.Cert(), p.mid.Cert(), p.root.Cert())
	return []bad{
		{"signed with SHA-1", WeakSignature, join(sha1("cert"), sha1("key"))},
		{"a key on secp256k1", KeyType, join(koblitz("cert"), koblitz("key"))},
		{"a key of DSA", KeyType, join(chain, dsa("key"))},
		{"an encrypted key", KeyEncrypted, join(chain, locked("key"))},
		{"an encrypted key of the old kind", KeyEncrypted, join(chain, legacy("key"))},
		{"X.509 version 1", Version, join(one("cert"), one("key"))},
		{"Ed448", KeyType, join(chain, ed448("key"))},
	}
}

// TestBadBundles has each bundle of the corpus refused with its code and a
// sentence, while what is in force and what is staged stay as they were.
func TestBadBundles(t *testing.T) {
	p := newPKI(t)
	corpus := append(append(badShapes(t, p), badChains(t, p)...), badOld(t, p)...)
	if len(corpus) < 40 {
		t.Errorf("%d bundles", len(corpus))
	}
	s := New(Config{Slots: 4, Now: time.Now}, nil, nil)
	before := s.Current()
	seen := map[Code]bool{}
	for _, b := range corpus {
		seen[b.code] = true
		err := s.Stage("me", KindCertificate, "x", b.data, false)
		var got *Problem
		if !errors.As(err, &got) {
			t.Errorf("%s: %v, want %s", b.what, err, b.code)
			continue
		}
		if got.Code != b.code || got.Slot != "x" || !strings.HasSuffix(got.Sentence, ".") || len(got.Sentence) < 20 {
			t.Errorf("%s: %s, %s; want %s", b.what, got.Code, got.Sentence, b.code)
		}
		if strings.Contains(got.Sentence, "PRIVATE KEY-----") {
			t.Errorf("%s: the sentence has the key", b.what)
		}
		if _, _, staged := s.Staged(); s.Current() != before || len(staged) != 0 {
			t.Fatalf("%s: something has changed", b.what)
		}
	}
	t.Logf("%d bundles, %d codes", len(corpus), len(seen))
}
