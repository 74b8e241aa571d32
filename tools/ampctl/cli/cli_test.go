package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/ampctl/cli"
	"ampoule/tools/ampctl/planetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// result is what a command line came to.
type result struct {
	code     int
	out, err string
}

// command runs a command line. c may change what it has of the world.
func command(t *testing.T, change func(*cli.IO), args ...string) result {
	t.Helper()
	var out, errs mgmttest.Buffer
	world := cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Now: time.Now}
	if change != nil {
		change(&world)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := cli.Main(ctx, args, world)
	r := result{code, out.String(), errs.String()}
	if text := r.out + r.err; strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("%v shows a private key:\n%s", args, text)
	}
	return r
}

// want runs a command line with the fleet's file, and wants a code and texts in the
// output, or if it begins with "!" in the standard error.
func want(t *testing.T, f *planetest.Fleet, code int, texts []string, args ...string) result {
	t.Helper()
	r := command(t, nil, append([]string{"-c", f.File}, args...)...)
	check(t, r, code, texts, args)
	return r
}

func check(t *testing.T, r result, code int, texts, args []string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		where, name := r.out, "output"
		if after, ok := strings.CutPrefix(text, "!"); ok {
			where, name, text = r.err, "standard error", after
		}
		if !strings.Contains(where, text) {
			t.Errorf("%v: the %s lacks %q:\n%s\n-- %s", args, name, text, r.out, r.err)
		}
	}
}

// bundle makes a file with a chain and a key.
func bundle(t *testing.T, f *planetest.Fleet, file, name string, hosts ...string) string {
	t.Helper()
	root := mgmttest.Root(t, "servers")
	return f.Write(t, file, root.Issue(t, mgmttest.Spec{Name: name, Hosts: hosts}).Bundle(t, root))
}

// TestCommands tries every command on one appliance, and sees that there is one for
// every route that planes have.
func TestCommands(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	p := f.Planes[0]
	var mu sync.Mutex
	asked := map[string]bool{}
	spy := func(w *cli.IO) {
		w.Wrap = func(_ string, under http.RoundTripper) http.RoundTripper {
			return planetest.Hook{Under: under, Do: func(under http.RoundTripper, r *http.Request) (*http.Response, error) {
				mu.Lock()
				asked[r.Method+" "+r.URL.Path] = true
				mu.Unlock()
				return under.RoundTrip(r)
			}}
		}
	}
	one, two := bundle(t, f, "one.pem", "one", "a.example.org"), bundle(t, f, "two.pem", "two", "a.example.org")
	carol := f.Client(t, "carol", "ampoule-read")
	ca2 := f.Write(t, "cas.pem", append(f.CA.Cert(), mgmttest.Root(t, "more").Cert()...))
	for _, s := range []struct {
		line  string
		code  int
		texts string // separated by |
	}{
		{"status", 0, "hostname       ns1|generation     0 since|ready          yes|role operate"},
		{"health", 0, "ready"},
		{"metrics ampoule_certificates", 0, "ampoule_certificates_generation 0"},
		{"log-level", 0, "info"}, {"log-level debug", 0, "debug"}, {"log-level info", 0, "info"}, {"log-level loud", 6, "!no-level"},
		{"logs -n 2", 0, "result=no-level"},
		{"certs list", 0, "GENERATION|management|ECDSA-P-256|ns1.example.org"},
		{"certs staged", 0, "nothing is staged"}, {"certs abort", 7, "!nothing-staged"}, {"certs validate", 7, "!nothing-staged"},
		{"certs stage dot=" + one, 0, "certificates/dot|ampctl certs commit 0"},
		{"certs validate", 0, "it can be committed"}, {"certs staged", 0, "staged by operate/"},
		{"certs commit 1", 7, "!generation-conflict"}, {"certs commit x", 2, "!a generation is a number"},
		{"certs commit 0", 0, "generation 1 is in force; it is not persisted"},
		{"certs stage dot=" + two, 0, ""}, {"certs abort", 0, "aborted"},
		{"certs stage --remove dot", 0, "certificates/dot to go"}, {"certs commit 1", 0, "generation 2"},
		{"certs rollback 1", 7, "!generation-conflict"}, {"certs rollback", 2, "!--current"}, {"certs rollback --current", 0, "generation 3"},
		{"certs rollback 3", 0, "generation 4"},
		{"rotate dot=" + two, 0, "ns1        committed  4 -> 5"},
		{"clients list", 0, "authority  management"},
		{"clients revoke " + filepath.Join(f.Dir, "carol.pem"), 0, "5 -> 6"},
		{"clients list", 0, "revoked"}, {"clients restore " + fingerprint(carol), 0, "6 -> 7"},
		{"clients trust " + ca2, 0, "7 -> 8"}, {"clients trust --slot web " + ca2, 0, "8 -> 9"}, {"clients distrust web", 0, "9 -> 10"},
		{"clients distrust management", 6, "!|locks-out"},
		{"profile heap " + filepath.Join(f.Dir, "heap"), 0, ""}, {"profile goroutine -", 0, ""}, {"profile cpu -", 6, "!no-profile"},
		{"capture --for 1s " + filepath.Join(f.Dir, "pcap"), 0, ""},
		{"certs", 2, "!certs what?"}, {"exit-codes", 0, "9  a change is in force on some"},
	} {
		r := command(t, spy, append([]string{"-c", f.File}, strings.Fields(s.line)...)...)
		check(t, r, s.code, strings.Split(s.texts, "|"), []string{s.line})
	}
	// Planes differ in whether they take staples and keep crashes.
	if r := command(t, spy, "-c", f.File, "crash"); r.code != 6 || !strings.Contains(r.err, "(no-") {
		t.Errorf("crash: %+v", r)
	}
	for _, flag := range []string{"--staple=dot=" + one, "--remove-staple=dot", "--crl=clients=" + one, "--remove-crl=clients"} {
		if r := command(t, spy, "-c", f.File, "certs", "stage", flag); r.code != 0 && r.code != 6 {
			t.Errorf("%s: %+v", flag, r)
		}
	}
	_ = p.Server.Certificates().Abort() // where nothing was staged there is nothing to abort
	for _, name := range []string{"heap", "pcap"} {
		if s, err := os.Stat(filepath.Join(f.Dir, name)); err != nil || s.Size() < 24 || s.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, err, s)
		}
	}
	if p.Generation() != 10 || p.Leaf("dot") != "two" || p.Staged() != 0 || p.Capturing() {
		t.Errorf("generation %d, dot %q, %d staged, capturing %v", p.Generation(), p.Leaf("dot"), p.Staged(), p.Capturing())
	}
	for _, route := range p.Server.Routes() {
		before, _, _ := strings.Cut(route.Path, "{name}")
		if !slices.ContainsFunc(keysOf(asked), func(k string) bool { return strings.HasPrefix(k, route.Method+" "+before) }) {
			t.Errorf("no command asks for %s %s", route.Method, route.Path)
		}
	}
}

func keysOf(m map[string]bool) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

func fingerprint(p *mgmttest.Pair) string { return clientFingerprint(p.X) }

// TestJSON: each appliance is a line, whether it answers or fails.
func TestJSON(t *testing.T) {
	f := planetest.NewFleet(t, 3, nil)
	f.Planes[1].Stop()
	for _, line := range []string{"status", "health", "metrics", "logs", "log-level", "certs list", "certs staged", "clients list"} {
		r := command(t, nil, append([]string{"-c", f.File, "--all", "-o", "json"}, strings.Fields(line)...)...)
		if r.code != 3 || !strings.Contains(r.err, "ampctl: ns2: 127.0.0.1") {
			t.Errorf("%s: %+v", line, r)
		}
		d := json.NewDecoder(strings.NewReader(r.out))
		for i := range 3 {
			var got struct {
				Appliance string
				Result    json.RawMessage
				Error     *struct {
					Exit        int
					Code, Error string
				}
			}
			if err := d.Decode(&got); err != nil || got.Appliance != f.Planes[i].Name || (got.Error == nil) != (i != 1) || (got.Result == nil) != (i == 1) {
				t.Fatalf("%s: line %d: %v\n%s", line, i+1, err, r.out)
			}
			if got.Error != nil && (got.Error.Exit != 3 || got.Error.Code != "connection-refused" || got.Error.Error == "") {
				t.Errorf("%s: %+v", line, got.Error)
			}
		}
	}
	var got struct{ Error struct{ Exit int } }
	r := command(t, nil, "-c", f.File, "-o", "json", "status")
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Error.Exit != 2 || r.code != 2 {
		t.Errorf("%v %+v", err, r)
	}
}

// TestMany shows tables of several appliances, and picks them by name.
func TestMany(t *testing.T) {
	f := planetest.NewFleet(t, 3, nil)
	f.Planes[2].Ready.Set("zones")
	want(t, f, 0, []string{"APPLIANCE  HOSTNAME", "ns1        ns1", "ns3        ns3       test  no: zones"}, "--all", "status")
	if r := want(t, f, 0, []string{"ns2"}, "-a", "ns2,ns3", "certs", "list"); strings.Contains(r.out, "ns1") {
		t.Errorf("ns1 was not asked for:\n%s", r.out)
	}
	want(t, f, 0, []string{"# ns1\nready", "# ns2\nready"}, "-a", "ns[12]", "health")
	want(t, f, 8, []string{"!ampctl: ns3: Not ready: zones. (not-ready)"}, "--all", "health")
	time.AfterFunc(300*time.Millisecond, func() { f.Planes[2].Ready.Set("") })
	want(t, f, 0, []string{"# ns3\nready"}, "--all", "health", "--wait", "20s")
	want(t, f, 0, []string{"ns3        warn"}, "--all", "log-level", "warn")
	for line, text := range map[string]string{
		"status": "which appliance?", "-a ns9 status": "no such appliance; there are: ns1, ns2, ns3", "--all -a ns1 status": "exclude",
		"--all certs commit 0": "one appliance at a time, not for 3", "--all --server-name x status": "--server-name is for one", "--all capture x": "one appliance",
		"-a [ status": "not a pattern", "-o xml --all status": "must be text or json",
	} {
		want(t, f, 2, []string{"!" + text}, strings.Fields(line)...)
	}
}

// TestHelp compares the help of every command with what is committed.
func TestHelp(t *testing.T) {
	var all bytes.Buffer
	var walk func(args []string)
	walk = func(args []string) {
		r := command(t, nil, append(args, "--help")...)
		if r.code != 0 || r.err != "" {
			t.Errorf("%v: %+v", args, r)
		}
		fmt.Fprintf(&all, "$ ampctl %s\n%s\n", strings.Join(append(args, "--help"), " "), r.out)
		_, list, ok := strings.Cut(r.out, "Available Commands:\n")
		for _, line := range strings.Split(list, "\n") {
			if !ok || !strings.HasPrefix(line, "  ") {
				break
			}
			if name := strings.Fields(line)[0]; name != "completion" && name != "help" {
				walk(append(slices.Clone(args), name))
			}
		}
	}
	walk(nil)
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(golden)
	if err != nil || all.String() != string(committed) {
		t.Errorf("%v: the help is another (go test -update writes it):\n%s", err, all.String())
	}
	for _, name := range []string{"rotate", "certs stage", "clients revoke", "issue client", "capture", "logs", "log-level", "init"} {
		if !strings.Contains(string(committed), "$ ampctl "+name+" --help") {
			t.Errorf("no help for %s", name)
		}
	}
}
