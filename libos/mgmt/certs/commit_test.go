package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

// bench is a store with a clock, and who uses it.
type bench struct {
	*Store
	t     *testing.T
	now   time.Time
	root  *mgmttest.Pair // of servers
	ca    *mgmttest.Pair // of clients
	alice Client
	bob   Client
}

func newBench(t *testing.T, change func(*Config)) *bench {
	b := &bench{t: t, now: time.Now(), root: mgmttest.Root(t, "root"), ca: mgmttest.Root(t, "clients")}
	cfg := Config{Slots: 3, Now: func() time.Time { return b.now }}
	if change != nil {
		change(&cfg)
	}
	own, err := Check(Management, b.root.Issue(t, mgmttest.Spec{Name: "own", Hosts: []string{"edge"}}).Bundle(t, b.root), b.now)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := CheckAuthority(Management, b.ca.Cert(), b.now)
	if err != nil {
		t.Fatal(err)
	}
	b.Store = New(cfg, own, clients)
	client := func(name string) Client {
		return Client{name, []*x509.Certificate{b.ca.Issue(t, mgmttest.Spec{Name: name, Client: true}).X}}
	}
	b.alice, b.bob = client("alice"), client("bob")
	return b
}

// server makes a bundle for hosts.
func (b *bench) server(hosts ...string) []byte {
	return b.root.Issue(b.t, mgmttest.Spec{Name: hosts[0], Hosts: hosts}).Bundle(b.t, b.root)
}

// stage stages for alice.
func (b *bench) stage(kind Kind, name string, data []byte) {
	b.t.Helper()
	if err := b.Stage("alice", kind, name, data, data == nil && kind != KindRevoked); err != nil {
		b.t.Fatal(err)
	}
}

// want wants an error with a code; "" wants none.
func (b *bench) want(err error, code Code) {
	b.t.Helper()
	var p *Problem
	if code == "" && err == nil || errors.As(err, &p) && p.Code == code {
		return
	}
	b.t.Errorf("%v, want %q", err, code)
}

// commit commits for alice, which has to end with a code.
func (b *bench) commit(code Code) {
	b.t.Helper()
	before := b.Current()
	n, err := b.Commit(b.alice, before.Number)
	b.want(err, code)
	if after := b.Current(); code == "" && (n != before.Number+1 || after.Number != n) || code != "" && after != before {
		b.t.Errorf("generation %d, %d after %d", n, after.Number, before.Number)
	}
	if code != "" {
		b.want(b.Abort(), "")
	}
}

func TestCommit(t *testing.T) {
	twin := false
	b := newBench(t, func(c *Config) { c.Required = []Required{{"dns", []string{"a.example", "b.example"}}} })
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.commit("")
	b.stage(KindCertificate, "dns", b.server("a.example"))
	b.commit(NameMissing)
	b.stage(KindCertificate, "dns", b.server("a.example", "w.example", "b.example"))
	b.commit(NameTwice)
	b.stage(KindCertificate, "dns", b.server("*.example"))
	b.commit("")
	b.stage(KindCertificate, "more", b.server("m.example"))
	b.commit(SlotsFull)
	b.stage(KindCertificate, "other", nil)
	b.commit(SlotMissing)
	b.stage(KindCertificate, Management, nil)
	b.commit(LockOut)
	b.stage(KindAuthority, Management, nil)
	b.commit(LockOut)
	b.stage(KindAuthority, Management, mgmttest.Root(t, "others").Cert())
	b.commit(LockOut)
	b.stage(KindAuthority, Management, join(b.ca.Cert(), mgmttest.Root(t, "others").Cert()))
	b.commit("")
	sum := sha256.Sum256(b.alice.Chain[0].Raw)
	b.stage(KindRevoked, hex.EncodeToString(sum[:]), nil)
	b.commit(LockOut)
	sum = sha256.Sum256(b.bob.Chain[0].Raw)
	b.stage(KindRevoked, hex.EncodeToString(sum[:]), nil)
	b.commit("")
	if g := b.Current(); g.Welcome(b.bob.Chain, b.now) == nil || g.Welcome(b.alice.Chain, b.now) != nil {
		t.Error("bob is welcome, or alice is not")
	}
	for _, raw := range twins(b.bob.Chain[0]) { // of another form, and valid
		x, err := x509.ParseCertificate(raw)
		if err == nil {
			if g := b.Current(); !errors.Is(g.Welcome([]*x509.Certificate{x}, b.now), errRevoked) {
				t.Error("bob is welcome with the other form of his certificate")
			}
			if err := x.CheckSignatureFrom(b.ca.X); err == nil {
				twin = true
			}
		}
	}
	if !twin {
		t.Error("no other form of bob's certificate is valid")
	}
	// What is several values is one transaction: all or nothing.
	b.stage(KindCertificate, "web", b.server("new.example"))
	b.stage(KindCertificate, "dns", b.server("a.example"))
	b.commit(NameMissing)
	if got := b.Current().Certificates["web"].Hosts; !slices.Equal(got, []string{"w.example"}) {
		t.Errorf("a refused transaction has changed %v", got)
	}
}

func TestTransactions(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.Abort(), Nothing)
	b.want(b.Validate(b.alice), Nothing)
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.want(b.Stage("bob", KindCertificate, "web", b.server("w.example"), false), Busy)
	b.want(b.Validate(b.bob), Busy)
	_, err := b.Commit(b.bob, 0)
	b.want(err, Busy)
	_, err = b.Commit(b.alice, 1)
	b.want(err, Conflict)
	b.now = b.now.Add(Patience + time.Second)
	_, err = b.Commit(b.alice, 0)
	b.want(err, Nothing)
	b.want(b.Stage("bob", KindCertificate, "web", b.server("w.example"), false), "")
	_, err = b.Commit(b.bob, 0)
	b.want(err, "")
	for name, kind := range map[string]Kind{"": KindCertificate, "../x": KindCertificate, "A": KindAuthority, "ab": KindRevoked, "zz": KindRevoked} {
		code := SlotName
		if kind == KindRevoked {
			code = Fingerprint
		}
		b.want(b.Stage("bob", kind, name, b.server("w.example"), false), code)
	}
	for code, data := range map[Code][]byte{KeyPresent: b.server("x"), NotCA: b.root.Issue(t, mgmttest.Spec{Name: "leaf"}).Cert(), NoPEM: nil,
		CertTwice: join(b.ca.Cert(), b.ca.Cert()), Expired: mgmttestExpired(t)} {
		b.want(b.Stage("bob", KindAuthority, "clients", data, false), code)
	}
}

func mgmttestExpired(t *testing.T) []byte {
	return (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "old", CA: true, Until: time.Now().Add(-time.Minute)}).Cert()
}

func TestRollback(t *testing.T) {
	b := newBench(t, nil)
	_, err := b.Rollback(b.alice, 0)
	b.want(err, NoPrevious)
	soon := b.root.Issue(t, mgmttest.Spec{Name: "soon", Hosts: []string{"w.example"}, Until: b.now.Add(time.Hour)})
	b.stage(KindCertificate, "web", soon.Bundle(t, b.root))
	b.commit("")
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.commit("")
	_, err = b.Rollback(b.alice, 1)
	b.want(err, Conflict)
	n, err := b.Rollback(b.alice, 2)
	if b.want(err, ""); n != 3 || !b.Current().Certificates["web"].Leaf().Equal(soon.X) {
		t.Errorf("generation %d has %v", n, b.Current().Certificates["web"].Leaf().Subject)
	}
	if n, err = b.Rollback(b.alice, 3); n != 4 || err != nil {
		t.Errorf("back again: %d, %v", n, err)
	}
	b.now = b.now.Add(2 * time.Hour)
	if _, err = b.Rollback(b.alice, 4); err == nil || b.Current().Number != 4 {
		t.Error("a certificate that has expired is in force again")
	}
	b.want(err, Expired)
}

// memory is a Keeper that can fail.
type memory struct {
	values []Value
	number uint64
	fail   error
	most   int // values that it takes; 0: any number
}

func (m *memory) Load() ([]Value, uint64) { return m.values, m.number }

func (m *memory) Keep(base uint64, values []Value) (uint64, error) {
	if m.fail != nil {
		return 0, m.fail
	}
	if base != m.number {
		return 0, errors.New("another base")
	}
	if m.most > 0 && len(values) > m.most {
		return 0, ErrTooMuch
	}
	m.values, m.number = values, m.number+3
	return m.number, nil
}

func (m *memory) Kept() (bool, string) { return m.fail == nil, "" }

// TestKeep: what can't be stored is not in force, and what is stored is in force
// after a restart, whatever the date.
func TestKeep(t *testing.T) {
	m := &memory{fail: errors.New("disk full")}
	b := newBench(t, func(c *Config) { c.Keep = m })
	b.stage(KindCertificate, "web", b.server("w.example"))
	_, err := b.Commit(b.alice, 0)
	b.want(err, StoreFailed)
	if b.Current().Number != 0 {
		t.Error("it is in force")
	}
	m.fail = nil
	sum := sha256.Sum256(b.bob.Chain[0].Raw)
	b.stage(KindRevoked, hex.EncodeToString(sum[:]), nil)
	if n, err := b.Commit(b.alice, 0); n != 3 || err != nil { // the first is still staged
		t.Errorf("generation %d, %v", n, err)
	}
	for _, v := range m.values {
		if v.Private != (strings.Contains(v.Name, "certificates/") && string(v.Data) != same) {
			t.Errorf("%s: private is %t", v.Name, v.Private)
		}
	}
	before := b.Current()
	b.now = b.now.Add(48 * time.Hour) // all have expired
	b.Store = New(b.cfg, before.Certificates[Management], before.Authorities[Management])
	if ok, err := b.Restore(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	g := b.Current()
	if g.Number != 3 || g.Who != "alice" || !g.Certificates["web"].Leaf().Equal(before.Certificates["web"].Leaf()) || !g.Revoked[sum] ||
		len(g.Authorities[Management].Certificates) != 1 || g.For("w.example") == nil {
		t.Errorf("%+v", g)
	}
	for what, change := range map[string]func(*Value){
		"a damaged certificate": func(v *Value) { v.Data = v.Data[:len(v.Data)/2] },
		"an unknown kind":       func(v *Value) { v.Name = "future/x" },
	} {
		values := slices.Clone(m.values)
		for i := range values {
			if values[i].Name == "certificates/web" {
				change(&values[i])
			}
		}
		cfg := b.cfg
		cfg.Keep = &memory{values: values, number: 3}
		s := New(cfg, before.Certificates[Management], before.Authorities[Management])
		if ok, err := s.Restore(); ok || err == nil || s.Current().Number != 0 {
			t.Errorf("%s: %t, %v", what, ok, err)
		}
		if kept, _ := s.Kept(); kept {
			t.Errorf("%s: it would be overwritten", what)
		}
	}
}

func TestFor(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Slots = 9 })
	if c := b.Current().For("edge"); c != nil {
		t.Error("a service has the plane's own certificate")
	}
	b.stage(KindCertificate, "one", b.server("a.example", "*.b.example"))
	b.commit("")
	check := func(want map[string]string) {
		t.Helper()
		for host, slot := range want {
			got := ""
			if all := b.Current().For(host); all != nil {
				got = all[0].Slot
			}
			if got != slot {
				t.Errorf("%q gets %q, want %q", host, got, slot)
			}
		}
	}
	check(map[string]string{"a.example": "one", "": "one", "other": "one"})
	b.stage(KindCertificate, "two", b.server("x.b.example"))
	b.commit("")
	check(map[string]string{"A.Example.": "one", "x.b.example": "two", "y.b.example": "one", "z.y.b.example": "", "b.example": "", "": ""})
	b.stage(KindCertificate, Default, b.server("d.example"))
	b.commit("")
	check(map[string]string{"a.example": "one", "": Default, "other": Default})
}

// TestUnknownName: a client that asks for a name without a certificate hears that.
func TestUnknownName(t *testing.T) {
	b := newBench(t, nil)
	l, err := tls.Listen("tcp", "127.0.0.1:0", b.TLS(&tls.Config{MinVersion: tls.VersionTLS12}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	for _, what := range []string{"no certificate", "two of others"} {
		for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			_, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "other.example", MaxVersion: most})
			if err == nil || !strings.HasSuffix(err.Error(), "unrecognized name") {
				t.Errorf("%s: %v", what, err)
			}
		}
		b.stage(KindCertificate, "one", b.server("a.example"))
		b.stage(KindCertificate, "two", b.server("b.example"))
		b.commit("")
	}
}

// TestHandshakes makes handshakes without pause while generations change, and
// checks that key and chain belong together in each, and that a ticket of an older
// generation is not taken.
func TestHandshakes(t *testing.T) {
	b := newBench(t, nil)
	b.stage(KindCertificate, "web", b.server("w.example"))
	b.commit("")
	l, err := tls.Listen("tcp", "127.0.0.1:0", b.TLS(&tls.Config{MinVersion: tls.VersionTLS12}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	cache := tls.NewLRUClientSessionCache(1)
	shake := func() (resumed bool, serial string) {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: mgmttest.Pool(b.root), ServerName: "w.example", ClientSessionCache: cache})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		s := c.ConnectionState()
		return s.DidResume, s.PeerCertificates[0].SerialNumber.String()
	}
	shake()
	if resumed, _ := shake(); !resumed {
		t.Error("no session is resumed within a generation")
	}
	for range 20 {
		b.stage(KindCertificate, "web", b.server("w.example"))
		b.commit("")
		if resumed, serial := shake(); resumed || serial != b.Current().Certificates["web"].Leaf().SerialNumber.String() {
			t.Errorf("resumed: %t, serial %s", resumed, serial)
		}
	}
	var done atomic.Int64
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				shake()
				done.Add(1)
			}
		}
	}()
	bundles := [][]byte{b.server("w.example"), b.server("w.example")}
	rotations := 0
	for ; rotations < 200 || done.Load() < 50; rotations++ {
		b.stage(KindCertificate, "web", bundles[rotations%2])
		b.commit("")
	}
	close(stop)
	<-ended
	t.Logf("%d handshakes during %d rotations", done.Load(), rotations)
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// FuzzBundle: whatever is staged is taken or refused with a code, and never
// panics; what is taken makes a handshake's certificate.
func FuzzBundle(f *testing.F) {
	p := mgmttest.NewPKI(f)
	f.Add(p.Leaf.Bundle(f, p.Mid, p.Root))
	f.Add(p.Leaf.Bundle(f, p.Mid))
	for _, b := range p.Bad(f)[:20] {
		f.Add(b.Data[:min(len(b.Data), 4096)])
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Check("x", data, now)
		var problem *Problem
		switch {
		case err == nil && (c.Leaf() == nil || len(c.TLS.Certificate) == 0 || c.TLS.PrivateKey == nil || len(c.Hosts) == 0):
			t.Errorf("taken: %+v", c)
		case err != nil && (!errors.As(err, &problem) || problem.Code == "" || problem.Sentence == ""):
			t.Errorf("refused without a code: %v", err)
		}
		if _, err := CheckAuthority("x", data, now); err != nil && fmt.Sprint(err) == "" {
			t.Error("refused without a sentence")
		}
	})
}
