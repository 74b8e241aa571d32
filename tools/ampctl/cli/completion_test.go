package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/planetest"
)

func size(t *testing.T, name string) int64 {
	t.Helper()
	s, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return s.Size()
}

// TestCompletion: the scripts parse in their shells, and in bash they complete.
func TestCompletion(t *testing.T) {
	f := planetest.NewFleet(t, 2, nil)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := command(t, nil, "completion", shell)
		script := f.Write(t, "complete."+shell, []byte(r.out))
		if out, err := exec.Command(shell, "-n", script).CombinedOutput(); err != nil || len(out) > 0 || len(r.out) < 1000 {
			t.Errorf("%s: %v (tools/setup installs it)\n%s", shell, err, out)
		}
	}
	bin := filepath.Join(f.Dir, "ampctl")
	if out, err := exec.Command("go", "build", "-o", bin, "ampoule/tools/ampctl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line, want := range map[string]string{
		"ampctl rot": "rotate", "ampctl log-level w": "warn", "ampctl certs ro": "rollback", "ampctl profile g": "goroutine",
		"ampctl -c " + f.File + " -a ns": "ns1 ns2", "ampctl status -o j": "json", "ampctl issue client x --role o": "operate",
	} {
		script := `source /usr/share/bash-completion/bash_completion; source ` + f.Dir + `/complete.bash
COMP_LINE='` + line + `' COMP_POINT=${#COMP_LINE} COMP_WORDS=($COMP_LINE) COMP_CWORD=$((${#COMP_WORDS[@]}-1)) COMP_TYPE=9
COMPREPLY=() ; __start_ampctl ; echo ${COMPREPLY[@]}`
		cmd := exec.Command("bash", "--norc", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+f.Dir+":"+os.Getenv("PATH"))
		out, err := cmd.Output() // compopt complains on the standard error: nobody pressed a key
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v %q, want %q", line, err, out, want)
		}
	}
}

// TestInit: what init makes lets a plane and its clients know each other, is as it
// should be on the disk, and is never overwritten.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	args := []string{"init", dir, "--name", "ns1", "--host", "ns1.example.org", "--host", "127.0.0.1"}
	r := command(t, nil, args...)
	check(t, r, 0, []string{"[management]\nclient_ca = \"" + dir + "/ca.pem\"\ncertificate = \"" + dir + "/ns1.pem\"\nkey_in_image = true\n"}, args)
	before := map[string]string{}
	for name, mode := range map[string]os.FileMode{"ca.pem": 0o644, "ca.key": 0o600, "ns1.pem": 0o600, "operator.pem": 0o644, "operator.key": 0o600,
		"reader.pem": 0o644, "reader.key": 0o600, "fleet.toml": 0o644} {
		s, err := os.Stat(filepath.Join(dir, name))
		if err != nil || s.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, err, s, mode)
		}
		b, _ := os.ReadFile(filepath.Join(dir, name))
		before[name] = string(b)
	}
	if s, err := os.Stat(dir); err != nil || s.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", err, s)
	}
	check(t, command(t, nil, args...), 1, []string{"!is there already; nothing is overwritten"}, args)
	for name, was := range before {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != was {
			t.Errorf("%s: %v, or it has changed", name, err)
		}
	}
	p := planetest.Start(t, "ns1", planetest.Options{Clients: before["ca.pem"], Own: planetest.Own([]byte(before["ns1.pem"]))})
	for _, role := range []string{"operate", "read"} {
		name := "someone-" + role
		issue := []string{"issue", "client", name, "--dir", dir, "--role", role, "--days", "7"}
		check(t, command(t, nil, issue...), 0, nil, issue)
		status := []string{"--address", p.Addr, "--ca", dir + "/ca.pem", "--cert", dir + "/" + name + ".pem", "--key", dir + "/" + name + ".key", "-o", "json", "status"}
		check(t, command(t, nil, status...), 0, []string{`"role":"` + role + `"`, `"you":"` + name}, status)
	}
	issue := []string{"issue", "server", "ns1", "--file", "ns1-next", "--dir", dir, "--host", "127.0.0.1"}
	check(t, command(t, nil, issue...), 0, []string{"certificate = \"" + dir + "/ns1-next.pem\"\n"}, issue)
	fleet := strings.Replace(before["fleet.toml"], `address = "127.0.0.1"`, `address = "`+p.Addr+`"`, 1)
	file := filepath.Join(dir, "now.toml")
	if err := os.WriteFile(file, []byte(strings.Replace(fleet, `"ns1.example.org"`, `"127.0.0.1"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	rotate := []string{"-c", file, "rotate", "management=" + dir + "/ns1-next.pem"}
	check(t, command(t, nil, rotate...), 0, []string{"committed  0 -> 1"}, rotate)
	if p.Leaf(certs.Management) != "ns1" {
		t.Errorf("it has %s", p.Leaf(certs.Management))
	}
	for _, c := range []struct{ args, text string }{
		{"init " + dir + "2", "--host says it"}, {"init " + dir + "2 --host a_b", "neither a host name"}, {"init " + dir + "2 --host x --name ca", "is not ca"},
		{"init " + dir + "2 --host x --name a/b", "a name has"}, {"init " + dir + "2 --host x --reader operator", "must be different"},
		{"init " + dir + "2 --host x --days 0", "--days"}, {"issue client y --role read --days 99999 --dir " + dir, "more than the authority has left"},
		{"issue client operator --role read --dir " + dir, "is there already"},
	} {
		if r := command(t, nil, strings.Fields(c.args)...); r.code == 0 || !strings.Contains(r.err, c.text) {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	if _, err := os.Stat(dir + "2"); err == nil {
		t.Error("a refused init leaves a folder")
	}
}
