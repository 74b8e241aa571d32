package certs

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"ampoule/libos/crl"
	"ampoule/libos/mgmt/mgmttest"
)

// TestLists: what is refused, and with which code; what is taken is kept, goes with its
// authorities, and neither their change nor the way back loses it.
func TestLists(t *testing.T) {
	b := newBench(t, nil)
	one, two := mgmttest.Root(t, "one"), mgmttest.Root(t, "two")
	alice := one.Issue(t, mgmttest.Spec{Name: "alice", Client: true})
	hour := time.Now().Add(time.Hour)
	b.want(b.Stage("alice", KindCRL, "clients", one.CRL(t, hour), false), SlotMissing)
	b.want(b.Stage("alice", KindCRL, Management, b.ca.CRL(t, hour), false), SlotName)
	b.want(b.Stage("alice", KindCRL, "../x", one.CRL(t, hour), false), SlotName)
	b.stage(KindAuthority, "clients", one.Cert())
	b.want(b.Stage("alice", KindCRL, "clients", two.CRL(t, hour), false), CRLSignature)
	b.want(b.Stage("alice", KindCRL, "clients", one.CRL(t, time.Now().Add(-time.Second)), false), CRLDates)
	b.want(b.Stage("alice", KindCRL, "clients", []byte("noise"), false), CRLMalformed)
	b.want(b.Stage("alice", KindCRL, "clients", make([]byte, MaxBundle+1), false), TooLarge)
	b.stage(KindCRL, "clients", one.CRL(t, hour, alice))
	b.commit("")
	revoked := func() {
		t.Helper()
		if err := b.Current().Authorities["clients"].Lists().Check([][]*x509.Certificate{{alice.X, one.X}}, b.now); err != crl.ErrRevoked {
			t.Error(err)
		}
	}
	revoked()
	// Another authority beside, then one that they are not of.
	b.stage(KindAuthority, "clients", append(one.Cert(), two.Cert()...))
	b.commit("")
	revoked()
	b.stage(KindAuthority, "clients", two.Cert())
	b.commit(CRLLost)
	b.stage(KindAuthority, "clients", two.Cert())
	b.stage(KindCRL, "clients", two.CRL(t, hour))
	b.commit("")
	if n := b.Current().Authorities["clients"].Lists().Count(); n != 0 {
		t.Errorf("%d are revoked by the other authority", n)
	}
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil {
		t.Error(err)
	}
	revoked()
	b.stage(KindCRL, "clients", nil)
	b.commit("")
	if b.Current().Authorities["clients"].Lists() != nil {
		t.Error("the lists did not go")
	}
	b.stage(KindCRL, "clients", nil)
	b.commit(SlotMissing)
	// An older list does not come back by the way back either.
	b.stage(KindAuthority, "clients", one.Cert())
	b.stage(KindCRL, "clients", one.CRL(t, hour))
	b.commit("")
	b.stage(KindCRL, "clients", one.CRL(t, hour, alice))
	b.commit("")
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil {
		t.Fatal(err)
	}
	revoked()
	// Nor when lists of authorities came since that the older generation has not, or when
	// it has more.
	back := func(authorities []byte, lists ...[]byte) {
		t.Helper()
		b.stage(KindAuthority, "clients", authorities)
		b.stage(KindCRL, "clients", slices.Concat(lists...))
		b.commit("")
	}
	both := slices.Concat(one.Cert(), two.Cert())
	back(one.Cert(), one.CRL(t, hour))
	back(both, one.CRL(t, hour, alice), two.CRL(t, hour))
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil {
		t.Fatal(err)
	}
	revoked()
	bob := two.Issue(t, mgmttest.Spec{Name: "bob", Client: true})
	back(both, one.CRL(t, hour), two.CRL(t, hour, bob))
	back(both, one.CRL(t, hour, alice))
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil {
		t.Fatal(err)
	}
	revoked()
	if err := b.Current().Authorities["clients"].Lists().Check([][]*x509.Certificate{{bob.X, two.X}}, b.now); err != crl.ErrRevoked {
		t.Errorf("bob: %v", err)
	}
	// Who goes takes its list along, and leaves the others'.
	b.stage(KindAuthority, "clients", one.Cert())
	b.commit("")
	revoked()
	// A restart finds them.
	before := b.Current()
	k := &memory{}
	if _, err := k.Keep(0, before.values()); err != nil {
		t.Fatal(err)
	}
	cfg := b.cfg
	cfg.Keep = k
	b.Store = New(cfg, before.Certificates[Management], before.Authorities[Management])
	if ok, err := b.Restore(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	revoked()
	// What is staged is checked again.
	b.stage(KindCRL, "clients", one.CRL(t, b.now.Add(time.Minute)))
	b.now = b.now.Add(2 * time.Minute)
	b.commit(CRLDates)
}
