package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"ampoule/libos/mgmt/mgmttest"
)

// respond makes a response about leaf, signed by who, with who's certificate in it
// if embed says so.
func respond(t *testing.T, who, issuer, leaf *mgmttest.Pair, embed bool, change func(*ocsp.Response)) []byte {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.X.SerialNumber, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	if embed {
		r.Certificate = who.X
	}
	if change != nil {
		change(&r)
	}
	der, err := ocsp.CreateResponse(issuer.X, who.X, r, who.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestStaples: what is refused, and with which code; and what is taken.
func TestStaples(t *testing.T) {
	b := newBench(t, nil)
	leaf := b.root.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"w.example"}})
	other := mgmttest.Root(t, "root") // of the same name, with another key
	appointed := func(by *mgmttest.Pair, spec mgmttest.Spec, usage ...x509.ExtKeyUsage) *mgmttest.Pair {
		spec.Name, spec.Change = "responder", func(x *x509.Certificate) { x.ExtKeyUsage = usage }
		return by.Issue(t, spec)
	}
	good := appointed(b.root, mgmttest.Spec{}, x509.ExtKeyUsageOCSPSigning)
	b.want(b.Stage("alice", KindStaple, "web", respond(t, b.root, b.root, leaf, false, nil), false), SlotMissing)
	if who, _, _ := b.Staged(); who != "" {
		t.Errorf("a refused staple began a transaction of %s", who)
	}
	b.stage(KindCertificate, "web", leaf.Bundle(t, b.root))
	at := func(from, until time.Duration) func(*ocsp.Response) {
		return func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = b.now.Add(from), b.now.Add(until) }
	}
	for what, c := range map[string]struct {
		data []byte
		code Code
	}{
		"the issuer's":                {respond(t, b.root, b.root, leaf, false, nil), ""},
		"the issuer's, embedded":      {respond(t, b.root, b.root, leaf, true, nil), ""},
		"an appointed responder's":    {respond(t, good, b.root, leaf, true, nil), ""},
		"as PEM":                      {pem.EncodeToMemory(&pem.Block{Type: "OCSP RESPONSE", Bytes: respond(t, b.root, b.root, leaf, false, nil)}), ""},
		"a clock somewhat ahead":      {respond(t, b.root, b.root, leaf, false, at(time.Minute, time.Hour)), ""},
		"nothing":                     {nil, StapleMalformed},
		"noise":                       {bytes.Repeat([]byte("noise"), 50), StapleMalformed},
		"cut off":                     {respond(t, b.root, b.root, leaf, false, nil)[:100], StapleMalformed},
		"a byte too many":             {append(respond(t, b.root, b.root, leaf, false, nil), 0), StapleMalformed},
		"huge":                        {make([]byte, maxStaple+1), TooLarge},
		"an answer of try later":      {ocsp.TryLaterErrorResponse, StapleStatus},
		"another serial":              {respond(t, b.root, b.root, good, false, nil), StapleSerial},
		"revoked":                     {respond(t, b.root, b.root, leaf, false, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, b.now }), StapleStatus},
		"unknown":                     {respond(t, b.root, b.root, leaf, false, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), StapleStatus},
		"another issuer's":            {respond(t, other, other, leaf, false, nil), StapleSignature},
		"another issuer's, embedded":  {respond(t, other, other, leaf, true, nil), StapleSignature},
		"another's responder":         {respond(t, appointed(other, mgmttest.Spec{}, x509.ExtKeyUsageOCSPSigning), b.root, leaf, true, nil), StapleSignature},
		"a server of the same issuer": {respond(t, appointed(b.root, mgmttest.Spec{}, x509.ExtKeyUsageServerAuth), b.root, leaf, true, nil), StapleSignature},
		"the certificate itself":      {respond(t, leaf, b.root, leaf, true, nil), StapleSignature},
		"a responder that expired": {respond(t, appointed(b.root, mgmttest.Spec{Until: b.now.Add(-time.Minute)}, x509.ExtKeyUsageOCSPSigning),
			b.root, leaf, true, nil), StapleSignature},
		"expired":      {respond(t, b.root, b.root, leaf, false, at(-2*time.Hour, -time.Hour)), StapleExpired},
		"not yet":      {respond(t, b.root, b.root, leaf, false, at(time.Hour, 2*time.Hour)), StapleNotYet},
		"without end":  {respond(t, b.root, b.root, leaf, false, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), StapleMalformed},
		"end at first": {respond(t, b.root, b.root, leaf, false, at(-time.Hour, -2*time.Hour)), StapleMalformed},
	} {
		err := b.Stage("alice", KindStaple, "web", c.data, false)
		var p *Problem
		if errors.As(err, &p); c.code == "" && err != nil || c.code != "" && (p == nil || p.Code != c.code) {
			t.Errorf("%s: %v, want %q", what, err, c.code)
		}
	}
	damaged := respond(t, b.root, b.root, leaf, false, nil)
	damaged[len(damaged)-5] ^= 1
	b.want(b.Stage("alice", KindStaple, "web", damaged, false), StapleSignature)
	b.commit("")
	if b.Current().Certificates["web"].Staple() == nil {
		t.Error("the staple is not in force")
	}
	// The issuer is not the root.
	between := b.root.Issue(t, mgmttest.Spec{Name: "between", CA: true})
	deep := between.Issue(t, mgmttest.Spec{Name: "deep", Hosts: []string{"d.example"}})
	b.stage(KindCertificate, "deep", deep.Bundle(t, between))
	b.stage(KindStaple, "deep", respond(t, between, between, deep, false, nil))
	b.commit("")
}

// TestStapleLife: a staple goes with its certificate, is served while it is good, can
// be removed, is kept, and goes back with its certificate.
func TestStapleLife(t *testing.T) {
	m := &memory{}
	b := newBench(t, func(c *Config) { c.Keep = m })
	commit := func() {
		t.Helper()
		if _, err := b.Commit(b.alice, b.Current().Number); err != nil {
			t.Fatal(err)
		}
	}
	leaf := b.root.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"w.example"}})
	staple := respond(t, b.root, b.root, leaf, false, nil)
	b.stage(KindCertificate, "web", leaf.Bundle(t, b.root))
	commit()
	b.stage(KindStaple, "web", staple)
	commit()
	if got := b.handshake(t, "w.example"); !bytes.Equal(got, staple) {
		t.Fatalf("a client sees the staple %x", got)
	}
	b.Store = New(b.cfg, b.Current().Certificates[Management], b.Current().Authorities[Management])
	if ok, err := b.Restore(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := b.handshake(t, "w.example"); !bytes.Equal(got, staple) {
		t.Error("it is not there after a restart")
	}
	now := b.now
	b.now = now.Add(61 * time.Minute)
	if got := b.handshake(t, "w.example"); got != nil {
		t.Error("a staple that has expired is served")
	}
	b.now = now
	b.stage(KindStaple, "web", nil)
	commit()
	if got := b.handshake(t, "w.example"); got != nil {
		t.Error("a staple that was removed is served")
	}
	b.Store = New(b.cfg, b.Current().Certificates[Management], b.Current().Authorities[Management])
	if ok, err := b.Restore(); !ok || err != nil || !b.Previous() {
		t.Fatal(ok, err, b.Previous())
	}
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil { // after a restart
		t.Fatal(err)
	}
	if got := b.handshake(t, "w.example"); !bytes.Equal(got, staple) {
		t.Error("it did not come back with the generation before")
	}
	b.stage(KindCertificate, "web", b.server("w.example"))
	commit()
	if got := b.handshake(t, "w.example"); got != nil {
		t.Error("the staple of one certificate is served with another")
	}
	b.want(b.Stage("alice", KindStaple, "web", staple, false), StapleSerial)
	b.stage(KindStaple, "web", nil)
	_, err := b.Commit(b.alice, b.Current().Number)
	b.want(err, SlotMissing)
}

// handshake is the staple that a client is given.
func (b *bench) handshake(t *testing.T, name string) []byte {
	t.Helper()
	server, client := net.Pipe()
	defer client.Close()
	base := &tls.Config{MinVersion: tls.VersionTLS12, Time: func() time.Time { return b.now }}
	go func() {
		defer server.Close()
		tls.Server(server, b.TLS(base, nil, nil)).Handshake()
	}()
	c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().OCSPResponse
}

// TestKeepBoth: the generation before is kept too, keys that both have once, and
// given up where there is no room for both.
func TestKeepBoth(t *testing.T) {
	m := &memory{}
	b := newBench(t, func(c *Config) { c.Keep = m })
	for _, host := range []string{"a.example", "b.example"} {
		b.stage(KindCertificate, "web", b.server(host))
		if _, err := b.Commit(b.alice, b.Current().Number); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]Value{}
	for _, v := range m.values {
		names[v.Name] = v
	}
	if v := names["previous/certificates/management"]; string(v.Data) != same {
		t.Error("a key that both have is kept twice")
	}
	if v := names["previous/certificates/web"]; !v.Private || len(v.Data) < 100 {
		t.Errorf("the key of the generation before is kept as %+v", v)
	}
	restart := func() {
		g := b.Current()
		b.Store = New(b.cfg, g.Certificates[Management], g.Authorities[Management])
		if ok, err := b.Restore(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	restart()
	if _, err := b.Rollback(b.alice, b.Current().Number); err != nil || b.Current().For("a.example") == nil {
		t.Errorf("after a restart: %v, %v", err, b.Current().hosts)
	}
	m.most = len(m.values) - 1
	b.stage(KindCertificate, "web", b.server("c.example"))
	if _, err := b.Commit(b.alice, b.Current().Number); err != nil {
		t.Fatal(err)
	}
	restart()
	if b.Current().For("c.example") == nil || b.Previous() {
		t.Error("what has room is not kept, or what has none is")
	}
	bad := &memory{values: slices.Clone(m.values), number: m.number}
	bad.values = append(bad.values, Value{Name: "previous/certificates/web", Data: []byte("noise")})
	b.cfg.Keep = bad
	b.Store = New(b.cfg, b.Current().Certificates[Management], b.Current().Authorities[Management])
	if ok, err := b.Restore(); !ok || err != nil || b.Previous() {
		t.Errorf("damage to the generation before: %t, %v", ok, err)
	}
}
