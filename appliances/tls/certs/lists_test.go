package certs

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"ampoule/libos/crl"
	"ampoule/libos/mgmt/mgmttest"
)

// TestWithLists: an image's own lists refuse who is in them, and everybody when they have
// ended; that they have does not keep the image from starting, what is wrong with them does.
func TestWithLists(t *testing.T) {
	ca, other := mgmttest.Root(t, "ca"), mgmttest.Root(t, "other")
	alice, bob := ca.Issue(t, mgmttest.Spec{Name: "alice", Client: true}), ca.Issue(t, mgmttest.Spec{Name: "bob", Client: true})
	clients := []string{string(ca.X.Raw)}
	for _, c := range []struct {
		next time.Time
		who  *mgmttest.Pair
		want error
	}{
		{time.Now().Add(time.Hour), alice, crl.ErrRevoked},
		{time.Now().Add(time.Hour), bob, nil},
		{time.Now().Add(-time.Minute), bob, crl.ErrStale},
	} {
		g, err := WithLists(&Generation{}, nil, string(ca.CRL(t, c.next, alice)), clients)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Revoked([][]*x509.Certificate{{c.who.X, ca.X}}); err != c.want {
			t.Errorf("%s: %v, want %v", c.who.X.Subject, err, c.want)
		}
	}
	if _, err := WithLists(&Generation{}, nil, string(other.CRL(t, time.Now().Add(time.Hour))), clients); !errors.Is(err, crl.ErrSignature) {
		t.Errorf("another authority's: %v", err)
	}
	if _, err := WithLists(nil, crl.ErrNone, "", clients); err != crl.ErrNone {
		t.Errorf("without a generation: %v", err)
	}
}
