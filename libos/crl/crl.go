// Package crl says which certificates of clients were revoked, by the lists of their
// authorities (RFC 5280, section 5): whole lists, signed by the authority itself, that
// say until when they are good. It fetches none.
//
// Where there are lists, they must be there for all: a certificate whose issuer has none,
// or one that is out of date, is refused as nginx and OpenSSL do, since nobody knows
// whether it was revoked.
package crl

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"time"

	"ampoule/libos/format"
)

// Why a certificate is refused.
var (
	ErrRevoked = errors.New("the client's certificate is revoked")
	ErrNone    = errors.New("there is no revocation list of the issuer of the client's certificate")
	ErrStale   = errors.New("the revocation list for the client's certificate is out of date")
)

// Reason is a stable word for an error of Check, or "" for another one.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrRevoked):
		return "revoked"
	case errors.Is(err, ErrNone):
		return "list-missing"
	case errors.Is(err, ErrStale):
		return "list-expired"
	}
	return ""
}

// ErrFormat, ErrSignature and ErrTimes are what is wrong with a list, beside a sentence.
var (
	ErrFormat    = errors.New("malformed")
	ErrSignature = errors.New("not signed by an authority")
	ErrTimes     = errors.New("out of date")
)

// Lists are the lists of some authorities. They are never changed.
type Lists struct {
	by      map[string]*list // by issuer
	next    time.Time
	count   int
	revoked map[string]bool // authorities that another one has revoked, as DER
}

type list struct {
	der     []byte
	next    time.Time
	serials map[string]struct{}
}

func (l *list) has(c *x509.Certificate) bool {
	_, there := l.serials[string(c.SerialNumber.Bytes())]
	return there
}

// issuer is who signs: a name and a key.
func issuer(c *x509.Certificate) string {
	return string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo)
}

// New reads lists, as PEM or one as DER, of authorities: for each there is one at most. The
// zero now leaves dates alone.
func New(data []byte, authorities []*x509.Certificate, now time.Time) (*Lists, error) {
	ders, err := blocks(data)
	if err != nil {
		return nil, err
	}
	l := &Lists{by: map[string]*list{}, revoked: map[string]bool{}}
	for _, der := range ders {
		if err := l.add(der, authorities, now); err != nil {
			return nil, err
		}
	}
	// A chain ends at an authority, though another one may be above it.
	for _, c := range authorities {
		for _, by := range authorities {
			if one := l.by[issuer(by)]; one != nil && one.has(c) && issuer(c) != issuer(by) &&
				bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil {
				l.revoked[string(c.Raw)] = true
			}
		}
	}
	return l, nil
}

// blocks are the lists in data, in DER.
func blocks(data []byte) (all [][]byte, err error) {
	if begins := bytes.Count(data, []byte("-----BEGIN ")); begins > 0 {
		for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
			if b.Type != "X509 CRL" {
				return nil, format.Errorf("%w: a PEM block is a %s, not an X509 CRL", ErrFormat, b.Type)
			}
			all = append(all, b.Bytes)
		}
		if len(all) != begins {
			return nil, format.Errorf("%w: %d PEM blocks begin, but only %d are whole", ErrFormat, begins, len(all))
		}
		return all, nil
	}
	return [][]byte{data}, nil
}

func (l *Lists) add(der []byte, authorities []*x509.Certificate, now time.Time) error {
	r, err := x509.ParseRevocationList(der)
	if err != nil {
		return format.Errorf("%w: %w", ErrFormat, err)
	}
	if x := partial(r); x != nil {
		return format.Errorf("%w: the list of %s has an extension (%s) that whole lists don't have", ErrFormat, r.Issuer, x.Id)
	}
	by := signer(r, authorities)
	if by == nil {
		return format.Errorf("%w: the list of %s is signed by none of the slot's authorities", ErrSignature, r.Issuer)
	}
	const skew = 5 * time.Minute
	switch {
	case r.NextUpdate.IsZero() || r.NextUpdate.Before(r.ThisUpdate):
		return format.Errorf("%w: the list of %s does not say until when it is good", ErrFormat, r.Issuer)
	case !now.IsZero() && !now.Before(r.NextUpdate):
		return format.Errorf("%w: the list of %s was good until %s", ErrTimes, r.Issuer, r.NextUpdate.UTC().Format(time.RFC3339))
	case !now.IsZero() && now.Add(skew).Before(r.ThisUpdate):
		return format.Errorf("%w: the list of %s is good from %s on only", ErrTimes, r.Issuer, r.ThisUpdate.UTC().Format(time.RFC3339))
	case l.by[issuer(by)] != nil:
		return format.Errorf("%w: there are two lists of %s", ErrFormat, r.Issuer)
	}
	one := &list{bytes.Clone(r.Raw), r.NextUpdate, make(map[string]struct{}, len(r.RevokedCertificateEntries))}
	for _, e := range r.RevokedCertificateEntries {
		one.serials[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	l.by[issuer(by)] = one
	l.count += len(one.serials)
	if l.next.IsZero() || r.NextUpdate.Before(l.next) {
		l.next = r.NextUpdate
	}
	return nil
}

// partial is an extension that makes r a part of a list, changes to one, or one of other
// issuers' certificates too, or that says what is not known here; nil: there is none.
func partial(r *x509.RevocationList) *pkix.Extension {
	delta, scope := asn1.ObjectIdentifier{2, 5, 29, 27}, asn1.ObjectIdentifier{2, 5, 29, 28}
	for i, x := range r.Extensions {
		if x.Critical || x.Id.Equal(delta) || x.Id.Equal(scope) {
			return &r.Extensions[i]
		}
	}
	for _, e := range r.RevokedCertificateEntries {
		for i, x := range e.Extensions {
			if x.Critical {
				return &e.Extensions[i]
			}
		}
	}
	return nil
}

// signer is who of all has signed a list.
func signer(r *x509.RevocationList, all []*x509.Certificate) *x509.Certificate {
	for _, c := range all {
		if bytes.Equal(r.RawIssuer, c.RawSubject) && r.CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// NextUpdate is when the first of the lists ends.
func (l *Lists) NextUpdate() time.Time { return l.next }

// Of is the list of an authority, in DER, or nil.
func (l *Lists) Of(c *x509.Certificate) []byte {
	if one := l.by[issuer(c)]; one != nil {
		return one.der
	}
	return nil
}

// Count is how many certificates are revoked.
func (l *Lists) Count() int { return l.count }

// Check says whether one of the chains that a client's certificate was verified with has
// nothing revoked in it, by lists in force; the error is that of the last.
func (l *Lists) Check(chains [][]*x509.Certificate, now time.Time) error {
	err := ErrNone
	for _, chain := range chains {
		if err = l.chain(chain, now); err == nil {
			return nil
		}
	}
	return err
}

// chain is Check for one, the last certificate of which is an authority: nobody's list need
// have it.
func (l *Lists) chain(chain []*x509.Certificate, now time.Time) error {
	last := len(chain) - 1
	if l.revoked[string(chain[last].Raw)] {
		return ErrRevoked
	}
	for i, c := range chain[:last] {
		one := l.by[issuer(chain[i+1])]
		if one == nil {
			return ErrNone
		}
		if one.has(c) {
			return ErrRevoked
		}
		if !now.Before(one.next) {
			return ErrStale
		}
	}
	return nil
}
