package guesttest

import (
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/workspace"
)

// TestDNS asks the DNS appliance, as configured in configs/, with dig.
func TestDNS(t *testing.T) {
	if _, err := exec.LookPath("dig"); err != nil {
		t.Fatal("dig is not installed: run make setup")
	}
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		g := guest.Boot(t, vm.Config{Image: images.App(t, "dns", v.GOAMD64), Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: 32, RNG: true,
			Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}}})
		var d net.Dialer
		guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("www.example.org"))
		for _, proto := range []string{"udp", "tcp"} {
			for _, tc := range []struct{ name, kind, status, want string }{
				{"example.org", "SOA", "NOERROR", "hostmaster.example.org. 2026010101 "},
				{"www.example.org", "A", "NOERROR", "192.0.2.80"},
				{"EXAMPLE.org", "AAAA", "NOERROR", "2001:db8::80"},
				{"deep.apps.example.org", "A", "NOERROR", "192.0.2.90"},
				{"mail.example.org", "MX", "NOERROR", "ANSWER: 0"},
				{"nowhere.example.org", "A", "NXDOMAIN", "ANSWER: 0"},
				{"80.2.0.192.in-addr.arpa", "PTR", "NOERROR", "example.org."},
				{"example.com", "A", "REFUSED", "ANSWER: 0"},
			} {
				out := dig(t, g.Addr(proto, 53), proto, tc.name, tc.kind)
				if !strings.Contains(out, "status: "+tc.status) || !strings.Contains(out, tc.want) {
					t.Errorf("%s %s %s: want %s and %q:\n%s", proto, tc.name, tc.kind, tc.status, tc.want, out)
				}
			}
		}
	})
}

// TestDNSSmall: the DNS appliance, in both profiles, serves in 16 MiB.
func TestDNSSmall(t *testing.T) {
	for profile, build := range map[string]func(testing.TB, string, string) string{"default": images.App, "tiny": images.Tiny} {
		for _, m := range vm.Machines {
			t.Run(profile+"-"+string(m), func(t *testing.T) {
				g := guest.Boot(t, vm.Config{Image: build(t, "dns", "v1"), Machine: m, CPU: guest.CPU("v1"), RAM: 16, RNG: true,
					Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}}})
				var d net.Dialer
				guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("www.example.org"))
				for _, proto := range []string{"udp", "tcp"} {
					if out := dig(t, g.Addr(proto, 53), proto, "www.example.org", "A"); !strings.Contains(out, "192.0.2.80") {
						t.Errorf("over %s:\n%s", proto, out)
					}
				}
			})
		}
	}
}

func dig(t *testing.T, addr, proto, name, kind string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"@" + host, "-p", port, name, kind, "+norecurse", "+tries=2", "+time=5"}
	if proto == "tcp" {
		args = append(args, "+tcp")
	}
	out, err := exec.CommandContext(t.Context(), "dig", args...).CombinedOutput()
	if err != nil {
		t.Errorf("dig %v: %v", args, err)
	}
	return string(out)
}

// TestRun holds the newcomer's command to what the README shows.
func TestRun(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	image := images.App(t, "dns", "v1")
	bin := filepath.Join(t.TempDir(), "run")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "ampoule/tools/run")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`\$ dig @127.0.0.1 .* \+tcp\n`, `192\.0\.2\.80`, `first answer \d+ ms after QEMU's start`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if left, _ := exec.Command("pgrep", "-f", image).Output(); len(left) > 0 {
		t.Errorf("still running: %s", left)
	}
	if out, err := exec.CommandContext(t.Context(), bin, "/nowhere.elf").CombinedOutput(); err == nil || !strings.Contains(string(out), "/nowhere.elf") {
		t.Errorf("an image that is not there: %v\n%s", err, out)
	}
}
