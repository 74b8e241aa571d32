package mkoverlay

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ampoule/libos/rt"
)

// TestEditedCrypto runs the tests of the crypto packages that edits change, on the
// host's own runtime.
func TestEditedCrypto(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	o := &Overlay{tree: newTree(src, runtime.Version(), "Go release")}
	dir, replace := t.TempDir(), map[string]string{}
	for _, e := range rt.Edits {
		if strings.HasPrefix(e.File, "crypto/") {
			if err := o.apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(o.files) != 3 {
		t.Fatalf("%d files are edited", len(o.files))
	}
	for folder, to := range rt.Folders {
		if !strings.HasPrefix(to, "crypto/") {
			continue
		}
		names, err := fs.ReadDir(rt.Files, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names { // with its tests
			if o.files[to+"/"+n.Name()], err = fs.ReadFile(rt.Files, folder+"/"+n.Name()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for file, b := range o.files {
		out := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		replace[filepath.Join(src, file)] = out
		if err := os.WriteFile(out, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-v", "-short", "-count=1", "-overlay", overlay, "crypto/ecdh", "crypto/internal/fips140/hmac", "crypto/hmac", "crypto/hkdf", "crypto/tls")
	cmd.Dir = src
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if strings.Contains(string(text), "--- SKIP: TestAmp") {
		t.Skip("this CPU has no MULX: X25519 with it was not compared")
	}
	if !strings.Contains(string(text), "--- PASS: TestAmp") {
		t.Error("X25519 was not compared")
	}
}
