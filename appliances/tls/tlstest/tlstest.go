// Package tlstest makes certificates for tests.
package tlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/appliances/tls/certs"
)

// CA is an authority.
type CA struct {
	Cert *x509.Certificate
	key  crypto.Signer
	next atomic.Int64
}

// NewCA makes one.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{key: ecKey(t)}
	ca.Cert = sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, ca.key.Public(), ca.key)
	return ca
}

// Pool is the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

func ecKey(t testing.TB) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, c, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Issue makes a certificate with an ECDSA key for names, the first of which is its
// common name.
func (ca *CA) Issue(t testing.TB, names ...string) tls.Certificate {
	return ca.issue(t, ecKey(t), names)
}

// IssueRSA makes one with an RSA key.
func (ca *CA) IssueRSA(t testing.TB, names ...string) tls.Certificate {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return ca.issue(t, k, names)
}

func (ca *CA) issue(t testing.TB, key crypto.Signer, names []string) tls.Certificate {
	t.Helper()
	c := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1 + ca.next.Add(1)), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.Cert, key.Public(), ca.key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

// Source is a certs.Source whose generation a test replaces.
type Source struct {
	now   atomic.Pointer[certs.Generation]
	watch atomic.Pointer[func(*certs.Generation)]
}

// NewSource begins with the certificates given, the first of which is the default.
func NewSource(clients *x509.CertPool, list ...tls.Certificate) *Source {
	s := &Source{}
	s.now.Store(Generation(1, clients, list...))
	return s
}

// Generation makes one of certificates, the first of which is the default.
func Generation(number uint64, clients *x509.CertPool, list ...tls.Certificate) *certs.Generation {
	g := &certs.Generation{Number: number, Clients: clients}
	for i, c := range list {
		g.Certificates = append(g.Certificates, certs.Certificate{TLS: c, Default: i == 0})
	}
	return g
}

// Current implements certs.Source.
func (s *Source) Current() *certs.Generation { return s.now.Load() }

// Watch implements certs.Source, for one watcher.
func (s *Source) Watch(f func(*certs.Generation)) (cancel func()) {
	s.watch.Store(&f)
	return func() { s.watch.Store(nil) }
}

// Commit puts a generation into force.
func (s *Source) Commit(g *certs.Generation) {
	s.now.Store(g)
	if f := s.watch.Load(); f != nil {
		(*f)(g)
	}
}
