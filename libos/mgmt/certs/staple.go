package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxStaple is the most bytes that a staple may have: each handshake carries it.
const maxStaple = 16 << 10

// clockSkew is how far a responder's clock may be ahead of ours.
const clockSkew = 5 * time.Minute

// Staple is the response of an OCSP responder about a certificate (RFC 6960), found
// good, which goes with the certificate in handshakes (RFC 6066, section 8).
type Staple struct {
	ThisUpdate, NextUpdate time.Time
	der                    []byte
}

// checkStaple checks a response, in DER or PEM, for the certificate c. The zero now
// leaves dates alone.
func checkStaple(data []byte, c *Certificate, now time.Time) (*Staple, *Problem) {
	if len(data) > maxStaple {
		return nil, refuse(TooLarge, "The OCSP response has %d bytes; at most %d are taken.", len(data), maxStaple)
	}
	der := data
	if b, _ := pem.Decode(tidy(data)); b != nil && b.Type == "OCSP RESPONSE" {
		der = b.Bytes
	}
	r, p := readResponse(der, c)
	if p != nil {
		return nil, p
	}
	if p := signedStaple(r, c, now); p != nil {
		return nil, p
	}
	return &Staple{ThisUpdate: r.ThisUpdate, NextUpdate: r.NextUpdate, der: slices.Clone(der)}, stapleTimes(r, now)
}

// readResponse finds what a response says of c.
func readResponse(der []byte, c *Certificate) (*ocsp.Response, *Problem) {
	r, err := ocsp.ParseResponseForCert(der, c.Leaf(), nil)
	var failed ocsp.ResponseError
	switch {
	case errors.As(err, &failed):
		return nil, refuse(StapleStatus, "The OCSP responder did not answer the question, but said: %s.", failed.Status)
	case err != nil:
		if one, e := ocsp.ParseResponse(der, nil); e == nil && one.SerialNumber.Cmp(c.Leaf().SerialNumber) != 0 {
			return nil, refuse(StapleSerial, "The OCSP response is about serial %x; the slot's certificate has serial %x.", one.SerialNumber, c.Leaf().SerialNumber)
		}
		return nil, refuse(StapleMalformed, "The OCSP response can't be used: %v.", err)
	}
	switch r.Status {
	case ocsp.Good:
		return r, nil
	case ocsp.Revoked:
		return nil, refuse(StapleStatus, "The OCSP response says that the certificate was revoked at %s.", r.RevokedAt.UTC().Format(time.RFC3339))
	}
	return nil, refuse(StapleStatus, "The OCSP responder does not know the certificate.")
}

// signedStaple checks who made a response: the certificate's issuer, or who that
// issuer has appointed (RFC 6960, section 4.2.2.2).
func signedStaple(r *ocsp.Response, c *Certificate, now time.Time) *Problem {
	by := r.Certificate
	if by == nil || by.Equal(c.issuer) {
		if err := r.CheckSignatureFrom(c.issuer); err != nil {
			return refuse(StapleSignature, "The OCSP response is not signed by %s, which issued the certificate: %v.", title(c.issuer), err)
		}
		return nil
	}
	if !bytes.Equal(by.RawIssuer, c.issuer.RawSubject) || by.CheckSignatureFrom(c.issuer) != nil {
		return refuse(StapleSignature, "The OCSP response is signed by %s, which is not appointed by %s.", title(by), title(c.issuer))
	}
	switch {
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return refuse(StapleSignature, "The OCSP response is signed by %s, whose extended key usage lacks OCSPSigning.", title(by))
	case !now.IsZero() && (now.After(by.NotAfter) || now.Add(clockSkew).Before(by.NotBefore)):
		return refuse(StapleSignature, "The OCSP response is signed by %s, which is good from %s to %s.", title(by),
			by.NotBefore.UTC().Format(time.RFC3339), by.NotAfter.UTC().Format(time.RFC3339))
	}
	// The library has verified its signature with by.
	return nil
}

// stapleTimes checks when a response is good.
func stapleTimes(r *ocsp.Response, now time.Time) *Problem {
	switch {
	case r.NextUpdate.IsZero() || r.NextUpdate.Before(r.ThisUpdate):
		return refuse(StapleMalformed, "The OCSP response does not say until when it is good.")
	case now.IsZero():
		return nil
	case !now.Before(r.NextUpdate):
		return refuse(StapleExpired, "The OCSP response was good until %s.", r.NextUpdate.UTC().Format(time.RFC3339))
	case now.Add(clockSkew).Before(r.ThisUpdate):
		return refuse(StapleNotYet, "The OCSP response is not good yet, but from %s on; the clock here says %s.",
			r.ThisUpdate.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// stapled is c with another staple, or none.
func (c *Certificate) stapled(s *Staple) *Certificate {
	out := *c
	out.staple, out.with = s, c.TLS
	if s != nil {
		out.with.OCSPStaple = s.der
	}
	return &out
}

// Staple is the OCSP response that goes with the certificate; nil: none does.
func (c *Certificate) Staple() *Staple { return c.staple }

// Serve is the certificate for a handshake: with its staple, as long as that is good.
// Clients refuse one that is not, and go on without one.
func (c *Certificate) Serve(now time.Time) *tls.Certificate {
	if c.staple == nil || !now.Before(c.staple.NextUpdate) {
		return &c.TLS
	}
	return &c.with
}

// stapleFor checks what was sent as a staple for the certificate that a commit would
// leave in a slot; mu is held.
func (s *Store) stapleFor(slot string, data []byte) (*Staple, *Problem) {
	c := s.current.Load().Certificates[slot]
	if s.staged != nil {
		if v, ok := s.staged.values[entry{KindCertificate, slot}]; ok {
			c, _ = v.(*Certificate)
		}
	}
	if c == nil {
		return nil, refuse(SlotMissing, "There is no certificate in slot %s; stage it first.", slot)
	}
	return checkStaple(data, c, s.cfg.Now())
}
