package guesttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/dnssoak/siege"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/workspace"
)

// siegeTime is short for a soak: `make soak-dns` takes a minute for each.
const siegeTime = 12 * time.Second

func besiege(t *testing.T, o siege.Options) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT PASSED: needs root for a network namespace and a tap device")
	}
	o.Machine, o.CPU, o.RAM, o.For = vm.MicroVM, guest.CPU("v3"), 16, siegeTime
	r, err := siege.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// TestDNSFullRate: dnsperf at full rate against 16 MiB. The guest loses nothing,
// answers nothing wrong, and its memory stays as it was.
func TestDNSFullRate(t *testing.T) {
	besiege(t, siege.Options{Image: images.App(t, "dns", "v3")})
}

// TestDNSFlood: the same for an image with rate limiting and cookies under a flood
// from thousands of addresses, the network of a well-behaved client's among them:
// that client gets all its answers, over TCP where it must, and one with a cookie
// gets them over UDP.
func TestDNSFlood(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(root, "tools/dnssoak/limited.toml"))
	if err != nil {
		t.Fatal(err)
	}
	image := images.Configured(t, "dns", "limited", strings.ReplaceAll(string(config), "../../configs", filepath.Join(root, "configs")), "v3")
	besiege(t, siege.Options{Image: image, Flood: 5000, Rate: 10})
}
