package rotation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/workspace"
)

// route is one of the contract's.
type route struct{ method, path, role string }

// routes reads those of the contract (libos/mgmt/openapi.json).
func routes(t *testing.T) (all []route) {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "libos", "mgmt", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var contract struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &contract); err != nil {
		t.Fatal(err)
	}
	for path, methods := range contract.Paths {
		for method, m := range methods {
			var about struct {
				Role string `json:"x-role"`
			}
			if json.Unmarshal(m, &about) == nil && about.Role != "" {
				all = append(all, route{strings.ToUpper(method), strings.ReplaceAll(path, "{name}", "heap"), about.Role})
			}
		}
	}
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(all) < 20 {
		t.Fatalf("%d routes in the contract", len(all))
	}
	return all
}

// Access tries every route of a booted appliance's management plane with every kind of
// credentials: nobody but an operator changes anything. ca is the authority of clients;
// the image has pprof and capture, and lets some 200 handshakes begin in a second.
func Access(t *testing.T, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string, ca *mgmttest.Pair) {
	t.Helper()
	client := func(s mgmttest.Spec) *mgmttest.Pair { s.Client = true; return ca.Issue(t, s) }
	const operate = "ampoule-operate"
	revoked := client(mgmttest.Spec{Name: "revoked", Unit: operate})
	op := NewPlane(t, dial, addr, client(mgmttest.Spec{Name: "op", Unit: operate}))
	sum := sha256.Sum256(revoked.X.Raw)
	if err := op.change("PUT", "/v1/staged/revoked/"+hex.EncodeToString(sum[:]), "", ""); err != nil {
		t.Fatal(err)
	}
	if err := op.Commit(); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		t.Helper()
		var all strings.Builder
		for _, path := range []string{"/v1/certificates", "/v1/staged", "/v1/log/level"} {
			status, text, err := op.Do("GET", path, "", "")
			if err != nil || status != 200 {
				t.Fatalf("%s: %v, %d %s", path, err, status, text)
			}
			all.WriteString(text)
		}
		return all.String()
	}
	before := state()
	for _, c := range []struct {
		what   string
		who    *mgmttest.Pair
		read   int // status of what takes role read; 0: no connection
		change int
		code   string
	}{
		{"no certificate", nil, 0, 0, ""},
		{"another authority's", mgmttest.Root(t, "others").Issue(t, mgmttest.Spec{Name: "x", Unit: operate, Client: true}), 0, 0, ""},
		{"a self-signed one", (*mgmttest.Pair)(nil).Issue(t, mgmttest.Spec{Name: "x", Unit: operate, Client: true}), 0, 0, ""},
		{"one that has expired", client(mgmttest.Spec{Name: "x", Unit: operate, Until: time.Now().Add(-time.Minute)}), 0, 0, ""},
		{"one that is revoked", revoked, 401, 401, "not-welcome"},
		{"one without a role", client(mgmttest.Spec{Name: "x"}), 403, 403, "no-role"},
		{"a reader's", client(mgmttest.Spec{Name: "x", Unit: "ampoule-read"}), 200, 403, "no-permission"},
	} {
		p := NewPlane(t, dial, addr, c.who)
		for _, r := range routes(t) {
			want := c.read
			if want == 200 && r.path == "/v1/crash" {
				want = 404 // there is none
			}
			if r.role == "operate" {
				want = c.change
			}
			status, text, err := p.Do(r.method, r.path, fmt.Sprintf("%q", fmt.Sprint(op.Generation())), "debug")
			if want == 0 && err == nil {
				t.Errorf("%s: %s %s: %d %s", c.what, r.method, r.path, status, text)
			}
			if want != 0 && (err != nil || status != want && !(want == 200 && status == 503) || want != 404 && status > 400 && status < 500 && !strings.Contains(text, c.code)) {
				t.Errorf("%s: %s %s: %v, %d %s; want %d %s", c.what, r.method, r.path, err, status, text, want, c.code)
			}
		}
	}
	if after := state(); after != before {
		t.Errorf("something has changed: %s\nbefore: %s", after, before)
	}
}
