package guesttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ampoule/libos/freeport"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
)

const (
	secondaryKey = "a2V5IG9mIHRoZSBzZWNvbmRhcnkgdGVzdA=="
	secondaryNSD = `server:
	ip-address: 127.0.0.1@%[1]d
	zonesdir: %[2]q
	zonelistfile: "%[2]s/zone.list"
	xfrdfile: "%[2]s/xfrd.state"
	xfrdir: %[2]q
	pidfile: "%[2]s/nsd.pid"
	database: ""
	username: ""
	server-count: 1
	xfrd-reload-timeout: 0
remote-control:
	control-enable: yes
	control-interface: "%[2]s/nsd.ctl"
key:
	name: "transfer.key"
	algorithm: hmac-sha256
	secret: %[3]q
zone:
	name: secondary.test
	zonefile: zone
	provide-xfr: 127.0.0.1 transfer.key
	notify: 127.0.0.1@%[4]s transfer.key
`
	secondaryTOML = `hostname = "ns2"
[network]
ipv4 = "10.0.2.15/24"
gateway4 = "10.0.2.2"
[dns.secondary]
expire_min = "1s"
retry_min = "1s"
refresh_min = "1s"
[[dns.keys]]
name = "transfer.key"
file = "%[2]s/secret"
secret_in_image = true
[[dns.zones]]
origin = "secondary.test"
primaries = ["10.0.2.2:%[1]d key:transfer.key"]
allow_transfer = ["key:transfer.key"]
[[dns.zones]]
origin = "here.test"
file = "%[2]s/here"
`
	secondaryZone = "@ 60 SOA ns host %d %s 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nversion 60 TXT v%d\n"
)

// TestSecondary boots the DNS appliance as secondary of an NSD on the host side of
// its network: the zone comes, a change comes by NOTIFY, and without the primary
// the zone expires.
func TestSecondary(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port, release, err := freeport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	write("secret", secondaryKey)
	write("zone", fmt.Sprintf(secondaryZone, 1, "300 1 3600", 1))
	write("here", fmt.Sprintf(secondaryZone, 1, "300 1 3600", 1))
	v := guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}
	g := guest.Boot(t, vm.Config{Image: images.Configured(t, "dns", "secondary", fmt.Sprintf(secondaryTOML, port, dir), v.GOAMD64),
		Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: 32, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}}}})
	var d net.Dialer
	guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("ns.here.test"))
	status := func() string { return dig(t, g.Addr("udp", 53), "udp", "version.secondary.test", "TXT") }
	if got := status(); !strings.Contains(got, "status: SERVFAIL") {
		t.Errorf("before the first transfer:\n%s", got)
	}
	_, notify, err := net.SplitHostPort(g.Addr("udp", 53))
	if err != nil {
		t.Fatal(err)
	}
	write("nsd.conf", fmt.Sprintf(secondaryNSD, port, dir, secondaryKey, notify))
	stop := startNSD(t, filepath.Join(dir, "nsd.conf"))
	until(t, status, `"v1"`)
	change := func(serial int, times string) {
		t.Helper()
		write("zone", fmt.Sprintf(secondaryZone, serial, times, serial))
		if out, err := exec.Command("nsd-control", "-c", filepath.Join(dir, "nsd.conf"), "reload").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		start := time.Now()
		until(t, status, fmt.Sprintf(`"v%d"`, serial))
		t.Logf("version %d is served %v after the primary read it", serial, time.Since(start))
	}
	change(2, "300 1 3600")
	change(3, "2 1 4")
	axfr, err := exec.Command("dig", "@127.0.0.1", "-p", portOf(t, g.Addr("tcp", 53)), "-y", "hmac-sha256:transfer.key:"+secondaryKey,
		"secondary.test", "AXFR").CombinedOutput()
	if err != nil || !strings.Contains(string(axfr), "XFR size: 5 records") {
		t.Errorf("%v\n%s", err, axfr)
	}
	stop()
	until(t, status, "status: SERVFAIL")
	if !strings.Contains(g.Console(), "zone has expired") {
		t.Error("the console does not say that the zone has expired")
	}
}

// startNSD runs NSD until the test ends or stop is called.
func startNSD(t *testing.T, conf string) (stop func()) {
	t.Helper()
	nsd := exec.Command("nsd", "-d", "-c", conf)
	nsd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := nsd.Start(); err != nil {
		t.Fatalf("%v (tools/setup installs it)", err)
	}
	stop = sync.OnceFunc(func() { nsd.Process.Signal(syscall.SIGTERM); nsd.Wait() })
	t.Cleanup(stop)
	return stop
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// until asks until the answer has a text.
func until(t *testing.T, ask func() string, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		got := ask()
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %s:\n%s", text, got)
		}
	}
}
