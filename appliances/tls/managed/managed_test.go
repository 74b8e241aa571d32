package managed

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/appliances/tls/backend"
	"ampoule/appliances/tls/session"
	"ampoule/appliances/tls/tlsd"
	"ampoule/appliances/tls/tlstest"
	"ampoule/libos/appliance"
	"ampoule/libos/mgmt"
	held "ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/telemetry"
)

// host is the host's loopback interface.
type host struct {
	appliance.Network
	tlstest.Net
}

func (h *host) Listen(network, address string) (net.Listener, error) {
	return h.Net.Listen(network, address)
}

func (h *host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.Net.DialContext(ctx, network, address)
}

// rig is a terminator with a management plane, in front of an echo server.
type rig struct {
	*tlsd.Terminator
	t     *testing.T
	store *held.Store
	addr  string
	plane *http.Client
	at    string // of the plane
	root  *mgmttest.Pair
	log   *mgmttest.Buffer
}

func start(t *testing.T, clients, require bool) *rig {
	t.Helper()
	ca, h := mgmttest.Root(t, "clients"), &host{}
	r := &rig{t: t, root: mgmttest.Root(t, "servers"), log: &mgmttest.Buffer{}}
	log := telemetry.New(r.log, time.Now, telemetry.Debug)
	p, err := (&mgmt.Config{Clients: string(ca.Cert()), Own: own.SelfSigned{}, Slots: 8, Connections: 8, Handshakes: 1000}).Open(&plane.Host{
		Hostname: "edge", Listen: h.Listen, Log: log, Rand: rand.Reader, Now: time.Now, Up: func() time.Duration { return time.Second }})
	if err != nil {
		t.Fatal(err)
	}
	r.store, r.at = p.(held.Holder).Certificates(), h.Listener(0).Addr().String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go echo(l)
	cfg := tlsd.Config{Managed: Certificates{Clients: clients},
		Session: session.Config{MinVersion: tls.VersionTLS12, Tickets: time.Hour, RequireClient: require},
		Backends: backend.Config{Servers: []backend.Server{{Address: l.Addr().String()}}, Connect: 5 * time.Second, Attempt: time.Second,
			Health: backend.Health{Every: 50 * time.Millisecond, Timeout: time.Second, Fall: 1, Rise: 1}},
		Limits: tlsd.Limits{Connections: 100, Handshakes: 50, Buffers: 8, Handshake: 10 * time.Second,
			Idle: time.Minute, HalfClosed: time.Minute, Stall: time.Minute}}
	a, err := tlsd.New(cfg)(&appliance.Env{Net: h, Rand: rand.Reader, Now: time.Now, Log: log, Management: p})
	if err != nil {
		t.Fatal(err)
	}
	r.Terminator, r.addr = a.(*tlsd.Terminator), h.Listener(1).Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, serve := range []func(context.Context) error{p.Serve, a.Serve} {
		all.Go(func() {
			if err := serve(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	me := ca.Issue(t, mgmttest.Spec{Name: "alice", Unit: "ampoule-operate", Client: true}).TLS()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{me}}}
	t.Cleanup(tr.CloseIdleConnections)
	r.plane = &http.Client{Transport: tr, Timeout: 20 * time.Second}
	return r
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { defer c.Close(); io.Copy(c, c) }()
	}
}

// server makes a bundle.
func (r *rig) server(hosts ...string) []byte {
	return r.root.Issue(r.t, mgmttest.Spec{Name: hosts[0], Hosts: hosts}).Bundle(r.t, r.root)
}

// commit stages values, those of nil to go, and commits them.
func (r *rig) commit(values map[string][]byte) {
	r.t.Helper()
	for name, data := range values {
		kind, slot, _ := strings.Cut(name, "/")
		if err := r.store.Stage("me", held.Kind(kind), slot, data, data == nil); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.store.Commit(held.Client{Who: "me"}, r.store.Current().Number); err != nil {
		r.t.Fatal(err)
	}
}

// dial makes a handshake and has a line echoed.
func (r *rig) dial(cfg *tls.Config) (*tls.Conn, error) {
	if cfg.RootCAs == nil {
		cfg.RootCAs = mgmttest.Pool(r.root)
	}
	c, err := tls.Dial("tcp", r.addr, cfg)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { c.Close() })
	return c, say(c, "hello")
}

func say(c net.Conn, line string) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != line+"\n" {
		return fmt.Errorf("%q is echoed as %q: %w", line, got, err)
	}
	return nil
}

// get asks the plane.
func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	res, err := r.plane.Get("https://" + r.at + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestEmpty: without certificates the terminator says so and refuses handshakes; with
// the first commit it serves.
func TestEmpty(t *testing.T) {
	r := start(t, false, false)
	for _, name := range []string{"a.example", ""} {
		if _, err := r.dial(&tls.Config{ServerName: name, InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("without certificates: %v", err)
		}
	}
	if status, text := r.get("/readyz"); status != 503 || !strings.Contains(text, "there are no certificates") {
		t.Errorf("%d %s", status, text)
	}
	r.commit(map[string][]byte{"certificates/web": r.server("a.example")})
	for _, name := range []string{"a.example", ""} {
		if _, err := r.dial(&tls.Config{ServerName: name, InsecureSkipVerify: name == ""}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if status, text := r.get("/readyz"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	// Two, and no default: who names neither is refused.
	r.commit(map[string][]byte{"certificates/more": r.server("b.example", "*.c.example")})
	for name, ok := range map[string]bool{"a.example": true, "b.example": true, "x.c.example": true, "z.example": false, "": false} {
		if _, err := r.dial(&tls.Config{ServerName: name, InsecureSkipVerify: true}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	r.commit(map[string][]byte{"certificates/default": r.server("d.example"), "certificates/more": nil})
	c, err := r.dial(&tls.Config{ServerName: "z.example", InsecureSkipVerify: true})
	if err != nil || c.ConnectionState().PeerCertificates[0].DNSNames[0] != "d.example" {
		t.Errorf("no default: %v", err)
	}
}

// TestRotation: a connection lives through rotations, new handshakes have what was
// committed, and a ticket is good as long as the certificate for its name is the same.
func TestRotation(t *testing.T) {
	for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(version, func(t *testing.T) {
			r := start(t, false, false)
			r.commit(map[string][]byte{"certificates/web": r.server("a.example")})
			cfg := &tls.Config{ServerName: "a.example", MaxVersion: number, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			old, err := r.dial(cfg)
			if err != nil {
				t.Fatal(err)
			}
			again := func(what string, resumed bool) *tls.Conn {
				t.Helper()
				c, err := r.dial(cfg)
				if err != nil || c.ConnectionState().DidResume != resumed {
					t.Fatalf("%s: %v, or resumed is not %t", what, err, resumed)
				}
				return c
			}
			again("the same generation", true)
			r.commit(map[string][]byte{"certificates/other": r.server("b.example")})
			again("another name's certificate", true)
			for range 5 {
				r.commit(map[string][]byte{"certificates/web": r.server("a.example")})
				c := again("a new certificate", false)
				if !c.ConnectionState().PeerCertificates[0].Equal(r.store.Current().Certificates["web"].Leaf()) {
					t.Error("a new handshake has an old certificate")
				}
			}
			again("the same certificate", true)
			if _, err := r.store.Rollback(held.Client{Who: "me"}, r.store.Current().Number); err != nil {
				t.Fatal(err)
			}
			again("after a rollback", false)
			if err := say(old, "still here"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestClientAuthorities: authorities of clients are rotated like certificates, and
// while there are none nobody gets in where a certificate is required.
func TestClientAuthorities(t *testing.T) {
	r := start(t, true, true)
	one, two := mgmttest.Root(t, "one"), mgmttest.Root(t, "two")
	alice := one.Issue(t, mgmttest.Spec{Name: "alice", Client: true}).TLS()
	r.commit(map[string][]byte{"certificates/web": r.server("a.example")})
	cache := tls.NewLRUClientSessionCache(4)
	try := func(what string, ok bool, who ...tls.Certificate) {
		t.Helper()
		_, err := r.dial(&tls.Config{ServerName: "a.example", ClientSessionCache: cache,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(who) == 0 {
					return &tls.Certificate{}, nil
				}
				return &who[0], nil
			}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("no authorities", false, alice)
	if status, text := r.get("/readyz"); status != 503 || !strings.Contains(text, "no authorities") {
		t.Errorf("%d %s", status, text)
	}
	r.commit(map[string][]byte{"authorities/clients": one.Cert()})
	try("nobody", false)
	try("alice", true, alice)
	try("alice again, resumed", true, alice)
	r.commit(map[string][]byte{"authorities/clients": two.Cert()})
	try("alice without her authority", false, alice)
	r.commit(map[string][]byte{"authorities/clients": append(slices.Clone(one.Cert()), two.Cert()...)})
	try("alice with both", true, alice)
	r.commit(map[string][]byte{"authorities/clients": nil})
	try("alice, and no authorities again", false, alice)
}

// TestRevocation: a client in a revocation list is refused from the commit on, with a new
// handshake and with a ticket, and so are all when the list has ended; the log, the metrics
// and the generation say so. A connection goes on.
func TestRevocation(t *testing.T) {
	r := start(t, true, true)
	ca := mgmttest.Root(t, "one")
	alice, bob := ca.Issue(t, mgmttest.Spec{Name: "alice", Client: true}), ca.Issue(t, mgmttest.Spec{Name: "bob", Client: true})
	r.commit(map[string][]byte{"certificates/web": r.server("a.example"), "authorities/clients": ca.Cert()})
	caches := map[*mgmttest.Pair]tls.ClientSessionCache{alice: tls.NewLRUClientSessionCache(4), bob: tls.NewLRUClientSessionCache(4)}
	try := func(what string, ok bool, who *mgmttest.Pair, fresh bool) *tls.Conn {
		t.Helper()
		cfg := &tls.Config{ServerName: "a.example", Certificates: []tls.Certificate{who.TLS()}, ClientSessionCache: caches[who]}
		if fresh {
			cfg.ClientSessionCache = nil
		}
		c, err := r.dial(cfg)
		if (err == nil) != ok {
			t.Errorf("%s: %v", what, err)
		}
		return c
	}
	open := try("alice", true, alice, false)
	r.commit(map[string][]byte{"crls/clients": ca.CRL(t, time.Now().Add(time.Hour), alice)})
	if err := say(open, "still"); err != nil {
		t.Error(err)
	}
	try("alice, revoked", false, alice, true)
	try("alice, revoked, with a ticket", false, alice, false)
	try("bob", true, bob, false)
	try("bob, with a ticket", true, bob, false)
	if _, text := r.get("/v1/certificates"); !strings.Contains(text, `"crl":{"next_update":`) || !strings.Contains(text, `"revoked":1}`) {
		t.Error(text)
	}
	// Authorities that are replaced keep the list.
	two := mgmttest.Root(t, "two")
	r.commit(map[string][]byte{"authorities/clients": append(slices.Clone(ca.Cert()), two.Cert()...)})
	try("alice, with authorities changed", false, alice, true)
	try("of an authority without list", false, two.Issue(t, mgmttest.Spec{Name: "carol", Client: true}), true)
	next := time.Now().Add(2 * time.Second).Truncate(time.Second)
	r.commit(map[string][]byte{"crls/clients": append(ca.CRL(t, next), two.CRL(t, next)...)})
	try("alice, pardoned", true, alice, true)
	time.Sleep(time.Until(next))
	try("bob, with a list that has ended", false, bob, true)
	r.commit(map[string][]byte{"crls/clients": nil})
	try("bob, without lists", true, bob, true)
	_, text := r.get("/metrics")
	if !strings.Contains(text, `ampoule_tls_handshakes_total{version="TLSv1.3",outcome="revoked"} 5`) {
		t.Error(text)
	}
	for _, want := range []string{`client refused client=127.0.0.1:`, `result=revoked subject="CN=alice" issuer="CN=one" serial=` + alice.X.SerialNumber.Text(16),
		`result=list-missing subject="CN=carol"`, `result=list-expired subject="CN=bob"`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %s in\n%s", want, r.log.String())
		}
	}
}

// TestUnasked: authorities that nobody is asked about are not silently without effect.
func TestUnasked(t *testing.T) {
	r := start(t, false, false)
	r.commit(map[string][]byte{"certificates/web": r.server("a.example"), "authorities/clients": mgmttest.Root(t, "x").Cert()})
	if _, err := r.dial(&tls.Config{ServerName: "a.example"}); err != nil || !strings.Contains(r.log.String(), "no [tls.clients]") {
		t.Errorf("%v\n%s", err, r.log)
	}
}

// TestNoPlane: a configuration that has the adapter and no plane does not start.
func TestNoPlane(t *testing.T) {
	if _, err := (Certificates{}).Open(&appliance.Env{}); err == nil {
		t.Error("certificates from nowhere")
	}
}

// TestMetrics drives one handshake of each outcome, and reads what the plane shows.
func TestMetrics(t *testing.T) {
	r := start(t, false, false)
	r.commit(map[string][]byte{"certificates/web": r.server("a.example")})
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{ServerName: "a.example", MaxVersion: v, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		for range 2 {
			if c, err := r.dial(cfg); err != nil {
				t.Fatal(err)
			} else {
				c.Close()
			}
		}
		if _, err := r.dial(&tls.Config{ServerName: "a.example", MaxVersion: v, RootCAs: mgmttest.Pool(mgmttest.Root(t, "x"))}); err == nil {
			t.Error("a stranger's certificate is good")
		}
	}
	if _, err := r.dial(&tls.Config{ServerName: "a.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := []string{`ampoule_tls_connections 0`, `ampoule_tls_connections_total{fate="accepted"} 8`, `ampoule_tls_bytes_total{direction="from_client"} 24`,
		`ampoule_tls_bytes_total{direction="to_client"} 24`, `ampoule_tls_generation 1`, `ampoule_tls_backend_up{backend="[0-9.:]+"} 1`,
		`ampoule_tls_backend_connections_total{backend="[0-9.:]+"} 4`,
		`ampoule_certificate_expiry_timestamp_seconds{slot="web",sha256="[0-9a-f]{64}",generation="1"} \d+`}
	for outcome, versions := range map[string]string{"full": "TLSv1.2 TLSv1.3", "resumed": "TLSv1.2 TLSv1.3", "rejected": "TLSv1.2 TLSv1.3",
		"refused": "unknown", "closed": "unknown"} {
		for _, v := range strings.Fields(versions) {
			want = append(want, fmt.Sprintf(`ampoule_tls_handshakes_total{version="%s",outcome="%s"} 1`, v, outcome))
		}
	}
	var lacks []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, text := r.get("/metrics")
		lacks = nil
		for _, line := range want {
			if !regexp.MustCompile(`(?m)^` + strings.NewReplacer("{slot", `\{slot`, "{version", `\{version`, "{fate", `\{fate`, "{direction", `\{direction`,
				"{backend", `\{backend`, "} ", `\} `).Replace(line) + `$`).MatchString(text) {
				lacks = append(lacks, line)
			}
		}
		if len(lacks) == 0 {
			return
		}
		if bytes.Contains([]byte(text), []byte("PRIVATE")) {
			t.Fatal("a secret is in the metrics")
		}
	}
	_, text := r.get("/metrics")
	t.Errorf("not within 10 s: %s\n%s", strings.Join(lacks, "\n"), text)
}
