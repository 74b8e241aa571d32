// Package keys makes what a management plane and its clients need to know each
// other: an authority, certificates of operators and readers, and certificates of
// appliances' planes. Keys are P-256, as the planes take them and all clients know
// them; certificates are X.509 (RFC 5280).
//
// A private key goes into a file that only its owner can read, and nowhere else. No
// file is ever overwritten.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// Role is what a client may do; the planes know it by an organizational unit.
type Role string

// Roles.
const (
	Read    Role = "read"
	Operate Role = "operate"
)

func (r Role) unit() string { return "ampoule-" + string(r) }

// Day is how validity is counted.
const Day = 24 * time.Hour

// early is how long before now certificates begin: clocks differ.
const early = time.Hour

// Pair is a certificate and its key.
type Pair struct {
	X   *x509.Certificate
	Key crypto.Signer
}

// Authority makes one that vouches for itself. It cannot vouch for authorities.
func Authority(name string, now time.Time, days int) (*Pair, error) {
	return make509(nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, now, days)
}

// Client makes the certificate of a client of the plane.
func (p *Pair) Client(name string, role Role, now time.Time, days int) (*Pair, error) {
	return make509(p, &x509.Certificate{
		Subject:  pkix.Name{CommonName: name, OrganizationalUnit: []string{role.unit()}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, now, days)
}

// Server makes the certificate of a plane. hosts are names and addresses.
func (p *Pair) Server(name string, hosts []string, now time.Time, days int) (*Pair, error) {
	x := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			x.IPAddresses = append(x.IPAddresses, ip)
		} else if !validHost(h) {
			return nil, fmt.Errorf("%q is neither a host name nor an address", h)
		} else {
			x.DNSNames = append(x.DNSNames, strings.ToLower(h))
		}
	}
	return make509(p, x, now, days)
}

// make509 makes a certificate from a template; a nil p has it vouch for itself.
func make509(p *Pair, x *x509.Certificate, now time.Time, days int) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial)              // it never fails
	serial[0] = serial[0]&0x7f | 1 // RFC 5280, section 4.1.2.2: positive, 20 octets at most
	x.SerialNumber, x.BasicConstraintsValid = new(big.Int).SetBytes(serial), true
	x.NotBefore, x.NotAfter = now.Add(-early), now.Add(time.Duration(days)*Day)
	parent, signer := x, crypto.Signer(key)
	if p != nil {
		parent, signer = p.X, p.Key
		if x.NotAfter.After(p.X.NotAfter) {
			return nil, fmt.Errorf("%d days are more than the authority has left: it is good until %s", days, p.X.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	made, err := x509.ParseCertificate(der)
	return &Pair{made, key}, err
}

// Certificate is the certificate as PEM.
func (p *Pair) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.X.Raw})
}

// Private is the key as PEM (PKCS #8).
func (p *Pair) Private() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Fingerprint is the SHA-256 of the certificate.
func (p *Pair) Fingerprint() [sha256.Size]byte { return sha256.Sum256(p.X.Raw) }

// Parse makes a Pair of an authority from its files. Errors quote nothing of them.
func Parse(certificate, key []byte) (*Pair, error) {
	block, _ := pem.Decode(certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the authority's certificate is not PEM")
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !x.IsCA {
		return nil, errors.New("the authority's certificate is not one of an authority")
	}
	block, _ = pem.Decode(key)
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("the authority's key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if block.Type == "EC PRIVATE KEY" {
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("the authority's key can't be read: it must be PKCS #8, without a passphrase")
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("the authority's key can't sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(x.PublicKey) {
		return nil, errors.New("the authority's key is not that of its certificate")
	}
	return &Pair{x, signer}, nil
}

// validHost says whether s is a host name.
func validHost(s string) bool {
	for _, label := range strings.Split(strings.ToLower(s), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return len(s) <= 253
}
