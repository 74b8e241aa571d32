package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"time"
)

// What keys may be. Ed25519 has one size.
const (
	minRSA = 2048
	maxRSA = 4096
)

// Certificate is a chain with its key, found good.
type Certificate struct {
	Slot  string
	TLS   tls.Certificate // with Leaf; without the root, and the staple
	Hosts []string        // the names and addresses of the leaf
	pem   []byte          // as it came
	until time.Time

	issuer *x509.Certificate // of the leaf
	staple *Staple           // nil: none
	with   tls.Certificate   // TLS with the staple
}

// Leaf is the certificate itself.
func (c *Certificate) Leaf() *x509.Certificate { return c.TLS.Leaf }

// Expiry is when the first certificate of the chain ends.
func (c *Certificate) Expiry() time.Time { return c.until }

// readCertificate checks a bundle for a slot. roots are those that chains may end
// in without having them, and may be nil. The zero now leaves dates alone.
func readCertificate(slot string, data []byte, now time.Time, roots []*x509.Certificate) (*Certificate, *Problem) {
	c, p := parse(data)
	if p != nil {
		return nil, p
	}
	switch {
	case len(c.certificates) == 0:
		return nil, refuse(NoCertificate, "There is no certificate in the bundle.")
	case len(c.keys) == 0:
		return nil, refuse(NoKey, "There is no private key in the bundle.")
	case len(c.keys) > 1:
		return nil, refuse(TwoKeys, "There are %d private keys in the bundle; one is expected.", len(c.keys))
	}
	if p := checkKey(c.keys[0]); p != nil {
		return nil, p
	}
	leaf, p := findLeaf(c)
	if p != nil {
		return nil, p
	}
	chain, p := order(leaf, c.certificates, roots)
	if p != nil {
		return nil, p
	}
	if p := checkChain(chain, now); p != nil {
		return nil, p
	}
	hosts, p := checkLeaf(leaf, chain, now)
	if p != nil {
		return nil, p
	}
	out := &Certificate{Slot: slot, Hosts: hosts, pem: slices.Clone(data)}
	out.TLS = tls.Certificate{PrivateKey: c.keys[0], Leaf: leaf}
	if len(chain) > 1 {
		out.issuer = chain[1]
	} else if selfSigned(leaf) {
		out.issuer = leaf
	} else if out.issuer, p = issuer(leaf, roots); p != nil {
		return nil, p
	}
	for i, x := range chain {
		if i == 0 || !selfSigned(x) {
			out.TLS.Certificate = append(out.TLS.Certificate, x.Raw)
		}
		if i == 0 || x.NotAfter.Before(out.until) {
			out.until = x.NotAfter
		}
	}
	return out, nil
}

// checkKey checks type and size of a private key.
func checkKey(key crypto.PrivateKey) *Problem {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return checkRSA(k.N.BitLen())
	case *ecdsa.PrivateKey:
		return checkCurve(k.Curve)
	case ed25519.PrivateKey:
		return nil
	}
	return refuse(KeyType, "The private key is neither RSA nor ECDSA nor Ed25519.")
}

func checkRSA(bits int) *Problem {
	switch {
	case bits < minRSA:
		return refuse(KeyWeak, "An RSA key has %d bits; it must have at least %d.", bits, minRSA)
	case bits > maxRSA:
		return refuse(KeyHuge, "An RSA key has %d bits; at most %d are taken, as each handshake costs more with its size.", bits, maxRSA)
	}
	return nil
}

func checkCurve(c elliptic.Curve) *Problem {
	switch c {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
		return nil
	}
	return refuse(KeyWeak, "An ECDSA key is on the curve %s; P-256, P-384 and P-521 are taken.", c.Params().Name)
}

// findLeaf finds the certificate that the key belongs to.
func findLeaf(c *contents) (*x509.Certificate, *Problem) {
	signer := c.keys[0].(crypto.Signer) // checkKey knows them
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, refuse(KeyType, "The private key is neither RSA nor ECDSA nor Ed25519.")
	}
	var leaf *x509.Certificate
	for _, x := range c.certificates {
		if !public.Equal(x.PublicKey) {
			continue
		}
		if leaf != nil {
			return nil, refuse(CertTwice, "Two certificates belong to the private key: serials %s and %s.", leaf.SerialNumber, x.SerialNumber)
		}
		leaf = x
	}
	if leaf == nil {
		return nil, refuse(KeyMismatch, "The private key belongs to none of the certificates (the first is %s).", title(c.certificates[0]))
	}
	return leaf, nil
}

// order finds the chain from leaf to its end among all, whatever their order, and
// refuses one that does not end in a root, an issuer of intermediate certificates
// whose own certificate is here, or one of roots.
func order(leaf *x509.Certificate, all, roots []*x509.Certificate) ([]*x509.Certificate, *Problem) {
	chain := []*x509.Certificate{leaf}
	for x := leaf; !selfSigned(x); {
		next, p := issuer(x, all)
		if p != nil {
			return nil, p
		}
		if next == nil {
			if len(chain) == 1 || len(roots) > 0 {
				if next, p = issuer(x, roots); p != nil {
					return nil, p
				}
				if next == nil {
					return nil, refuse(ChainIncomplete, "The chain ends with %s, whose issuer %s is not there; append its certificate.", title(x), x.Issuer)
				}
			}
			break
		}
		if slices.Contains(chain, next) {
			return nil, refuse(ChainInvalid, "The chain goes round in a circle at %s.", title(next))
		}
		chain = append(chain, next)
		x = next
	}
	for _, x := range all {
		if !slices.Contains(chain, x) {
			return nil, refuse(ChainStray, "%s is not part of the chain of %s; leave it out.", title(x), title(leaf))
		}
	}
	return chain, nil
}

// issuer finds the certificate among all that x was signed with. One that bears
// the right name, but did not sign, is refused if there is no other.
func issuer(x *x509.Certificate, all []*x509.Certificate) (*x509.Certificate, *Problem) {
	var p *Problem
	for _, o := range all {
		if o == x || string(o.RawSubject) != string(x.RawIssuer) {
			continue
		}
		switch {
		case !o.IsCA || !o.BasicConstraintsValid || o.KeyUsage != 0 && o.KeyUsage&x509.KeyUsageCertSign == 0:
			p = refuse(NotCA, "%s issued %s, but is not a certificate of an authority.", title(o), title(x))
		case x.CheckSignatureFrom(o) != nil && !weak(x.SignatureAlgorithm):
			p = refuse(BadSignature, "The signature of %s does not verify with %s.", title(x), title(o))
		default:
			return o, nil
		}
	}
	return nil, p
}

// selfSigned says whether x is its own issuer.
func selfSigned(x *x509.Certificate) bool {
	return string(x.RawSubject) == string(x.RawIssuer) && x.CheckSignature(x.SignatureAlgorithm, x.RawTBSCertificate, x.Signature) == nil
}

func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS,
		x509.SHA512WithRSAPSS, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return false
	}
	return true
}

// checkChain checks what all certificates of a chain must be.
func checkChain(chain []*x509.Certificate, now time.Time) *Problem {
	for i, x := range chain {
		switch {
		case x.Version != 3:
			return refuse(Version, "%s is an X.509 certificate of version %d; only version 3 is taken.", title(x), x.Version)
		case !now.IsZero() && now.After(x.NotAfter):
			return refuse(Expired, "%s has expired: it was good until %s.", title(x), x.NotAfter.UTC().Format(time.RFC3339))
		case !now.IsZero() && now.Before(x.NotBefore):
			return refuse(NotYet, "%s is not good yet, but from %s on; the clock here says %s.", title(x),
				x.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		case weak(x.SignatureAlgorithm) && !(i > 0 && selfSigned(x)):
			return refuse(WeakSignature, "%s is signed with %s, which is not safe.", title(x), x.SignatureAlgorithm)
		}
		if p := checkPublic(x); p != nil {
			return p
		}
	}
	return nil
}

// checkPublic checks type and size of a certificate's key.
func checkPublic(x *x509.Certificate) *Problem {
	switch k := x.PublicKey.(type) {
	case *rsa.PublicKey:
		return checkRSA(k.N.BitLen())
	case *ecdsa.PublicKey:
		return checkCurve(k.Curve)
	case ed25519.PublicKey:
		return nil
	}
	return refuse(KeyType, "The key of %s is neither RSA nor ECDSA nor Ed25519.", title(x))
}

// checkLeaf checks what the certificate of a server must be, and the chain as a
// TLS client would. It returns the hosts that it is for.
func checkLeaf(leaf *x509.Certificate, chain []*x509.Certificate, now time.Time) ([]string, *Problem) {
	if leaf.IsCA && len(chain) > 1 {
		return nil, refuse(LeafIsCA, "%s is a certificate of an authority, not of a server.", title(leaf))
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil, refuse(Usage, "%s may not be used by a server: its extended key usage lacks serverAuth.", title(leaf))
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, refuse(Usage, "%s may not be used by a server: its key usage lacks digitalSignature.", title(leaf))
	}
	hosts, p := hosts(leaf)
	if p != nil {
		return nil, p
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[len(chain)-1])
	for _, x := range chain[1:] {
		between.AddCert(x)
	}
	if now.IsZero() {
		now = leaf.NotBefore
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, refuse(ChainInvalid, "The chain of %s does not hold: %v.", title(leaf), err)
	}
	return hosts, nil
}

// hosts are the names and addresses of a server's certificate, in lower case.
func hosts(leaf *x509.Certificate) ([]string, *Problem) {
	var all []string
	for _, name := range leaf.DNSNames {
		name = strings.ToLower(name)
		if !validHost(strings.TrimPrefix(name, "*.")) {
			return nil, refuse(BadName, "%s has the name %q, which is none.", title(leaf), name)
		}
		all = append(all, name)
	}
	for _, ip := range leaf.IPAddresses {
		all = append(all, net.IP(ip).String())
	}
	if len(all) == 0 {
		return nil, refuse(NoName, "%s has no name: clients look for it in the subject alternative names.", title(leaf))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// validHost says whether s is a host name without a wildcard, in lower case.
func validHost(s string) bool {
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return len(s) <= 253
}
