package https

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/appliances/http/h2"
	"ampoule/appliances/http/httpd"
	"ampoule/libos/appliance"
	"ampoule/libos/config/site"
	"ampoule/libos/memory"
	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/netif"
	"ampoule/libos/telemetry"
)

// ports is a network on loopback; it remembers where the ports of the server are.
type ports struct {
	appliance.Network
	mu sync.Mutex
	at map[string]string
}

func (p *ports) Listen(network, address string) (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err == nil {
		p.mu.Lock()
		p.at[address] = l.Addr().String()
		p.mu.Unlock()
	}
	return l, err
}

func (p *ports) SetFastPath(netif.FastPath) {}

// rig is a server with a management plane and a certificate.
type rig struct {
	*ports
	t     *testing.T
	root  *mgmttest.Pair
	plane *mgmt.Server
	log   *mgmttest.Buffer
	*listener
}

// env is what the appliance is given.
func (r *rig) env(p plane.Plane) *appliance.Env {
	return &appliance.Env{Net: r.ports, Log: telemetry.New(r.log, time.Now, telemetry.Debug), Rand: rand.Reader, Now: time.Now, Management: p}
}

// heard is a Secure that remembers its listener.
type heard struct {
	*Config
	r *rig
}

func (h heard) Listen(env *appliance.Env, cfg *httpd.Config, m *memory.Guard) (net.Listener, error) {
	l, err := h.Config.Listen(env, cfg, m)
	if err == nil {
		h.r.listener = l.(*listener)
	}
	return l, err
}

var large = strings.Repeat("0123456789abcdef", 20<<10)

// sites has two hosts.
func sites(t testing.TB) site.Table {
	t.Helper()
	page := func(path, body string) site.Resource {
		return site.Resource{Path: path, Status: 200, Type: "text/plain", Fields: "X-Own: 1\r\n", Variants: []site.Variant{{Tag: "t", Body: body}}}
	}
	table, err := site.Compile(&site.Site{Other: -1, Hosts: []site.Host{
		{Names: []string{"example.org", "www.example.org"}, Resources: []site.Resource{page("/", "first"), page("/large", large), page("/empty", ""),
			{Path: "/old", Status: 301, Location: "/new", KeepQuery: true}}},
		{Names: []string{"*.example.net"}, Resources: []site.Resource{page("/", "second")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// start starts a server; change may change its configuration.
func start(t *testing.T, change func(*httpd.Config, *Config)) *rig {
	t.Helper()
	r := &rig{ports: &ports{at: map[string]string{}}, t: t, root: mgmttest.Root(t, "root"), log: &mgmttest.Buffer{}}
	env := r.env(nil)
	p, err := (&mgmt.Config{Clients: string(mgmttest.Root(t, "clients").Cert()), Own: own.SelfSigned{}, Slots: 4, Connections: 2, Handshakes: 2, Port: 9443}).Open(
		&plane.Host{Hostname: "x", Listen: r.ports.Listen, Log: env.Log, Rand: rand.Reader, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	env.Management, r.plane = p, p.(*mgmt.Server)
	r.commit("web", "example.org", "www.example.org", "*.example.net")
	secure := &Config{Port: 443, HTTP2: h2.Protocol{}, Connections: 100, Handshakes: 1000, Handshake: 5 * time.Second}
	cfg := httpd.Config{Port: 80, Site: sites(t), Idle: 5 * time.Second, Read: 5 * time.Second, Write: 5 * time.Second, Secure: heard{secure, r}}
	if change != nil {
		change(&cfg, secure)
	}
	a, err := httpd.New(cfg)(env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if strings.Contains(r.log.String(), "panic") {
			t.Error(r.log)
		}
	})
	return r
}

// commit puts a certificate for some hosts into a slot.
func (r *rig) commit(slot string, hosts ...string) {
	r.t.Helper()
	store := r.plane.Certificates()
	bundle := r.root.Issue(r.t, mgmttest.Spec{Name: slot, Hosts: hosts}).Bundle(r.t, r.root)
	if err := store.Stage("me", certs.KindCertificate, slot, bundle, false); err != nil {
		r.t.Fatal(err)
	}
	if _, err := store.Commit(certs.Client{Who: "me"}, store.Current().Number); err != nil {
		r.t.Fatal(err)
	}
}

// client asks over TLS, by HTTP/2 or HTTP/1.1.
func (r *rig) client(two bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!two)
	protocols.SetHTTP2(two)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{RootCAs: mgmttest.Pool(r.root)},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, "tcp", r.at[":"+port])
		}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask gets something and returns the response with its body.
func ask(t *testing.T, c *http.Client, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		q.Header.Set(fields[i], fields[i+1])
	}
	if host := q.Header.Get("Host"); host != "" {
		q.Host = host
	}
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

// TestServe asks over both protocols.
func TestServe(t *testing.T) {
	r := start(t, func(_ *httpd.Config, c *Config) { c.HSTS = "max-age=31536000" })
	for _, two := range []bool{false, true} {
		c := r.client(two)
		for _, q := range []struct {
			method, url string
			status      int
			body        string
		}{
			{"GET", "https://example.org/", 200, "first"},
			{"GET", "https://a.example.net/", 200, "second"},
			{"HEAD", "https://example.org/large", 200, ""},
			{"GET", "https://example.org/large", 200, large},
			{"GET", "https://example.org/empty", 200, ""},
			{"GET", "https://example.org/old?a=b", 301, ""},
			{"OPTIONS", "https://example.org/", 204, ""},
		} {
			resp, body := ask(t, c, q.method, q.url)
			if resp.StatusCode != q.status || body != q.body || resp.Header.Get("Strict-Transport-Security") != "max-age=31536000" || resp.Header.Get("Date") == "" {
				t.Errorf("HTTP/%d: %s %s: %d %.30q %v", resp.ProtoMajor, q.method, q.url, resp.StatusCode, body, resp.Header)
			}
			if resp.ProtoMajor == 2 != two {
				t.Errorf("it is HTTP/%d", resp.ProtoMajor)
			}
		}
	}
}
