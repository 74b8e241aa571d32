// Package guest is what tests that boot the product's images share: building
// each image once, the variants that every promise must hold on, and a VM
// whose console is shown when its test fails.
package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
	"ampoule/tools/workspace"
)

// Variant is a machine and the x86-64 level that an image is built for.
type Variant struct {
	Machine vm.Machine
	GOAMD64 string
}

func (v Variant) String() string { return string(v.Machine) + "-" + v.GOAMD64 }

// Variants are all that an image must run on.
func Variants() []Variant {
	var out []Variant
	for _, m := range vm.Machines {
		for _, level := range []string{"v1", "v3"} {
			out = append(out, Variant{m, level})
		}
	}
	return out
}

// Each runs f as a subtest on every variant, one after the other.
func Each(t *testing.T, f func(t *testing.T, v Variant)) {
	for _, v := range Variants() {
		t.Run(v.String(), func(t *testing.T) { f(t, v) })
	}
}

// Images builds images, each once. A test package holds one.
type Images struct {
	mu    sync.Mutex
	built map[string]func() (string, error)
}

// App is the image of an appliance with its default configuration.
func (i *Images) App(t testing.TB, name, goamd64 string) string {
	t.Helper()
	return i.image(t, name, goamd64, "-app", name, "-target", "virtio")
}

// Configured is the image of an appliance with a configuration of the test's
// own; name tells it apart from others.
func (i *Images) Configured(t testing.TB, app, name, config, goamd64 string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return i.image(t, app+"-"+name, goamd64, "-app", app, "-target", "virtio", "-config", file)
}

// Seeded is the image of an appliance for GOAMD64=v1 with a seed and with its
// symbol table. Its manifest lies beside it.
func (i *Images) Seeded(t testing.TB, name, seed string) string {
	t.Helper()
	key := name + "-" + strings.ReplaceAll(seed, " ", "-")
	return i.image(t, filepath.Join("seeds", key, name), "v1", "-app", name, "-target", "virtio", "-seed", seed, "-strip=false")
}

// Tiny is the image of an appliance in the tiny profile.
func (i *Images) Tiny(t testing.TB, name, goamd64 string) string {
	t.Helper()
	return i.image(t, name+"-tiny", goamd64, "-app", name, "-target", "virtio", "-profile", "tiny")
}

// Program is the image of a program, such as ampoule/boot/guests/hello.
func (i *Images) Program(t testing.TB, pkg, goamd64 string) string {
	t.Helper()
	return i.image(t, filepath.Base(pkg), goamd64, "-pkg", pkg)
}

func (i *Images) image(t testing.TB, name, goamd64 string, args ...string) string {
	t.Helper()
	key := name + "-" + goamd64
	i.mu.Lock()
	if i.built == nil {
		i.built = map[string]func() (string, error){}
	}
	if i.built[key] == nil {
		i.built[key] = sync.OnceValues(func() (string, error) { return build(key, append(args, "-goamd64", goamd64)) })
	}
	get := i.built[key]
	i.mu.Unlock()
	p, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build runs mkimage at the top of the tree.
func build(key string, args []string) (string, error) {
	root, err := workspace.Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(root, "build", "guests", key+".elf")
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", append([]string{"run", "ampoule/tools/mkimage", "-o", out}, args...)...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", key, err, b)
	}
	return out, nil
}

// Boot starts c and ends it with the test, when a failed one shows the console.
func Boot(t testing.TB, c vm.Config) *vm.VM {
	t.Helper()
	v, err := vm.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.Close()
		if t.Failed() {
			t.Logf("command: %s\nconsole:\n%s", v.Command(), v.Console())
		}
	})
	return v
}

// CPU is the model to run an image on that was built for a level: for v1 one
// without AVX and XSAVE, so that such an instruction would show.
func CPU(goamd64 string) string {
	if goamd64 == "v1" {
		return "Nehalem,rdrand=on"
	}
	return "max"
}

// Segment opens a segment that ends with the test.
func Segment(t testing.TB, o netpeer.Options) *netpeer.Segment {
	t.Helper()
	s, err := netpeer.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Up waits until s of the guest v answers at addr.
func Up(t testing.TB, v *vm.VM, dial load.Dial, addr string, s load.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { // no answer will come from a guest that has ended
		select {
		case <-v.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := load.Probe(ctx, dial, addr, s, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}
