package certs

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

// revoked says whether a client's certificate is revoked, in either form that it
// may have.
func (g *Generation) revoked(leaf *x509.Certificate) bool {
	if len(g.Revoked) == 0 {
		return false
	}
	if g.Revoked[sha256.Sum256(leaf.Raw)] {
		return true
	}
	for _, raw := range twins(leaf) {
		if g.Revoked[sha256.Sum256(raw)] {
			return true
		}
	}
	return false
}

// twins are the other forms of a certificate that an authority's ECDSA key has
// signed: with (r, s) the signature (r, n-s) is good too (SEC 1, section 4.1.4), and
// who has the certificate can make that one, whose fingerprint is another. Which
// curve the authority's key is on is not known here, so there is one for each.
func twins(leaf *x509.Certificate) (all [][]byte) {
	switch leaf.SignatureAlgorithm {
	case x509.ECDSAWithSHA1, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return nil
	}
	var whole struct { // RFC 5280, section 4.1
		Content, Algorithm asn1.RawValue
		Signature          asn1.BitString
	}
	var signature struct{ R, S *big.Int } // RFC 3279, section 2.2.3
	if _, err := asn1.Unmarshal(leaf.Raw, &whole); err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(whole.Signature.Bytes, &signature); err != nil {
		return nil
	}
	s := signature.S
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		n := curve.Params().N
		if s.Sign() <= 0 || s.Cmp(n) >= 0 {
			continue
		}
		signature.S = new(big.Int).Sub(n, s)
		b, err := asn1.Marshal(signature)
		if err != nil {
			continue
		}
		whole.Signature = asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
		if raw, err := asn1.Marshal(whole); err == nil {
			all = append(all, raw)
		}
	}
	return all
}
