package xen

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"ampoule/tools/workspace"
	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/rig"
)

// TestSeeds boots both appliances on Xen with three seeds each: link address,
// order of functions and data, and places of regions differ, what they do does
// not. The seed that they have by default is TestXen's.
func TestSeeds(t *testing.T) {
	images := map[string]string{}
	config := dnsConfig(t)
	for _, seed := range []string{"1", "2", "3"} {
		images["echo"+seed+".elf"] = buildSeeded(t, "echo", seed)
		images["dns"+seed+".elf"] = buildSeeded(t, "dns", seed, "-config", config)
	}
	r, err := rig.Start(t.Context(), rig.Options{Images: images, Say: func(s string) { t.Log(s) }})
	if errors.Is(err, dom0.ErrPackages) {
		t.Skipf("NOTHING WAS TESTED ON XEN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for _, seed := range []string{"1", "2", "3"} {
		t.Run(seed, func(t *testing.T) {
			h := &host{r, t}
			defer h.show()
			h.create("echo"+seed, 2)
			h.create("dns"+seed, 3)
			h.must("echo over UDP", h.echo(5))
			h.must("DNS over UDP", h.ask("udp"))
			h.must("DNS over TCP", h.ask("tcp"))
			for _, name := range []string{"echo" + seed, "dns" + seed} {
				h.xl("destroy", name)
				h.must("gone", h.WaitGone(t.Context(), name))
			}
		})
	}
}

// buildSeeded makes an image for Xen with a seed.
func buildSeeded(t *testing.T, app, seed string, args ...string) string {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(root, "build", "guests", "xen-seeds", app+seed+".elf")
	cmd := exec.Command("go", append([]string{"run", "ampoule/tools/mkimage", "-target", "xen", "-app", app, "-seed", seed, "-o", out}, args...)...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s with seed %s: %v\n%s", app, seed, err, b)
	}
	return out
}
