package xen

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ampoule/tools/workspace"
	"ampoule/tools/xenrig/rig"
)

// leaseConfig is a DNS appliance that has no address of its own.
func leaseConfig(t *testing.T) string {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "leased.toml")
	text := fmt.Sprintf("hostname = \"ns7\"\n\n[network]\ndhcp = true\n\n[[dns.zones]]\norigin = \"example.org\"\nfile = %q\n",
		filepath.Join(root, "configs", "dns", "example.org.zone"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// A bridge of its own keeps the server from QEMU's, which is behind the other.
const (
	leaseBridge = "leases"
	leaseMAC    = "00:16:3e:00:00:07"
	leaseServer = `
brctl addbr leases && ip link set leases up && ip addr add 192.0.2.1/24 dev leases || exit
cat >/run/udhcpd.conf <<END
start 192.0.2.100
end 192.0.2.110
interface leases
pidfile /run/udhcpd.pid
lease_file /run/udhcpd.leases
option subnet 255.255.255.0
option router 192.0.2.1
option lease 600
END
>/run/udhcpd.leases
udhcpd /run/udhcpd.conf </dev/null >/run/udhcpd.log 2>&1`
)

// leased boots an image without an address beside a DHCP server in dom0
// (busybox's), and asks it at the address that it was given: before and after a
// save, which the lease lives through.
func leased(h *host) {
	out, err := h.Run(h.t.Context(), 30*time.Second, leaseServer)
	h.must("DHCP server: "+out, err)
	defer func() {
		out, err := h.Run(context.WithoutCancel(h.t.Context()), 60*time.Second,
			"xl destroy leased; kill $(cat /run/udhcpd.pid); ip link set leases down && brctl delbr leases")
		if err != nil {
			h.t.Errorf("clean up: %v\n%s", err, out)
		}
	}()
	h.must("create", h.Create(h.t.Context(), "leased", rig.Guest{Image: "leased.elf", Memory: 32, ShadowMemory: 8,
		VIFs: []rig.VIF{{MAC: leaseMAC, Bridge: leaseBridge}}}))
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	line, err := h.WaitLog(ctx, "leased", regexp.MustCompile(`info lease .*ipv4=192\.0\.2\.1\d\d/24 gateway=192\.0\.2\.1 server=192\.0\.2\.1`))
	h.must("no lease", err)
	addr := regexp.MustCompile(`192\.0\.2\.1\d\d`).FindString(line)
	h.must("DNS over UDP", h.askAt("udp", addr+":53"))
	h.must("DNS over TCP", h.askAt("tcp", addr+":53"))
	// busybox writes the file when it is told to.
	out, err = h.Run(h.t.Context(), 30*time.Second, "kill -USR1 $(cat /run/udhcpd.pid); sleep 1; dumpleases -f /run/udhcpd.leases")
	if err != nil || !regexp.MustCompile(leaseMAC+` +`+regexp.QuoteMeta(addr)+` +ns7 `).MatchString(out) {
		h.t.Errorf("the server's leases (%v):\n%s", err, out)
	}
	h.xl("save", "leased", "/run/leased.save")
	h.xl("restore", "/run/leased.save")
	for tries := 20; ; tries-- {
		if err = h.askAt("udp", addr+":53"); err == nil || tries == 0 {
			break
		}
	}
	h.must("after restore", err)
	if _, err := h.Run(h.t.Context(), 20*time.Second, "rm -f /run/leased.save"); err != nil {
		h.t.Error(err)
	}
	log, err := h.GuestLog(h.t.Context(), "leased")
	if err != nil || strings.Contains(log, "lease lost") {
		h.t.Errorf("the lease was lost (%v):\n%s", err, log)
	}
}
