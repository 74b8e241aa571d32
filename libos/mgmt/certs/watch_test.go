package certs

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"ampoule/libos/mgmt/mgmttest"
)

// TestWatch: each generation is told once, in order, before its commit returns; one
// that is refused is not.
func TestWatch(t *testing.T) {
	b := newBench(t, nil)
	var told []uint64
	cancel := b.Watch(func(g *Generation) {
		if b.Current() != g {
			t.Error("it is told of before it is in force")
		}
		told = append(told, g.Number)
	})
	other := 0
	defer b.Watch(func(*Generation) { other++ })()
	for range 3 {
		b.stage(KindCertificate, "web", b.server("w.example"))
		b.commit("")
		b.stage(KindCertificate, Management, nil)
		b.commit(LockOut)
	}
	if _, err := b.Rollback(b.alice, 3); err != nil {
		t.Error(err)
	}
	cancel()
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.commit("")
	if !slices.Equal(told, []uint64{1, 2, 3, 4}) || other != 5 {
		t.Errorf("told of %v, the other of %d", told, other)
	}
}

// TestBegin: what was compiled in is generation 0, can be replaced and gone back to,
// and gives way to what was kept.
func TestBegin(t *testing.T) {
	b := newBench(t, nil)
	pair := b.root.Issue(t, mgmttest.Spec{Name: "w.example", Hosts: []string{"w.example"}})
	first := string(pair.Bundle(t, b.root))
	image := []Initial{{Kind: KindCertificate, Slot: "web", PEM: first, Staple: string(respond(t, b.root, b.root, pair, false, nil))},
		{Kind: KindCertificate, Slot: "bad", PEM: string(b.server("b.example")), Staple: "not to be read"},
		{Kind: KindAuthority, Slot: "clients", PEM: string(b.ca.Cert())}}
	if err := b.Begin(image); err != nil {
		t.Fatal(err)
	}
	g := b.Current()
	if g.Number != 0 || g.For("w.example") == nil || string(g.Certificates["web"].Serve(b.now).OCSPStaple) != image[0].Staple || g.Certificates["bad"].Staple() != nil ||
		g.Authorities["clients"] == nil || g.Certificates[Management] == nil {
		t.Errorf("%+v", g)
	}
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.commit("")
	if _, err := b.Rollback(b.alice, 1); err != nil || !b.Current().Certificates["web"].Leaf().Equal(g.Certificates["web"].Leaf()) {
		t.Errorf("back to the image's: %v", err)
	}
	kept := &memory{number: 7, values: b.Current().values()}
	again := New(Config{Slots: 3, Now: b.cfg.Now, Keep: kept}, g.Certificates[Management], g.Authorities[Management])
	if err := again.Begin([]Initial{{Kind: KindCertificate, Slot: "other", PEM: string(b.server("o.example"))}}); err != nil {
		t.Fatal(err)
	}
	if ok, err := again.Restore(); !ok || err != nil || again.Current().Number != 7 || again.Current().Certificates["other"] != nil {
		t.Errorf("restored: %t, %v, %+v", ok, err, again.Current())
	}
	for what, i := range map[string]Initial{
		"for a name that there is": {Kind: KindCertificate, Slot: "two", PEM: string(b.server("w.example"))},
		"no certificate":           {Kind: KindCertificate, Slot: "two", PEM: "x"},
		"of no kind":               {Kind: "made", Slot: "x", PEM: first},
	} {
		before := b.Current()
		if err := b.Begin([]Initial{i}); err == nil || b.Current() != before {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPair: one name may have certificates with keys of different kinds, and a client
// gets the first that it can use.
func TestPair(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Slots = 9 })
	spec := mgmttest.Spec{Name: "r", Hosts: []string{"w.example", "r.example"}, Key: mgmttest.RSAKey(t, 2048)}
	b.stage(KindCertificate, "rsa", b.root.Issue(t, spec).Bundle(t, b.root))
	b.stage(KindCertificate, Default, b.server("w.example"))
	b.commit("")
	b.stage(KindCertificate, "rsa2", b.root.Issue(t, spec).Bundle(t, b.root))
	_, err := b.Commit(b.alice, 1)
	if b.want(err, NameTwice); err == nil || !strings.Contains(err.Error(), "both have RSA keys") {
		t.Error(err)
	}
	g := b.Current()
	for host, want := range map[string]string{"w.example": "default rsa", "r.example": "rsa", "": "default rsa", "x": "default rsa"} {
		var got []string
		for _, c := range g.For(host) {
			got = append(got, c.Slot)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q gets %v, want %s", host, got, want)
		}
	}
	old := &tls.ClientHelloInfo{ServerName: "w.example", SupportedVersions: []uint16{tls.VersionTLS12},
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		SupportedPoints: []uint8{0}, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256}}
	if c := Choose(g.For("w.example"), old); c == nil || c.kind() != x509.RSA {
		t.Error("a client without ECDSA does not get the RSA certificate")
	}
	if Choose(nil, old) != nil {
		t.Error("something of nothing")
	}
}
