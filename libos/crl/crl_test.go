package crl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"
)

type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; by nil: of its own.
func issue(t testing.TB, name string, serial int64, ca bool, by *pair) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{key: key}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	if ca {
		c.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	signer := &pair{c, key}
	if by != nil {
		signer = by
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	p.cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// list makes a list that is good from an hour ago until next, in DER.
func (p *pair) list(t testing.TB, next time.Time, more []pkix.Extension, serials ...int64) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next, ExtraExtensions: more}
	for _, n := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// foreign makes a list with an entry that says whose certificate it is.
func (p *pair) foreign(t testing.TB, next time.Time) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next,
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(3), RevocationTime: time.Now(),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}}, p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func toPEM(ders ...[]byte) (all []byte) {
	for _, der := range ders {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return all
}

// TestCheck: who is in the list of an issuer is refused, anywhere in the chain, and so is
// whose issuer has none in force.
func TestCheck(t *testing.T) {
	root, other := issue(t, "root", 1, true, nil), issue(t, "root", 1, true, nil) // of one name
	middle := issue(t, "middle", 7, true, root)
	direct, good, bad := issue(t, "direct", 5, false, root), issue(t, "good", 8, false, middle), issue(t, "bad", 9, false, middle)
	next := time.Now().Add(time.Hour)
	cas := []*x509.Certificate{other.cert, root.cert, middle.cert}
	for name, c := range map[string]struct {
		lists  []byte
		chain  []*pair
		now    time.Time
		want   error
		reason string
	}{
		"good":               {toPEM(root.list(t, next, nil), middle.list(t, next, nil, 9)), []*pair{good, middle, root}, time.Now(), nil, ""},
		"revoked":            {toPEM(root.list(t, next, nil), middle.list(t, next, nil, 9)), []*pair{bad, middle, root}, time.Now(), ErrRevoked, "revoked"},
		"its issuer":         {toPEM(root.list(t, next, nil, 7), middle.list(t, next, nil)), []*pair{good, middle, root}, time.Now(), ErrRevoked, "revoked"},
		"the same serial":    {toPEM(root.list(t, next, nil, 8), middle.list(t, next, nil)), []*pair{good, middle, root}, time.Now(), nil, ""},
		"no list":            {toPEM(middle.list(t, next, nil)), []*pair{direct, root}, time.Now(), ErrNone, "list-missing"},
		"the namesake's":     {toPEM(other.list(t, next, nil)), []*pair{direct, root}, time.Now(), ErrNone, "list-missing"},
		"late":               {toPEM(root.list(t, next, nil)), []*pair{direct, root}, next, ErrStale, "list-expired"},
		"late and revoked":   {toPEM(root.list(t, next, nil, 5)), []*pair{direct, root}, next, ErrRevoked, "revoked"},
		"DER":                {root.list(t, next, nil, 5), []*pair{direct, root}, time.Now(), ErrRevoked, "revoked"},
		"authority's own":    {root.list(t, next, nil), []*pair{middle}, time.Now(), nil, ""},
		"large serial, sign": {root.list(t, next, nil, 1<<62), []*pair{direct, root}, time.Now(), nil, ""},
	} {
		l, err := New(c.lists, cas, time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var chain []*x509.Certificate
		for _, p := range c.chain {
			chain = append(chain, p.cert)
		}
		err = l.Check([][]*x509.Certificate{chain}, c.now)
		if !errors.Is(err, c.want) || Reason(err) != c.reason {
			t.Errorf("%s: %v, %q", name, err, Reason(err))
		}
	}
	l, _ := New(toPEM(root.list(t, next, nil, 7), middle.list(t, next.Add(-time.Minute), nil, 9)), cas, time.Now())
	if l.Count() != 2 || !l.NextUpdate().Equal(next.Add(-time.Minute).UTC().Truncate(time.Second)) {
		t.Errorf("%d revoked until %v", l.Count(), l.NextUpdate())
	}
	// Of several chains one that is good is enough.
	if err := l.Check([][]*x509.Certificate{{bad.cert, middle.cert}, {direct.cert, root.cert}}, time.Now()); err != nil {
		t.Error(err)
	}
	if err := l.Check(nil, time.Now()); err != ErrNone {
		t.Errorf("without a chain: %v", err)
	}
}

// TestRevokedAuthority: an authority that another one has revoked is good for nobody, though
// chains end at it; but a list is no judge of its own authority.
func TestRevokedAuthority(t *testing.T) {
	root := issue(t, "root", 1, true, nil)
	middle := issue(t, "middle", 7, true, root)
	client := issue(t, "client", 1, false, middle)
	cas, pool := []*x509.Certificate{root.cert, middle.cert}, x509.NewCertPool()
	for _, c := range cas {
		pool.AddCert(c)
	}
	chains, err := client.cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := middle.cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		t.Fatal(err)
	}
	next := time.Now().Add(time.Hour)
	for serial, want := range map[int64]error{7: ErrRevoked, 1: nil} {
		l, err := New(toPEM(root.list(t, next, nil, serial), middle.list(t, next, nil)), cas, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, chains := range [][][]*x509.Certificate{chains, own} {
			if err := l.Check(chains, time.Now()); err != want {
				t.Errorf("the root revokes number %d: %v", serial, err)
			}
		}
	}
}

// TestRefused: what is no whole list in force of the authorities is refused.
func TestRefused(t *testing.T) {
	root, other := issue(t, "root", 1, true, nil), issue(t, "other", 1, true, nil)
	next := time.Now().Add(time.Hour)
	good := root.list(t, next, nil, 3)
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)-3] ^= 1
	delta := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
	scope := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Value: []byte{0x30, 3, 0x81, 1, 0xff}}}
	tamed := []pkix.Extension{{Id: delta[0].Id, Value: delta[0].Value}}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":          {nil, ErrFormat},
		"noise":            {[]byte("noise"), ErrFormat},
		"a certificate":    {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), ErrFormat},
		"cut":              {toPEM(good)[:200], ErrFormat},
		"twice":            {toPEM(good, good), ErrFormat},
		"a delta":          {root.list(t, next, delta), ErrFormat},
		"a tame delta":     {root.list(t, next, tamed), ErrFormat},
		"a part":           {root.list(t, next, scope), ErrFormat},
		"others' too":      {root.foreign(t, next), ErrFormat},
		"another's":        {other.list(t, next, nil), ErrSignature},
		"a bad signature":  {damaged, ErrSignature},
		"one is another's": {toPEM(good, other.list(t, next, nil)), ErrSignature},
		"ended":            {root.list(t, time.Now().Add(-time.Minute), nil), ErrTimes},
	} {
		if _, err := New(c.data, []*x509.Certificate{root.cert}, time.Now()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(root.list(t, time.Now().Add(-time.Minute), nil), []*x509.Certificate{root.cert}, time.Time{}); err != nil {
		t.Errorf("ended, without regard to dates: %v", err)
	}
}

func FuzzNew(f *testing.F) {
	root := issue(f, "root", 1, true, nil)
	f.Add(root.list(f, time.Now().Add(time.Hour), nil, 3, 4))
	f.Add(toPEM(root.list(f, time.Now().Add(time.Hour), nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := New(data, []*x509.Certificate{root.cert}, time.Now()); err == nil && l.NextUpdate().Before(time.Now()) {
			t.Error("a list that has ended is taken")
		}
	})
}
