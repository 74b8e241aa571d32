package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/freeport"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/ampctl/cli"
	"ampoule/tools/ampctl/planetest"
)

// TestTrust tries every way in which appliance and client may not know each other.
func TestTrust(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	p := f.Planes[0]
	other := mgmttest.Root(t, "others")
	f.Write(t, "other.pem", other.Cert())
	f.Write(t, "stranger.pem", other.Issue(t, mgmttest.Spec{Name: "stranger", Unit: "ampoule-operate", Client: true}).Bundle(t))
	f.Write(t, "old.pem", f.CA.Issue(t, mgmttest.Spec{Name: "old", Unit: "ampoule-operate", Client: true, Until: time.Now().Add(-time.Minute)}).Bundle(t))
	f.Write(t, "web.pem", f.CA.Issue(t, mgmttest.Spec{Name: "web", Hosts: []string{"web"}}).Bundle(t))
	f.Client(t, "nobody", "")
	gone := f.Client(t, "gone", "ampoule-operate")
	revoke(t, p, gone)
	own := p.Server.Certificates().Current().Certificates[certs.Management].Leaf()
	sum := sha256.Sum256(own.Raw)
	pin, wrong := hex.EncodeToString(sum[:]), strings.Repeat("00", 32)
	file := func(name string) string { return filepath.Join(f.Dir, name) }
	closed, release, err := freeport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	refused := fmt.Sprintf("127.0.0.1:%d", closed)
	operate := "--ca " + file("ca.pem") + " --cert " + file("operate.pem")
	for _, c := range []struct {
		args string
		code int
		text string // of the standard error
	}{
		{"-c " + f.File + " --ca " + file("other.pem"), 4, "(server-unknown-authority)"},
		{"-c " + f.File + " --server-name ns7.example.org", 4, "(server-wrong-name)"},
		{"-c " + f.File + " --cert " + file("stranger.pem"), 4, "(client-unknown-authority)"},
		{"-c " + f.File + " --cert " + file("old.pem"), 4, "(client-expired)"},
		{"-c " + f.File + " --cert " + file("web.pem"), 4, "(client-refused)"},
		{"-c " + f.File + " --cert " + file("gone.pem"), 5, "(not-welcome)"},
		{"-c " + f.File + " --cert " + file("nobody.pem"), 5, "(no-role)"},
		{"--address " + p.Addr + " --cert " + file("operate.pem") + " --sha256 " + wrong, 4, "(server-other-sha256)"},
		{"--address " + p.Addr + " --cert " + file("operate.pem") + " --sha256 " + pin, 0, ""},
		{"--address " + p.Addr + " --server-name x --sha256 " + pin + " " + operate, 0, ""},
		{"--address " + p.Addr + " " + operate, 4, "(server-wrong-name)"},
		{"--address " + p.Addr + " --server-name ns1.example.org " + operate, 0, ""},
		{"--address " + refused + " " + operate, 3, "(connection-refused)"},
		{"--address nowhere.invalid " + operate, 3, "(no-such-host)"},
		{"--address " + p.Addr + " --cert " + file("operate.pem"), 2, "how is the appliance known?"},
		{"--address " + p.Addr + " --ca " + file("ca.pem"), 2, "who are you?"},
		{"--address " + p.Addr + " --sha256 beef " + operate, 2, "64 hexadecimal digits"},
		{"--address " + p.Addr + " --cert " + file("ca.pem") + " --ca " + file("ca.pem"), 2, "ca.pem"},
		{"--address " + p.Addr + " --cert " + file("none.pem") + " --ca " + file("ca.pem"), 2, "no such file"},
		{"--address " + p.Addr + " --ca " + f.File + " --cert " + file("operate.pem"), 2, "there is no certificate in it"},
		{"--address http://x " + operate, 2, "must be a host name or an address"},
		{"-c " + file("none.toml"), 2, "no such file"}, {"", 2, "there is no fleet file"},
	} {
		args := append(strings.Fields(c.args), "status")
		check(t, command(t, nil, args...), c.code, []string{"!" + c.text}, args)
	}
	if err := os.Chmod(file("operate.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	want(t, f, 0, []string{"!others can read the private key in"}, "status")
}

// revoke revokes a client.
func revoke(t *testing.T, p *planetest.Plane, who *mgmttest.Pair) {
	t.Helper()
	s := p.Server.Certificates()
	if err := s.Stage("test", certs.KindRevoked, fingerprint(who), nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(certs.Client{Who: "test"}, p.Generation()); err != nil {
		t.Fatal(err)
	}
}

// TestServerExpired: a certificate of the appliance's own that has expired.
func TestServerExpired(t *testing.T) {
	var ca *mgmttest.Pair
	f := planetest.NewFleet(t, 1, func(_ int, o *planetest.Options) {
		ca = mgmttest.Root(t, "old")
		o.Own = planetest.Own(ca.Issue(t, mgmttest.Spec{Name: "ns1", Hosts: []string{"ns1.example.org"}, Until: time.Now().Add(-time.Minute)}).Bundle(t, ca))
	})
	want(t, f, 4, []string{"!(server-expired)", "!the clock here says"}, "--ca", f.Write(t, "old.pem", ca.Cert()), "status")
}

// TestRefusals: what a plane refuses comes with its code and its sentence.
func TestRefusals(t *testing.T) {
	f := planetest.NewFleet(t, 1, func(_ int, o *planetest.Options) { o.Bare = true })
	root := mgmttest.Root(t, "servers")
	pair := root.Issue(t, mgmttest.Spec{Name: "x", Hosts: []string{"x"}})
	good := f.Write(t, "good.pem", pair.Bundle(t, root))
	noKey, noChain := f.Write(t, "nokey.pem", pair.Cert()), f.Write(t, "nochain.pem", pair.Bundle(t))
	two := f.Write(t, "twokeys.pem", append(pair.Bundle(t, root), mgmttest.Root(t, "y").KeyPEM(t)...))
	noise, big := f.Write(t, "noise", []byte("noise")), f.Write(t, "big", make([]byte, 65<<10))
	read := []string{"--cert", filepath.Join(f.Dir, "read.pem")}
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"certs stage dot=" + noKey, 6, "(key-none)"}, {"certs stage dot=" + noChain, 6, "(chain-incomplete)"},
		{"certs stage dot=" + two, 6, "(key-twice)"}, {"certs stage dot=" + noise, 6, "(pem-none)"},
		{"certs stage Dot=" + good, 6, "(slot-name)"}, {"certs stage ../x=" + good, 6, "(slot-name)"},
		{"certs stage a=" + good + " b=" + good, 0, ""}, {"certs validate", 6, "(name-twice)"}, {"certs abort", 0, ""},
		{"certs stage --remove nothing", 0, ""}, {"certs commit 0", 6, "(slot-missing)"}, {"certs abort", 0, ""},
		{"certs rollback 0", 7, "(no-previous)"}, {"certs rollback 9", 7, "(generation-conflict)"},
		{"profile heap -", 6, "(no-route)"}, {"capture -", 6, "(no-route)"}, {"logs -n 0", 6, "(bad-parameter)"},
		{"certs stage dot=" + big, 1, "has more than 65536 bytes"}, {"rotate dot=" + f.Dir + "/none", 1, "no such file"},
		{"rotate", 2, "nothing is to be changed"}, {"rotate dot", 2, "must be SLOT=FILE"}, {"rotate dot=" + good + " dot=" + good, 2, "there twice"},
		{"clients revoke " + noise, 2, "there is no certificate in it"}, {"nonsense", 2, "unknown command"}, {"status --nonsense", 2, "unknown flag"},
		{"status x", 2, "unknown command"}, {"capture", 2, "accepts 1 arg"}, {"capture --for 500ms x", 2, "whole seconds"},
		{"issue client bob --dir " + f.Dir, 2, "--role must be"}, {"issue client bob --role read --dir " + f.Dir, 1, "ca.key"},
	} {
		want(t, f, c.code, []string{"!" + c.text}, strings.Fields(c.args)...)
	}
	want(t, f, 6, []string{"unchanged", "(locks-out)"}, "clients", "revoke", filepath.Join(f.Dir, "operate.pem"))
	for _, line := range []string{"log-level debug", "certs stage dot=" + good, "certs commit 0", "certs abort", "certs rollback 0", "rotate dot=" + good, "certs validate"} {
		if r := want(t, f, 5, nil, append(read, strings.Fields(line)...)...); !strings.Contains(r.out+r.err, "(no-permission)") {
			t.Errorf("%s: %+v", line, r)
		}
	}
	if p := f.Planes[0]; p.Generation() != 0 || p.Staged() != 0 {
		t.Errorf("something has changed: generation %d, %d staged", p.Generation(), p.Staged())
	}
}

// TestSecrets: a private key on the command line is not taken, repeated, or sent;
// one that is read from the standard input works.
func TestSecrets(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	root := mgmttest.Root(t, "servers")
	b := root.Issue(t, mgmttest.Spec{Name: "x", Hosts: []string{"x"}}).Bundle(t, root)
	for _, args := range [][]string{{"rotate", "dot=" + string(b)}, {string(b)}, {"status", "--" + string(b)}, {"certs", "stage", string(b)}} {
		want(t, f, 2, []string{"!PEM on the command line"}, args...)
	}
	stdin := func(w *cli.IO) { w.In = strings.NewReader(string(b)) }
	args := []string{"-c", f.File, "rotate", "dot=-"}
	check(t, command(t, stdin, args...), 0, []string{"committed  0 -> 1"}, args)
	if log := f.Planes[0].Log.String(); strings.Contains(log, "PRIVATE") {
		t.Error("a private key is in the log")
	}
}

// TestFullDisk: output that cannot be written is an error.
func TestFullDisk(t *testing.T) {
	f := planetest.NewFleet(t, 1, nil)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	r := command(t, func(w *cli.IO) { w.Out = full }, "-c", f.File, "metrics")
	if r.code != 1 || !strings.Contains(r.err, "no space left") {
		t.Errorf("%+v", r)
	}
}
