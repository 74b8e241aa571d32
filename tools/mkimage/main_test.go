package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

func TestCompleteRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		o    options
		want string
	}{
		"nothing to build": {options{target: "virtio", goamd64: "v1", profile: "default"}, "need one of -app and -pkg"},
		"both":             {options{app: "echo", pkg: "x", target: "virtio", goamd64: "v1", profile: "default"}, "need one of -app and -pkg"},
		"target":           {options{app: "echo", target: "vmware", goamd64: "v1", profile: "default"}, `unknown target "vmware": there are virtio and xen`},
		"level":            {options{app: "echo", target: "xen", goamd64: "v9", profile: "default"}, `unknown x86-64 level "v9": there are v1, v2 and v3`},
		"profile":          {options{app: "echo", target: "xen", goamd64: "v1", profile: "huge"}, `unknown profile "huge": there are default and tiny`},
		"no output":        {options{pkg: "x", target: "virtio", goamd64: "v1", profile: "default"}, "-pkg needs -o"},
	} {
		if err := tc.o.complete(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestCompleteDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	o := options{app: "dns", target: "xen", goamd64: "v1", profile: "default", goroot: "/go"}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	if o.pkg != "ampoule/appliances/dns" || o.config != "configs/dns.toml" || o.out != "dist/dns-xen/dns.elf" {
		t.Errorf("%+v", o)
	}
	o = options{app: "dns", target: "xen", goamd64: "v1", profile: "default", goroot: "/go", out: "there/"}
	if err := o.complete(); err != nil || o.out != "there/dns.elf" {
		t.Errorf("%+v, %v", o, err)
	}
}

// fakeImage is the test itself: it too is an ELF file with build information and
// tables of functions.
func fakeImage(t *testing.T, target string) *options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	o := &options{app: "dns", target: target, goamd64: "v3", out: filepath.Join(t.TempDir(), "dns.elf"),
		pkg: "ampoule/tools/mkimage", goroot: strings.TrimSpace(string(root))}
	o.id = identity{config: strings.Repeat("c", 64), seed: "7", build: strings.Repeat("b", 64)}
	for _, p := range strings.Fields("runtime fmt os strings bytes sort reflect time sync strconv unicode/utf8 net/rpc/jsonrpc") {
		o.id.deps = append(o.id.deps, goPackage{ImportPath: p, Standard: true})
	}
	spdxDir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/spdx/tools-golang").Output()
	if err != nil {
		t.Fatal(err)
	}
	o.id.deps = append(o.id.deps,
		goPackage{ImportPath: o.pkg, Module: &goModule{Path: "ampoule/tools", Main: true}},
		goPackage{ImportPath: "github.com/spdx/tools-golang/json", Module: &goModule{Path: "github.com/spdx/tools-golang",
			Version: "v0.5.5", Dir: strings.TrimSpace(string(spdxDir))}},
		goPackage{ImportPath: "github.com/spdx/tools-golang/rdf", Module: &goModule{Path: "github.com/spdx/tools-golang", Version: "v0.5.5"}})
	if err := os.WriteFile(o.out, image, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := o.finish(); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestFinish looks at what lies beside an image.
func TestFinish(t *testing.T) {
	for target, files := range map[string][]string{"virtio": {"dns.elf", sbomName, "START.txt"}, "xen": {"dns.elf", sbomName, "START.txt", "dns.cfg"}} {
		o := fakeImage(t, target)
		dir := filepath.Dir(o.out)
		var m manifest
		b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
		if err != nil || json.Unmarshal(b, &m) != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if m.Target != target || m.GOAMD64 != "v3" || m.Go == "" || len(m.Files) != len(files) || m.SBOM != sbomName {
			t.Errorf("%s: %+v", target, m)
		}
		if m.Build != o.id.build || m.Configuration != o.id.config || m.Seed != "7" || m.SeedPrint != seed("7").fingerprint() {
			t.Errorf("%s: %+v", target, m)
		}
		if strings.Contains(string(b), dir) || len(m.Modules) == 0 {
			t.Errorf("%s: the manifest names this machine, or no module:\n%s", target, b)
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
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o644 {
				t.Errorf("%s: %s has mode %v, %v", target, name, info.Mode(), err)
			}
		}
		start, err := os.ReadFile(filepath.Join(dir, "START.txt"))
		if err != nil || !strings.Contains(string(start), "dns.elf") || !strings.Contains(string(start), "store-key=") || strings.Contains(string(start), "%!") {
			t.Errorf("%s: %v\n%s", target, err, start)
		}
	}
}

// TestSBOM reads the bill of materials with SPDX's own library, which checks its
// structure, and looks for what must and must not be in it.
func TestSBOM(t *testing.T) {
	o := fakeImage(t, "xen")
	b, err := os.ReadFile(filepath.Join(filepath.Dir(o.out), sbomName))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := spdxjson.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	ids, err := spdxlib.GetDescribedPackageIDs(doc)
	if err != nil || len(ids) != 1 || ids[0] != "image" {
		t.Errorf("describes %v, %v", ids, err)
	}
	licences := map[string]string{}
	for _, p := range doc.Packages {
		licences[p.PackageName] = p.PackageLicenseConcluded
		if p.PackageName == "github.com/spdx/tools-golang/json" && (p.PackageVersion != "v0.5.5" || len(p.PackageExternalReferences) != 1 ||
			p.PackageExternalReferences[0].Locator != "pkg:golang/github.com/spdx/tools-golang@v0.5.5#json" || !strings.Contains(p.PackageComment, "h1:")) {
			t.Errorf("%+v", p)
		}
	}
	for name, want := range map[string]string{"dns-xen": noAssertion, "std": "BSD-3-Clause", "runtime": "BSD-3-Clause", "fmt": "BSD-3-Clause",
		"ampoule/tools": noAssertion, "ampoule/tools/mkimage": noAssertion, "github.com/spdx/tools-golang": noAssertion} {
		if got, ok := licences[name]; !ok || got != want {
			t.Errorf("%s: licence %q, listed %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"net/rpc/jsonrpc", "github.com/spdx/tools-golang/rdf"} { // known, but not linked
		if _, ok := licences[name]; ok {
			t.Errorf("%s is not linked", name)
		}
	}
}

// A file that has no table of functions, or one that is not understood, is not
// listed as if nothing were in it.
func TestLinkedRefuses(t *testing.T) {
	o := fakeImage(t, "virtio")
	o.id.deps = o.id.deps[:3]
	if list, err := o.linked(o.out); err == nil {
		t.Errorf("%d packages only, and no error", len(list))
	}
	if _, err := o.linked(filepath.Join(filepath.Dir(o.out), "START.txt")); err == nil {
		t.Error("a text file is an image")
	}
}
