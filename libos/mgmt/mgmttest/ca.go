// Package mgmttest makes keys, certificates and authorities for tests of what uses
// them.
package mgmttest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Spec says what a certificate is to be. The zero values stand for what a server
// of a private network has: a new P-256 key, from an hour ago for a day.
type Spec struct {
	Name  string   // common name
	Unit  string   // organizational unit
	Hosts []string // names and addresses

	Key    crypto.Signer // nil: a new one
	CA     bool
	Client bool // for clients, not for servers
	From   time.Time
	Until  time.Time
	Change func(*x509.Certificate) // the template, last
}

// Pair is a certificate with its key.
type Pair struct {
	X   *x509.Certificate
	Key crypto.Signer
}

// Root makes an authority that vouches for itself.
func Root(t testing.TB, name string) *Pair {
	return (*Pair)(nil).Issue(t, Spec{Name: name, CA: true})
}

// Issue makes a certificate; nil signs it with its own key.
func (p *Pair) Issue(t testing.TB, s Spec) *Pair {
	t.Helper()
	if s.Key == nil {
		s.Key = Key(t)
	}
	if s.From.IsZero() {
		s.From = time.Now().Add(-time.Hour)
	}
	if s.Until.IsZero() {
		s.Until = time.Now().Add(24 * time.Hour)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: s.Name}, NotBefore: s.From, NotAfter: s.Until,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature}
	if s.Unit != "" {
		x.Subject.OrganizationalUnit = []string{s.Unit}
	}
	switch {
	case s.CA:
		x.IsCA, x.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	case s.Client:
		x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	default:
		x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, h := range s.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			x.IPAddresses = append(x.IPAddresses, ip)
		} else {
			x.DNSNames = append(x.DNSNames, h)
		}
	}
	if s.Change != nil {
		s.Change(x)
	}
	parent, key := x, s.Key
	if p != nil {
		parent, key = p.X, p.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, s.Key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Pair{made, s.Key}
}

// Key makes a P-256 key.
func Key(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Cert is the certificate as PEM.
func (p *Pair) Cert() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.X.Raw})
}

// KeyPEM is the key as PEM.
func (p *Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Bundle is the certificate, those of its issuers, and the key.
func (p *Pair) Bundle(t testing.TB, issuers ...*Pair) []byte {
	t.Helper()
	all := [][]byte{p.Cert()}
	for _, i := range issuers {
		all = append(all, i.Cert())
	}
	return bytes.Join(append(all, p.KeyPEM(t)), nil)
}

// TLS is the pair for package tls.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.X.Raw}, PrivateKey: p.Key, Leaf: p.X}
}

// Pool is a pool of the certificates.
func Pool(all ...*Pair) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, p := range all {
		pool.AddCert(p.X)
	}
	return pool
}

// CRL is a list, as PEM, of what the authority has revoked, in force until next.
func (p *Pair) CRL(t testing.TB, next time.Time, revoked ...*Pair) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next}
	for _, r := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.X.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, p.X, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}
