// Package own makes the management plane's first certificate, which serves until
// one is committed. An image has code for the way that its configuration names.
package own

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"time"

	"ampoule/libos/format"
)

// Given is a certificate that was compiled in, chain and key as PEM: who has the
// image has the key.
type Given string

// Certificate implements mgmt.Own.
func (g Given) Certificate(io.Reader, time.Time, []string) ([]byte, string, error) {
	return []byte(g), "of the image", nil
}

// SelfSigned makes a key at every boot, and a certificate that vouches for itself.
// Who connects for the first time must compare its SHA-256 with the one in the log,
// on a console that can be trusted.
type SelfSigned struct{}

// life is how long such a certificate is good: longer than any VM runs.
const life = 10 * 365 * 24 * time.Hour

// Certificate implements mgmt.Own.
func (SelfSigned) Certificate(rand io.Reader, now time.Time, names []string) ([]byte, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, "", format.Errorf("own certificate: %w", err)
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(rand, serial); err != nil {
		return nil, "", format.Errorf("own certificate: %w", err)
	}
	serial[0] = serial[0]&0x7f | 1 // RFC 5280, section 4.1.2.2: positive
	x := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: names[0], OrganizationalUnit: []string{"self-signed at boot"}},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(life), // clocks differ
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			x.IPAddresses = append(x.IPAddresses, ip)
		} else {
			x.DNSNames = append(x.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand, x, x, key.Public(), key)
	if err != nil {
		return nil, "", format.Errorf("own certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", format.Errorf("own certificate: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), "self-signed at boot", nil
}
