package mgmttest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Critical is an extension that nobody knows.
var Critical = pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}

// Bad is the corpus of bundles for one server that are refused, with more than 64 KiB or 32
// certificates among them. openssl must be installed.
func (p *PKI) Bad(t testing.TB) []BadBundle {
	t.Helper()
	return append(append(badShapes(t, p), badChains(t, p)...), badOld(t, p)...)
}

// BadBundle is a bundle of PEM that must be refused.
type BadBundle struct {
	What string
	Code string // of the refusal
	Data []byte
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

// RSAKey makes a key.
func RSAKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PKI is what the corpus is made of.
type PKI struct {
	Root, Mid, Leaf, Other *Pair
}

// NewPKI makes one.
func NewPKI(t testing.TB) *PKI {
	p := &PKI{Root: Root(t, "root"), Other: Root(t, "other")}
	p.Mid = p.Root.Issue(t, Spec{Name: "mid", CA: true})
	p.Leaf = p.Mid.Issue(t, Spec{Name: "leaf", Hosts: []string{"a.example"}})
	return p
}

// join puts parts behind each other.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// badShapes are wrong as text, or in what is there.
func badShapes(t testing.TB, p *PKI) []BadBundle {
	good, key := p.Leaf.Bundle(t, p.Mid, p.Root), p.Leaf.KeyPEM(t)
	chain := join(p.Leaf.Cert(), p.Mid.Cert(), p.Root.Cert())
	cut := func(b []byte, from string, n int) []byte {
		i := bytes.Index(b, []byte(from))
		return join(b[:i], b[i+n:])
	}
	many := join(good)
	for range 32 {
		many = append(many, Root(t, "extra").Cert()...)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p.Leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	return []BadBundle{
		{"nothing", "pem-none", nil},
		{"blank lines", "pem-none", []byte("\r\n\n \t\n")},
		{"DER", "pem-none", p.Leaf.X.Raw},
		{"HTML", "pem-none", []byte("<html>404 Not Found</html>")},
		{"too large", "bundle-too-large", bytes.Repeat(good, 1+(64<<10)/len(good))},
		{"cut off in the last block", "pem-malformed", good[:len(good)-60]},
		{"cut off in the first block", "pem-malformed", good[:200]},
		{"damaged base64", "pem-malformed", bytes.Replace(good, []byte("\nMI"), []byte("\nM!"), 1)},
		{"an end of another type", "pem-malformed", bytes.Replace(good, []byte("-----END CERTIFICATE"), []byte("-----END CERTIFICAT"), 1)},
		{"an end that is missing", "pem-malformed", cut(good, "-----END CERTIFICATE-----\n", 26)},
		{"a begin with too few hyphens", "pem-malformed", bytes.Replace(good, []byte("-----BEGIN CERTIFICATE-----"), []byte("-----BEGIN CERTIFICATE----"), 1)},
		{"only a key", "cert-none", key},
		{"only a chain", "key-none", chain},
		{"two keys", "key-twice", join(good, p.Other.KeyPEM(t))},
		{"the key twice", "key-twice", join(good, key)},
		{"a key of another certificate", "key-mismatch", join(chain, p.Other.KeyPEM(t))},
		{"the key of an RSA certificate for an ECDSA one", "key-mismatch", join(chain, block("PRIVATE KEY", pkcs8(t, RSAKey(t, 2048))))},
		{"a key that is none", "key-malformed", join(chain, block("PRIVATE KEY", []byte("secret")))},
		{"a key in a block of another format", "key-malformed", join(chain, block("RSA PRIVATE KEY", pkcs8(t, p.Leaf.Key)))},
		{"a certificate in the block of a key", "key-malformed", join(chain, block("PRIVATE KEY", p.Leaf.X.Raw))},
		{"an empty block", "cert-malformed", join(block("CERTIFICATE", nil), good)},
		{"a certificate that is none", "cert-malformed", join(block("CERTIFICATE", []byte("x")), good)},
		{"a certificate with data behind it", "cert-malformed", join(block("CERTIFICATE", append(bytes.Clone(p.Leaf.X.Raw), 0)), p.Mid.Cert(), key)},
		{"a key in the block of a certificate", "cert-malformed", join(block("CERTIFICATE", pkcs8(t, p.Leaf.Key)), key)},
		{"a request", "pem-unexpected", join(block("CERTIFICATE REQUEST", csr), key)},
		{"parameters of Diffie-Hellman", "pem-unexpected", join(good, block("DH PARAMETERS", []byte{0x30, 0}))},
		{"a public key", "pem-unexpected", join(good, block("PUBLIC KEY", p.Leaf.X.RawSubjectPublicKeyInfo))},
		{"a list of revoked certificates", "pem-unexpected", join(good, block("X509 CRL", []byte{0x30, 0}))},
		{"a key of OpenSSH", "key-type", join(chain, block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")))},
		{"the leaf twice", "cert-twice", join(p.Leaf.Cert(), good)},
		{"the root twice", "cert-twice", join(good, p.Root.Cert())},
		{"a crowd", "cert-too-many", many},
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
func badChains(t testing.TB, p *PKI) []BadBundle {
	now := time.Now()
	leaf := func(change func(*Spec)) *Pair {
		s := Spec{Name: "leaf", Hosts: []string{"a.example"}}
		change(&s)
		return p.Mid.Issue(t, s)
	}
	make := func(change func(*Spec)) []byte { return leaf(change).Bundle(t, p.Mid, p.Root) }
	template := func(f func(*x509.Certificate)) []byte {
		return make(func(s *Spec) { s.Change = f })
	}
	old := p.Root.Issue(t, Spec{Name: "old", CA: true, From: now.Add(-48 * time.Hour), Until: now.Add(-24 * time.Hour)})
	late := p.Root.Issue(t, Spec{Name: "late", CA: true, From: now.Add(24 * time.Hour), Until: now.Add(48 * time.Hour)})
	plain := p.Root.Issue(t, Spec{Name: "plain", Hosts: []string{"plain.example"}})
	sameName := Root(t, "mid")
	bound := p.Root.Issue(t, Spec{Name: "bound", CA: true, Change: func(x *x509.Certificate) {
		x.PermittedDNSDomainsCritical, x.PermittedDNSDomains = true, []string{"b.example"}
	}})
	short := p.Root.Issue(t, Spec{Name: "short", CA: true, Change: func(x *x509.Certificate) { x.MaxPathLenZero = true }})
	below := short.Issue(t, Spec{Name: "below", CA: true})
	host := Spec{Name: "leaf", Hosts: []string{"a.example"}}
	second := p.Mid.Issue(t, Spec{Name: "leaf", Hosts: []string{"a.example"}, Key: p.Leaf.Key})
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []BadBundle{
		{"expired", "date-expired", make(func(s *Spec) { s.Until = now.Add(-time.Minute) })},
		{"not good yet", "date-not-yet", make(func(s *Spec) { s.From = now.Add(time.Hour) })},
		{"an intermediate that has expired", "date-expired", old.Issue(t, host).Bundle(t, old, p.Root)},
		{"an intermediate that is not good yet", "date-not-yet", late.Issue(t, host).Bundle(t, late, p.Root)},
		{"no intermediate", "chain-incomplete", p.Leaf.Bundle(t)},
		{"a root, but no intermediate", "chain-incomplete", p.Leaf.Bundle(t, p.Root)},
		{"no issuer at all", "chain-incomplete", plain.Bundle(t)},
		{"another root", "chain-stray", p.Leaf.Bundle(t, p.Mid, p.Root, p.Other)},
		{"somebody else's certificate", "chain-stray", p.Leaf.Bundle(t, p.Mid, p.Root, plain)},
		{"an intermediate of the same name with another key", "signature-wrong", p.Leaf.Bundle(t, sameName)},
		{"an issuer that is no authority", "chain-not-ca", plain.Issue(t, host).Bundle(t, plain, p.Root)},
		{"two certificates for one key", "cert-twice", p.Leaf.Bundle(t, p.Mid, p.Root, second)},
		{"a certificate of an authority", "leaf-is-ca", p.Mid.Issue(t, Spec{Name: "ca", CA: true, Hosts: []string{"a.example"}}).Bundle(t, p.Mid, p.Root)},
		{"names that the issuer may not give", "chain-invalid", bound.Issue(t, host).Bundle(t, bound, p.Root)},
		{"a chain longer than allowed", "chain-invalid", below.Issue(t, host).Bundle(t, below, short, p.Root)},
		{"no names", "name-none", make(func(s *Spec) { s.Hosts = nil })},
		{"a name with a blank", "name-malformed", make(func(s *Spec) { s.Hosts = []string{"a b.example"} })},
		{"a wildcard within", "name-malformed", make(func(s *Spec) { s.Hosts = []string{"a.*.example"} })},
		{"a URL for a name", "name-malformed", make(func(s *Spec) { s.Hosts = []string{"https://a.example/"} })},
		{"for clients only", "usage-wrong", make(func(s *Spec) { s.Client = true })},
		{"for encipherment only", "usage-wrong", template(func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageKeyEncipherment })},
		{"an unknown critical extension", "chain-invalid", template(func(x *x509.Certificate) { x.ExtraExtensions = append(x.ExtraExtensions, Critical) })},
		{"P-224", "key-weak", make(func(s *Spec) { s.Key = small })},
		{"RSA with 1024 bits", "key-weak", make(func(s *Spec) { s.Key = RSAKey(t, 1024) })},
		{"RSA with 5120 bits", "key-too-large", make(func(s *Spec) { s.Key = RSAKey(t, 5120) })},
		{"an intermediate with RSA of 1024 bits", "key-weak", weakIssuer(t, p)},
	}
}

// weakIssuer is a chain with a weak key in its middle.
func weakIssuer(t testing.TB, p *PKI) []byte {
	mid := p.Root.Issue(t, Spec{Name: "weak", CA: true, Key: RSAKey(t, 1024)})
	return mid.Issue(t, Spec{Name: "leaf", Hosts: []string{"a.example"}}).Bundle(t, mid, p.Root)
}

// badOld are made by openssl.
func badOld(t testing.TB, p *PKI) []BadBundle {
	const self = "req -x509 -new -subj /CN=a.example -addext subjectAltName=DNS:a.example -days 9 -nodes -keyout key -out cert -newkey "
	sha1 := openssl(t, self+"rsa:2048 -sha1")
	koblitz := openssl(t, "ecparam -name secp256k1 -genkey -noout -out key", "ecparam -name prime256v1 -genkey -noout -out other",
		"req -x509 -new -key other -subj /CN=a.example -days 9 -out cert")
	dsa := openssl(t, "dsaparam -genkey -out both 2048", "dsa -in both -out key")
	locked := openssl(t, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain", "pkcs8 -topk8 -in plain -out key -passout pass:secret")
	legacy := openssl(t, "genrsa -traditional -aes128 -passout pass:secret -out key 2048")
	one := openssl(t, "genrsa -out key 2048", "req -new -key key -subj /CN=a.example -out csr", "x509 -req -in csr -signkey key -days 9 -out cert")
	ed448 := openssl(t, "genpkey -algorithm ed448 -out key")
	chain := join(p.Leaf.Cert(), p.Mid.Cert(), p.Root.Cert())
	return []BadBundle{
		{"signed with SHA-1", "signature-weak", join(sha1("cert"), sha1("key"))},
		{"a key on secp256k1", "key-type", join(koblitz("cert"), koblitz("key"))},
		{"a key of DSA", "key-type", join(chain, dsa("key"))},
		{"an encrypted key", "key-encrypted", join(chain, locked("key"))},
		{"an encrypted key of the old kind", "key-encrypted", join(chain, legacy("key"))},
		{"X.509 version 1", "cert-version", join(one("cert"), one("key"))},
		{"Ed448", "key-type", join(chain, ed448("key"))},
	}
}
