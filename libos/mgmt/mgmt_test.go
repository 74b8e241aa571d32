package mgmt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/capture"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/mgmt/profile"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/recent"
)

// rig is a management plane on the loopback, with its clients.
type rig struct {
	t      *testing.T
	server *mgmt.Server
	addr   string
	log    *mgmttest.Buffer
	now    func() time.Time
	cfg    *mgmt.Config
	*contract

	ca, other                          *mgmttest.Pair
	operator, reader, nobody, stranger *mgmttest.Pair
}

type frames struct{}

func (frames) SetTap(func([]byte, int, bool)) {}

// start starts a plane; change may change its configuration.
func start(t *testing.T, change func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, log: &mgmttest.Buffer{}, now: time.Now, contract: readContract(t), ca: mgmttest.Root(t, "clients"), other: mgmttest.Root(t, "others")}
	client := func(ca *mgmttest.Pair, name, unit string) *mgmttest.Pair {
		return ca.Issue(t, mgmttest.Spec{Name: name, Unit: unit, Client: true})
	}
	r.operator, r.reader = client(r.ca, "alice", "ampoule-operate"), client(r.ca, "bob", "ampoule-read")
	r.nobody, r.stranger = client(r.ca, "carol", ""), client(r.other, "mallory", "ampoule-operate")
	r.cfg = &mgmt.Config{Clients: string(r.ca.Cert()), Own: own.SelfSigned{}, Slots: 4, Connections: 16, Handshakes: 1000,
		Parts: []mgmt.Part{profile.Part{}, capture.Part{}}}
	if change != nil {
		change(r)
	}
	lines := recent.New(r.log, 16<<10)
	p, err := r.cfg.Open(&plane.Host{Appliance: "test", Hostname: "edge-7", Platform: "host", Build: "b", Configuration: "c",
		Listen: func(string, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		Log:    telemetry.New(lines, r.now, telemetry.Info), Recent: lines, Rand: rand.Reader, Now: func() time.Time { return r.now() },
		Up: func() time.Duration { return time.Minute }, Memory: 32 << 20, Frames: frames{}})
	if err != nil {
		t.Fatal(err)
	}
	r.server = p.(*mgmt.Server)
	r.addr = r.server.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// as is a client with a certificate, or without.
func (r *rig) as(p *mgmttest.Pair) *http.Client {
	cfg := &tls.Config{InsecureSkipVerify: true} // whom it talks to is checked where it matters
	if p != nil {
		// Even one that the server does not ask for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c := p.TLS()
			return &c, nil
		}
	}
	tr := &http.Transport{TLSClientConfig: cfg}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// do makes a request and returns the status and the body.
func (r *rig) do(c *http.Client, method, path, ifMatch string, body []byte) (int, string) {
	r.t.Helper()
	status, text, err := r.try(c, method, path, ifMatch, body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, text
}

func (r *rig) try(c *http.Client, method, path, ifMatch string, body []byte) (int, string, error) {
	req, err := http.NewRequest(method, "https://"+r.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil {
		if err := r.contract.check(r.t, method, path, res, string(text)); err != nil {
			r.t.Errorf("%s %s: %d %s\nis not as the contract has it: %v", method, path, res.StatusCode, text, err)
		}
	}
	return res.StatusCode, string(text), err
}

// generation is the number of the one in force.
func (r *rig) generation() uint64 { return r.server.Certificates().Current().Number }

func TestStatus(t *testing.T) {
	r := start(t, nil)
	c := r.as(r.reader)
	if status, body := r.do(c, "GET", "/healthz", "", nil); status != 200 || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	status, body := r.do(c, "GET", "/v1/status", "", nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil {
		t.Fatalf("%d %v: %s", status, err, body)
	}
	for k, want := range map[string]any{"hostname": "edge-7", "build": "b", "configuration": "c", "persisted": false, "ready": true, "generation": 0.0, "role": "read"} {
		if got[k] != want {
			t.Errorf("%s: %v, want %v", k, got[k], want)
		}
	}
	missing := ""
	r.server.Ready(func() string { return missing })
	for _, missing = range []string{"", "zones"} {
		want := 200
		if missing != "" {
			want = 503
		}
		if status, body := r.do(c, "GET", "/readyz", "", nil); status != want || !strings.Contains(body, missing) {
			t.Errorf("missing %q: %d %s", missing, status, body)
		}
	}
}

// TestBootstrap: the log has the SHA-256 of the certificate that clients see.
func TestBootstrap(t *testing.T) {
	r := start(t, nil)
	cert := r.operator.TLS()
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)
	if log := r.log.String(); !strings.Contains(log, "sha256="+hex.EncodeToString(sum[:])) {
		t.Errorf("the log does not have %x: %s", sum, log)
	}
}

// TestRotate replaces a certificate, and the plane's own, step by step.
func TestRotate(t *testing.T) {
	r := start(t, nil)
	c := r.as(r.operator)
	root := mgmttest.Root(t, "servers")
	one := root.Issue(t, mgmttest.Spec{Name: "one", Hosts: []string{"ns1.example.org"}})
	two := root.Issue(t, mgmttest.Spec{Name: "two", Hosts: []string{"edge-7"}})
	for _, s := range []struct {
		method, path, ifMatch string
		body                  []byte
		status                int
		code                  string // or another text in the body
		generation            uint64
	}{
		{"POST", "/v1/staged/commit", `"0"`, nil, 409, "nothing-staged", 0},
		{"PUT", "/v1/staged/certificates/dns", "", []byte("nonsense"), 422, "pem-none", 0},
		{"PUT", "/v1/staged/certificates/Dns", "", one.Bundle(t, root), 422, "slot-name", 0},
		{"PUT", "/v1/staged/certificates/dns", "", one.Bundle(t, root), 200, `"name":"dns"`, 0},
		{"PUT", "/v1/staged/certificates/management", "", two.Bundle(t, root), 200, `"name":"management"`, 0},
		{"POST", "/v1/staged/validate", "", nil, 200, `"staged"`, 0},
		{"POST", "/v1/staged/commit", "", nil, 428, "precondition", 0},
		{"POST", "/v1/staged/commit", "0", nil, 428, "precondition", 0},
		{"POST", "/v1/staged/commit", `"7"`, nil, 412, "generation-conflict", 0},
		{"POST", "/v1/staged/commit", `"0"`, nil, 200, `"generation":1`, 1},
		{"GET", "/v1/certificates", "", nil, 200, "ns1.example.org", 1},
		{"DELETE", "/v1/staged/certificates/dns", "", nil, 200, `"remove":true`, 1},
		{"POST", "/v1/staged/abort", "", nil, 204, "", 1},
		{"POST", "/v1/staged/abort", "", nil, 409, "nothing-staged", 1},
		{"DELETE", "/v1/staged/certificates/dns", "", nil, 200, "", 1},
		{"POST", "/v1/staged/commit", `"1"`, nil, 200, `"generation":2`, 2},
		{"POST", "/v1/certificates/rollback", `"1"`, nil, 412, "generation-conflict", 2},
		{"POST", "/v1/certificates/rollback", `"2"`, nil, 200, "ns1.example.org", 3},
		{"DELETE", "/v1/staged/certificates/management", "", nil, 200, "", 3},
		{"POST", "/v1/staged/commit", `"3"`, nil, 422, "locks-out", 3},
		{"POST", "/v1/staged/abort", "", nil, 204, "", 3},
	} {
		status, body := r.do(c, s.method, s.path, s.ifMatch, s.body)
		if status != s.status || !strings.Contains(body, s.code) || r.generation() != s.generation {
			t.Errorf("%s %s If-Match %s: %d %s; generation %d\nwant %d %s; generation %d", s.method, s.path, s.ifMatch, status, body, r.generation(), s.status, s.code, s.generation)
		}
	}
	if got := r.server.Certificates().Current().Certificates["management"].Leaf(); !got.Equal(two.X) {
		t.Error("the plane's own certificate is not the one committed")
	}
	if status, _ := r.do(r.as(r.operator), "GET", "/healthz", "", nil); status != 200 {
		t.Error("a new connection fails")
	}
	for _, line := range []string{`audit management who=alice/`, `what=commit result=done old=0 new=1`, `what=rollback result=generation-conflict slot="" old=2 new=2`,
		`what=rollback result=done old=2 new=3`, `what="stage certificates/dns" result=pem-none`} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log lacks %s:\n%s", line, r.log)
		}
	}
	if strings.Contains(r.log.String(), "PRIVATE KEY") {
		t.Error("a private key is in the log")
	}
}
