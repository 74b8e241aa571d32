package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompleteRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		o    options
		want string
	}{
		"nothing to build": {options{target: "virtio", goamd64: "v1"}, "need one of -app and -pkg"},
		"both":             {options{app: "echo", pkg: "x", target: "virtio", goamd64: "v1"}, "need one of -app and -pkg"},
		"target":           {options{app: "echo", target: "vmware", goamd64: "v1"}, `unknown target "vmware": there are virtio and xen`},
		"level":            {options{app: "echo", target: "xen", goamd64: "v9"}, `unknown x86-64 level "v9": there are v1, v2 and v3`},
		"no output":        {options{pkg: "x", target: "virtio", goamd64: "v1"}, "-pkg needs -o"},
	} {
		if err := tc.o.complete(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestCompleteDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	o := options{app: "dns", target: "xen", goamd64: "v1", goroot: "/go"}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	if o.pkg != "ampoule/appliances/dns" || o.config != "configs/dns.toml" || o.out != "dist/dns-xen/dns.elf" {
		t.Errorf("%+v", o)
	}
	o = options{app: "dns", target: "xen", goamd64: "v1", goroot: "/go", out: "there/"}
	if err := o.complete(); err != nil || o.out != "there/dns.elf" {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestFinish looks at what lies beside an image. The test itself serves as the
// image, since it too is an ELF file with build information.
func TestFinish(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for target, files := range map[string][]string{"virtio": {"dns.elf"}, "xen": {"dns.elf", "dns.cfg"}} {
		dir := t.TempDir()
		o := options{app: "dns", target: target, goamd64: "v3", out: filepath.Join(dir, "dns.elf")}
		if err := os.WriteFile(o.out, image, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := o.finish(); err != nil {
			t.Fatal(err)
		}
		var m manifest
		b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
		if err != nil || json.Unmarshal(b, &m) != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if m.Target != target || m.GOAMD64 != "v3" || m.Go == "" || len(m.Files) != len(files) {
			t.Errorf("%s: %+v", target, m)
		}
		for i, name := range files {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(content)
			if f := m.Files[i]; f.Name != name || f.Size != int64(len(content)) || f.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: %+v", target, f)
			}
		}
		start, err := os.ReadFile(filepath.Join(dir, "START.txt"))
		if err != nil || !strings.Contains(string(start), "dns.elf") || strings.Contains(string(start), "%!") {
			t.Errorf("%s: %v\n%s", target, err, start)
		}
	}
}
