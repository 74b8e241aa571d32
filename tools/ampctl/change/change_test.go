package change_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/plane"
	"ampoule/tools/ampctl/change"
	"ampoule/tools/ampctl/client"
	"ampoule/tools/ampctl/planetest"
)

// rig is a fleet, and what its clients do to requests.
type rig struct {
	*planetest.Fleet
	t        *testing.T
	operator *mgmttest.Pair
	faults   map[string]fault // by name of appliance
}

// fault does something to a request on its way to p, or nothing.
type fault func(p *planetest.Plane, under http.RoundTripper, r *http.Request) (*http.Response, error)

func newRig(t *testing.T, n int, configure func(i int, o *planetest.Options)) *rig {
	t.Helper()
	r := &rig{Fleet: planetest.NewFleet(t, n, configure), t: t, faults: map[string]fault{}}
	r.operator = r.Client(t, "alice", "ampoule-operate")
	return r
}

// targets are clients of the fleet.
func (r *rig) targets() (all []change.Target) {
	for _, p := range r.Planes {
		c := client.New(client.Config{Address: p.Addr, ServerName: p.Name + ".example.org", Roots: mgmttest.Pool(r.CA),
			Certificate: r.operator.TLS(), Timeout: 5 * time.Second,
			Wrap: func(under http.RoundTripper) http.RoundTripper {
				return planetest.Hook{Under: under, Do: func(under http.RoundTripper, q *http.Request) (*http.Response, error) {
					if f := r.faults[p.Name]; f != nil {
						return f(p, under, q)
					}
					return under.RoundTrip(q)
				}}
			}})
		r.t.Cleanup(c.Close)
		all = append(all, change.Target{Name: p.Name, Client: c})
	}
	return all
}

// dot is a change of the slot dot.
func dot(t *testing.T, name string, hosts ...string) client.Change {
	t.Helper()
	root := mgmttest.Root(t, "servers")
	if len(hosts) == 0 {
		hosts = []string{"dot.example.org"}
	}
	return client.Change{Entry: client.Entry{Kind: client.Certificates, Name: "dot"},
		Data: root.Issue(t, mgmttest.Spec{Name: name, Hosts: hosts}).Bundle(t, root)}
}

// rotate makes changes with options.
func (r *rig) rotate(o change.Options, all ...client.Change) []change.Report {
	r.t.Helper()
	o.Parallel = 8
	reports := change.Run(r.t.Context(), r.targets(), all, o)
	for _, x := range reports {
		r.t.Logf("%s: %s %s %v", x.Appliance, x.Outcome, span(x), x.Problem)
		if strings.Contains(fmt.Sprintf("%+v %v", x, x.Problem), "PRIVATE") {
			r.t.Error("a private key is in the report")
		}
	}
	return reports
}

func span(r change.Report) string {
	text := func(n *uint64) string {
		if n == nil {
			return "?"
		}
		return fmt.Sprint(*n)
	}
	return text(r.Before) + "-" + text(r.After)
}

// want compares outcomes, generations, and what the planes have in slot dot.
func (r *rig) want(reports []change.Report, class client.Class, all ...string) {
	r.t.Helper()
	if got := change.Class(reports); got != class {
		r.t.Errorf("the class is %d, want %d", got, class)
	}
	for i, x := range reports {
		p := r.Planes[i]
		if got := got(x, p); got != all[i] {
			r.t.Errorf("%s: %s, want %s (%v)", p.Name, got, all[i], x.Notes)
		}
		if n := p.Staged(); n != 0 && !p.Stopped() {
			r.t.Errorf("%s: %d values are still staged", p.Name, n)
		}
	}
}

// is says whether a request is one of a step.
func is(q *http.Request, step string) bool {
	switch step {
	case "stage":
		return q.Method == "PUT"
	case "staged":
		return q.Method == "GET" && strings.HasSuffix(q.URL.Path, "/staged")
	}
	return strings.HasSuffix(q.URL.Path, "/"+step)
}

var errLost = fmt.Errorf("read: %w", syscall.ECONNRESET)

// dies is an appliance that ends before it has a request of a step.
func dies(step string) fault {
	return func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		if is(q, step) {
			p.Stop()
		}
		return under.RoundTrip(q)
	}
}

// loses has a request of a step done and its answer lost.
func loses(step string) fault {
	return func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		res, err := under.RoundTrip(q)
		if is(q, step) && err == nil {
			res.Body.Close()
			return nil, errLost
		}
		return res, err
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, nil)
	var steps []string
	reports := r.rotate(change.Options{Progress: func(step string, done, of int) {
		steps = append(steps, fmt.Sprintf("%s %d/%d", step, done, of))
	}}, dot(t, "one"))
	r.want(reports, 0, "committed 0-1; 1 one", "committed 0-1; 1 one", "committed 0-1; 1 one", "committed 0-1; 1 one")
	if !slices.Contains(steps, "staged 4/4") || steps[len(steps)-1] != "committed 4/4" {
		t.Errorf("progress: %v", steps)
	}
	reports = r.rotate(change.Options{Trial: true}, dot(t, "two"))
	r.want(reports, 0, "validated 1-1; 1 one", "validated 1-1; 1 one", "validated 1-1; 1 one", "validated 1-1; 1 one")
}

// TestOneFails: whatever goes wrong on one of three, at whatever step, the others
// are as they were, or the report says that they are not.
func TestOneFails(t *testing.T) {
	required := func(i int, o *planetest.Options) {
		if i == 1 {
			o.Required = []certs.Required{{Slot: "dot", Hosts: []string{"other.example.org"}}}
		}
	}
	unchanged, back := "unchanged 0-0; 0 ", "rolled-back 0-2; 2 "
	for _, c := range []struct {
		what      string
		configure func(int, *planetest.Options)
		fault     fault
		others    string
		second    []string
		class     client.Class
	}{
		{"is not there", nil, dies("status"), unchanged, []string{"unchanged ?-? connection-refused; 0 "}, client.Unreachable},
		{"dies before staging", nil, dies("stage"), unchanged, []string{"unchanged 0-0 connection-refused; 0 ", "unchanged 0-0 connection-lost; 0 "}, client.Unreachable},
		{"loses the answer to staging", nil, loses("stage"), unchanged, []string{"unchanged 0-0 connection-lost; 0 "}, client.Unreachable},
		{"refuses the validation", required, nil, unchanged, []string{"unchanged 0-0 name-missing; 0 "}, client.Refused},
		{"dies before validating", nil, dies("validate"), unchanged, []string{"unchanged 0-0 connection-refused; 0 ", "unchanged 0-0 connection-lost; 0 "}, client.Unreachable},
		{"loses the answer to validating", nil, loses("validate"), unchanged, []string{"unchanged 0-0 connection-lost; 0 "}, client.Unreachable},
		{"dies before committing", nil, dies("commit"), back, []string{"unchanged 0-0 connection-refused; 0 ", "unknown 0-? connection-lost; 0 "}, client.Unreachable},
		{"loses the answer to committing", nil, loses("commit"), "committed 0-1; 1 one", []string{"committed 0-1; 1 one"}, 0},
		{"commits with its last breath", nil, func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
			if !is(q, "commit") {
				return under.RoundTrip(q)
			}
			if res, err := under.RoundTrip(q); err == nil {
				res.Body.Close()
			}
			p.Stop()
			return nil, errLost
		}, back, []string{"unknown 0-? connection-lost; 1 one"}, client.Mixed},
		{"never gets the commit", nil, func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
			if is(q, "commit") {
				return nil, errLost
			}
			return under.RoundTrip(q)
		}, back, []string{"unchanged 0-0 connection-lost; 0 "}, client.Unreachable},
		{"has another generation by then", nil, func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
			if is(q, "commit") {
				other(t, p)
			}
			return under.RoundTrip(q)
		}, back, []string{"unchanged 0-0 generation-conflict; 1 "}, client.Conflict},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3, c.configure)
			r.faults["ns2"] = c.fault
			reports := r.rotate(change.Options{}, dot(t, "one"))
			second := c.second[0]
			for _, other := range c.second { // one that dies does so amid a request, or before it
				if got(reports[1], r.Planes[1]) == other {
					second = other
				}
			}
			if reports[1].Outcome == change.Unknown {
				c.class = client.Mixed
			}
			r.want(reports, c.class, c.others, second, c.others)
		})
	}
}

func got(x change.Report, p *planetest.Plane) string {
	code := ""
	if x.Problem != nil {
		code = " " + x.Problem.Code
	}
	return fmt.Sprintf("%s %s%s; %d %s", x.Outcome, span(x), code, p.Generation(), p.Leaf("dot"))
}

// other makes a change as somebody else, who is not asked who he is.
func other(t *testing.T, p *planetest.Plane) {
	t.Helper()
	s := p.Server.Certificates()
	_ = s.Abort()
	sum := strings.Repeat("ab", 32)
	if err := s.Stage("bob", certs.KindRevoked, sum, nil, false); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(certs.Client{Who: "bob"}, p.Generation()); err != nil {
		t.Error(err)
	}
}

// TestKeepGoing: the operator wants what can be had.
func TestKeepGoing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, nil)
	r.faults["ns2"] = func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		if is(q, "commit") {
			other(t, p)
		}
		return under.RoundTrip(q)
	}
	r.want(r.rotate(change.Options{Keep: true}, dot(t, "one")), client.Mixed, "committed 0-1; 1 one", "unchanged 0-0 generation-conflict; 1 ", "committed 0-1; 1 one")
}

// TestStuck: a rollback that is refused, and one whose answer is lost.
func TestStuck(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, nil)
	r.faults["ns1"] = func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		if is(q, "rollback") {
			other(t, p)
		}
		return under.RoundTrip(q)
	}
	r.faults["ns2"] = func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		if is(q, "commit") {
			return nil, errLost
		}
		return under.RoundTrip(q)
	}
	r.faults["ns3"] = loses("rollback")
	var once atomic.Bool
	r.faults["ns4"] = func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
		if is(q, "rollback") && once.CompareAndSwap(false, true) {
			return nil, errLost // before it gets there
		}
		return under.RoundTrip(q)
	}
	r.want(r.rotate(change.Options{}, dot(t, "one")), client.Mixed, "stuck 0-1 generation-conflict; 2 one", "unchanged 0-0 connection-lost; 0 ", "rolled-back 0-2; 2 ", "rolled-back 0-2; 2 ")
}

// TestRevoke: a revocation that is rolled back stays, and the report says so.
func TestRevoke(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(i int, o *planetest.Options) {
		if i == 1 {
			o.Keep = failing{}
		}
	})
	sum := strings.Repeat("ab", 32)
	reports := r.rotate(change.Options{}, client.Change{Entry: client.Entry{Kind: client.Revoked, Name: sum}})
	r.want(reports, client.Failed, "rolled-back 0-2; 2 ", "unchanged 0-0 store-failed; 0 ")
	if n := len(r.Planes[0].Server.Certificates().Current().Revoked); (n == 1) != strings.Contains(fmt.Sprint(reports[0].Notes), "stays so") {
		t.Errorf("%d are revoked, and the notes are %v", n, reports[0].Notes)
	}
}

// TestBusy: another operator's transaction is left alone unless it is to be aborted.
func TestBusy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, nil)
	store := r.Planes[1].Server.Certificates()
	if err := store.Stage("bob", certs.KindRevoked, strings.Repeat("ab", 32), nil, false); err != nil {
		t.Fatal(err)
	}
	reports := r.rotate(change.Options{}, dot(t, "one"))
	if who, _, all := store.Staged(); who != "bob" || len(all) != 1 {
		t.Errorf("staged by %q: %v", who, all)
	}
	if p := reports[1].Problem; change.Class(reports) != client.Conflict || p == nil || p.Code != "transaction-busy" || !strings.Contains(p.Sentence, "bob") {
		t.Errorf("%+v", reports)
	}
	r.want(r.rotate(change.Options{Seize: true}, dot(t, "one")), 0, "committed 0-1; 1 one", "committed 0-1; 1 one", "committed 0-1; 1 one")
}

// TestInterrupted: before the first commit nothing is left behind; after it all is
// done to the end.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for step, want := range map[string]string{"stage": "unchanged interrupted 0 ", "validate": "unchanged interrupted 0 ", "commit": "committed  1 one"} {
		r := newRig(t, 3, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var once atomic.Bool
		r.faults["ns2"] = func(p *planetest.Plane, under http.RoundTripper, q *http.Request) (*http.Response, error) {
			if is(q, step) && once.CompareAndSwap(false, true) {
				cancel()
			}
			return under.RoundTrip(q)
		}
		reports := change.Run(ctx, r.targets(), []client.Change{dot(t, "one")}, change.Options{Parallel: 3})
		for i, x := range reports {
			code := ""
			if x.Problem != nil {
				code = x.Problem.Code
			}
			p := r.Planes[i]
			if got := fmt.Sprintf("%s %s %d %s", x.Outcome, code, p.Generation(), p.Leaf("dot")); got != want || p.Staged() != 0 {
				t.Errorf("%s: %s: %s, want %s; %d staged (%v)", step, p.Name, got, want, p.Staged(), x.Notes)
			}
		}
		cancel()
	}
}

// TestOwn: the plane's own certificate is replaced only by one that this client
// would accept.
func TestOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, nil)
	stranger := mgmttest.Root(t, "strangers")
	change1 := func(ca *mgmttest.Pair) client.Change {
		return client.Change{Entry: client.Entry{Kind: client.Certificates, Name: certs.Management},
			Data: ca.Issue(t, mgmttest.Spec{Name: "own", Hosts: []string{"ns1.example.org", "ns2.example.org"}}).Bundle(t, ca)}
	}
	reports := r.rotate(change.Options{}, change1(stranger))
	for i, x := range reports {
		if x.Outcome != change.Unchanged || x.Problem == nil || x.Problem.Code != "would-lock-you-out" || r.Planes[i].Generation() != 0 {
			t.Errorf("%+v", x)
		}
	}
	r.want(r.rotate(change.Options{}, change1(r.CA)), 0, "committed 0-1; 1 ", "committed 0-1; 1 ")
	for _, p := range r.Planes {
		c, err := tls.Dial("tcp", p.Addr, &tls.Config{RootCAs: mgmttest.Pool(r.CA), ServerName: "ns1.example.org"})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if p.Leaf(certs.Management) != "own" {
			t.Errorf("%s has %s", p.Name, p.Leaf(certs.Management))
		}
	}
}

// failing keeps nothing.
type failing struct{}

func (failing) Open(*plane.Host) (certs.Keeper, error)     { return failing{}, nil }
func (failing) Load() ([]certs.Value, uint64)              { return nil, 0 }
func (failing) Keep(uint64, []certs.Value) (uint64, error) { return 0, errors.New("disk full") }
func (failing) Kept() (bool, string)                       { return true, "" }

// TestDiskFull: an appliance that cannot store a generation fails its commit.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, func(i int, o *planetest.Options) {
		if i == 1 {
			o.Keep = failing{}
		}
	})
	r.want(r.rotate(change.Options{}, dot(t, "one")), client.Failed, "rolled-back 0-2; 2 ", "unchanged 0-0 store-failed; 0 ", "rolled-back 0-2; 2 ")
}
