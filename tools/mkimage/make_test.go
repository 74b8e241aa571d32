package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/workspace"
)

// TestMakeConfig builds the image of a configuration outside the repository, as
// README.md shows it: named from where make is called, and in full. Its zone
// file is named from the configuration's own folder.
func TestMakeConfig(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mine/ns.toml":        "[network]\nipv4 = \"192.0.2.53/24\"\n\n[[dns.zones]]\norigin = \"example.org\"\nfile = \"zones/org.zone\"\n",
		"mine/zones/org.zone": "@ 300 SOA ns hostmaster 1 2h 1h 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.53\n",
		"mine/bad.toml":       "[network]\nipv4 = 5\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(from string, args ...string) (string, error) {
		cmd := exec.Command("make", args...)
		cmd.Dir = from // and PWD with it
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for i, c := range []struct {
		from string
		args []string
	}{
		{dir, []string{"-C", root, "CONFIG=mine/ns.toml"}},
		{root, []string{"CONFIG=" + filepath.Join(dir, "mine/ns.toml")}},
	} {
		out := filepath.Join(dir, "out", string(rune('a'+i)))
		said, err := run(c.from, append(c.args, "dns-xen", "OUT="+out)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", c.args, err, said)
		}
		for _, name := range []string{"dns.elf", "dns.cfg", "START.txt", "manifest.json"} {
			if _, err := os.Stat(filepath.Join(out, name)); err != nil {
				t.Error(err)
			}
		}
	}
	const want = `mine/bad.toml:2: network.ipv4: found 5, must be an IPv4 address`
	if said, err := run(dir, "-C", root, "dns-xen", "CONFIG=mine/bad.toml", "OUT="+dir); err == nil || !strings.Contains(said, want) {
		t.Errorf("%v, want %q in:\n%s", err, want, said)
	}
}
