package mgmt_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/mgmttest"
)

// TestAccess tries every route with every kind of credentials: nobody but an
// operator changes anything.
func TestAccess(t *testing.T) {
	var revoked, both, wrongUse, old, early *mgmttest.Pair
	r := start(t, func(r *rig) {
		issue := func(s mgmttest.Spec) *mgmttest.Pair {
			s.Client = true
			return r.ca.Issue(t, s)
		}
		revoked = issue(mgmttest.Spec{Name: "revoked", Unit: "ampoule-operate"})
		old = issue(mgmttest.Spec{Name: "old", Unit: "ampoule-operate", Until: time.Now().Add(-time.Minute)})
		early = issue(mgmttest.Spec{Name: "early", Unit: "ampoule-operate", From: time.Now().Add(time.Hour)})
		both = issue(mgmttest.Spec{Name: "both", Change: func(x *x509.Certificate) {
			x.Subject.OrganizationalUnit = []string{"ampoule-operate", "ampoule-read"}
		}})
		wrongUse = r.ca.Issue(t, mgmttest.Spec{Name: "server", Unit: "ampoule-operate", Hosts: []string{"x"}})
	})
	before := r.as(revoked) // a connection from before it was revoked
	if status, body := r.do(before, "GET", "/healthz", "", nil); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	op := r.as(r.operator)
	sum := sha256.Sum256(revoked.X.Raw)
	r.do(op, "PUT", "/v1/staged/revoked/"+hex.EncodeToString(sum[:]), "", nil)
	if status, body := r.do(op, "POST", "/v1/staged/commit", `"0"`, nil); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	self := (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "self", Unit: "ampoule-operate", Client: true})
	now := r.generation()
	for _, c := range []struct {
		what   string
		client *http.Client
		read   int // status of what takes role read; 0: no connection
		code   string
		change int // and of what takes role operate
	}{
		{"no certificate", r.as(nil), 0, "", 0},
		{"another authority's", r.as(r.stranger), 0, "", 0},
		{"a self-signed one", r.as(self), 0, "", 0},
		{"one that has expired", r.as(old), 0, "", 0},
		{"one that is not good yet", r.as(early), 0, "", 0},
		{"one for servers", r.as(wrongUse), 0, "", 0},
		{"one that is revoked", r.as(revoked), 401, "not-welcome", 401},
		{"one that was revoked since", before, 401, "not-welcome", 401},
		{"one without a role", r.as(r.nobody), 403, "no-role", 403},
		{"a reader's", r.as(r.reader), 200, "no-permission", 403},
		{"one with both roles", r.as(both), 200, "no-permission", 403},
	} {
		for _, route := range r.server.Routes() {
			path := strings.ReplaceAll(route.Path, "{name}", "heap")
			status, body, err := r.try(c.client, route.Method, path, `"1"`, []byte("debug"))
			want := c.read
			if want == 200 && route.Path == "/v1/crash" {
				want = 404 // there is none
			}
			if route.Role == mgmt.Operate {
				want = c.change
			}
			if want == 0 && err == nil {
				t.Errorf("%s: %s %s: %d %s", c.what, route.Method, path, status, body)
			}
			if want != 0 && (err != nil || status != want || want != 200 && want != 404 && !strings.Contains(body, c.code)) {
				t.Errorf("%s: %s %s: %v, %d %s; want %d %s", c.what, route.Method, path, err, status, body, want, c.code)
			}
		}
	}
	if _, _, staged := r.server.Certificates().Staged(); len(staged) != 0 || r.generation() != now {
		t.Errorf("something has changed: generation %d, staged %v", r.generation(), staged)
	}
	if level := strings.TrimSpace(second(r.do(op, "GET", "/v1/log/level", "", nil))); level != "info" {
		t.Errorf("the level is %s", level)
	}
	if !strings.Contains(r.log.String(), `result=no-permission`) {
		t.Error("attempts of a reader are not in the log")
	}
}

func second(_ int, s string) string { return s }

// TestGrants: with a list of clients, that decides, whatever certificates say.
func TestGrants(t *testing.T) {
	r := start(t, func(r *rig) {
		r.cfg.Grants = []mgmt.Grant{{SHA256: sha256.Sum256(r.nobody.X.Raw), Role: mgmt.Operate}, {SHA256: sha256.Sum256(r.reader.X.Raw), Role: mgmt.Read}}
	})
	for _, c := range []struct {
		client      *mgmttest.Pair
		read, write int
	}{{r.nobody, 200, 409}, {r.reader, 200, 403}, {r.operator, 403, 403}} {
		if status, _ := r.do(r.as(c.client), "GET", "/healthz", "", nil); status != c.read {
			t.Errorf("%s reads: %d", c.client.X.Subject, status)
		}
		if status, _ := r.do(r.as(c.client), "POST", "/v1/staged/abort", "", nil); status != c.write {
			t.Errorf("%s changes: %d", c.client.X.Subject, status)
		}
	}
}

// TestRoutes: what there is not, and how it may not be asked for.
func TestRoutes(t *testing.T) {
	r := start(t, nil)
	op := r.as(r.operator)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "no-route"}, {"GET", "/v1/status/", 404, "no-route"}, {"GET", "//healthz", 404, "no-route"},
		{"GET", "/V1/STATUS", 404, "no-route"}, {"GET", "/v1/../healthz", 404, "no-route"}, {"GET", "/%68ealthz", 404, "no-route"},
		{"POST", "/healthz", 405, "no-method"}, {"PUT", "/v1/staged/commit", 405, "no-method"}, {"TRACE", "/v1/status", 405, "no-method"},
		{"PUT", "/v1/staged/certificates/a/b", 404, "no-route"}, {"PUT", "/v1/staged/certificates/", 404, "no-route"},
		{"PUT", "/v1/staged/certificates/a%2fb", 422, "slot-name"}, {"GET", "/v1/pprof/cmdline", 404, "no-profile"},
		{"GET", "/v1/log?lines=0", 400, "bad-parameter"}, {"GET", "/v1/log?lines=1&lines=2", 400, "bad-parameter"},
		{"GET", "/v1/log?x=1", 400, "bad-parameter"}, {"PUT", "/v1/log/level", 422, "no-level"},
		{"GET", "/v1/crash", 404, "no-crash"}, {"GET", "/v1/capture", 404, "no-capture"}, {"POST", "/v1/capture?bytes=1", 400, "bad-parameter"},
		{"POST", "/v1/capture?bytes=5000000", 400, "bad-parameter"}, {"POST", "/v1/capture?seconds=x", 400, "bad-parameter"},
		{"HEAD", "/healthz", 200, ""}, {"GET", "/v1/log?lines=1", 200, "audit"}, {"GET", "/v1/pprof/heap", 200, ""},
		{"GET", "/v1/pprof/goroutine", 200, ""}, {"POST", "/v1/capture?port=53&seconds=5", 201, "started"},
		{"GET", "/v1/capture", 200, ""}, {"DELETE", "/v1/capture", 204, ""}, {"DELETE", "/v1/capture", 404, "no-capture"},
	} {
		if status, body := r.do(op, c.method, c.path, "", nil); status != c.status || !strings.Contains(body, c.code) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, status, body, c.status, c.code)
		}
	}
}

// TestExpiry: a connection that stands does not outlive the client's certificate,
// and an authority that has expired keeps nothing from starting.
func TestExpiry(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	r := start(t, func(r *rig) {
		r.now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	c := r.as(r.operator)
	if status, _ := r.do(c, "GET", "/healthz", "", nil); status != 200 {
		t.Errorf("%d", status)
	}
	mu.Lock()
	now = now.Add(48 * time.Hour)
	mu.Unlock()
	if status, body := r.do(c, "GET", "/healthz", "", nil); status != 401 || !strings.Contains(body, "not-welcome") {
		t.Errorf("%d %s", status, body)
	}
	later := start(t, func(r *rig) { r.now = func() time.Time { return now } })
	if _, _, err := later.try(later.as(later.operator), "GET", "/healthz", "", nil); err == nil {
		t.Error("a client that has expired is served")
	}
}
