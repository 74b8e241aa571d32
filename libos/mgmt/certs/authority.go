package certs

import (
	"crypto/x509"
	"slices"
	"time"
)

// Authority is a bundle of certificates of authorities that clients are checked
// with.
type Authority struct {
	Slot         string
	Certificates []*x509.Certificate
	Pool         *x509.CertPool
	pem          []byte // as it came
	lists        *Lists // nil: none
}

// readAuthority checks a bundle of authorities.
func readAuthority(slot string, data []byte, now time.Time) (*Authority, *Problem) {
	c, p := parse(data)
	if p != nil {
		return nil, p
	}
	switch {
	case len(c.keys) > 0:
		return nil, refuse(KeyPresent, "There is a private key among the authorities; keep it to yourself.")
	case len(c.certificates) == 0:
		return nil, refuse(NoCertificate, "There is no certificate in the bundle.")
	}
	a := &Authority{Slot: slot, Pool: x509.NewCertPool(), Certificates: c.certificates, pem: slices.Clone(data)}
	for _, x := range c.certificates {
		if !x.IsCA || !x.BasicConstraintsValid || x.KeyUsage != 0 && x.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, refuse(NotCA, "%s is not a certificate of an authority.", title(x))
		}
		a.Pool.AddCert(x)
	}
	return a, checkChainOf(c.certificates, now)
}

// checkChainOf is checkChain for certificates each of which stands for itself.
func checkChainOf(all []*x509.Certificate, now time.Time) *Problem {
	for _, x := range all {
		p := checkChain([]*x509.Certificate{x}, now)
		if p != nil && !(p.Code == WeakSignature && selfSigned(x)) {
			return p
		}
	}
	return nil
}
