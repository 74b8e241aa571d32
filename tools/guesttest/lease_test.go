package guesttest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// leased is an image whose addresses come from the network, and whose log goes
// to a collector.
const leased = `hostname = "edge-7"

[network]
dhcp = true
slaac = true

[console]
level = "debug"

[syslog]
server = "10.0.2.2:514"
facility = "local3"
level = "debug"
`

// eui64 is the address that the guest makes of its MAC address (RFC 4291,
// appendix A) in fec0::/64.
const eui64 = "fec0::5054:ff:fe12:3456"

// waitLine waits for a line of the console, which may have come already.
func waitLine(t *testing.T, v *vm.VM, limit time.Duration, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, line := range v.Lines() {
			if re.MatchString(line) {
				return line
			}
		}
	}
	t.Fatalf("no line %q on the console in %v", pattern, limit)
	return ""
}

// daemon is a program in the namespace of a segment, and what it has said.
type daemon struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(b)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// stop ends the program.
func (d *daemon) stop() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// startDaemon starts a program in the namespace; it ends with the test.
func startDaemon(t *testing.T, s *netpeer.Segment, name string, args ...string) *daemon {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run make setup", name)
	}
	d := &daemon{cmd: exec.Command(path, args...)}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	if err := s.Peer.(*netpeer.Linux).Start(d.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, d.said())
		}
	})
	return d
}

// linuxSegment opens a segment whose host is Linux, where programs can run.
func linuxSegment(t *testing.T) *netpeer.Segment {
	t.Helper()
	s, err := netpeer.Open(netpeer.Options{Kind: netpeer.KindLinux})
	if err != nil {
		t.Skipf("no network namespace on this machine, so no DHCP server: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dnsmasq serves DHCP, with leases from hosts for its shortest time of two
// minutes, and router advertisements.
func dnsmasq(t *testing.T, s *netpeer.Segment, leases, hosts string) *daemon {
	t.Helper()
	return startDaemon(t, s, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--port=0", "--interface=tap0",
		"--dhcp-range="+hosts+",255.255.255.0,2m", "--dhcp-option=option:router,10.0.2.2", "--dhcp-authoritative", "--no-ping",
		"--enable-ra", "--dhcp-range=fec0::,ra-only,64,10m", "--dhcp-leasefile="+leases, "--log-dhcp")
}

// TestLeases boots an image without an address of its own beside a DHCP server
// and router, and asks it at the addresses that they have given it.
func TestLeases(t *testing.T) {
	for _, m := range vm.Machines {
		t.Run(string(m), func(t *testing.T) {
			s := linuxSegment(t)
			leases := filepath.Join(t.TempDir(), "leases")
			d := dnsmasq(t, s, leases, "10.0.2.100,10.0.2.120")
			v := guest.Boot(t, vm.Config{Image: images.Configured(t, "echo", "leased", leased, "v1"), Machine: m, RAM: 32, RNG: true, Net: s.Net()})
			line := waitLine(t, v, 30*time.Second, `info lease .*ipv4=10\.0\.2\.1[0-2]\d/24 gateway=10\.0\.2\.2 server=10\.0\.2\.2`)
			four := regexp.MustCompile(`10\.0\.2\.1[0-2]\d`).FindString(line)
			waitLine(t, v, 30*time.Second, `default router .*ipv6=fe80::`)
			waitLine(t, v, 30*time.Second, `addresses from routers .*ipv6=`+eui64+`/64`)
			for _, a := range []string{four, eui64} {
				addr := netip.MustParseAddr(a)
				guest.Up(t, v, s.DialContext, echoAddr(addr), load.Echo(64))
				roundTrip(t, dial(t, s, "tcp", addr, 20*time.Second), 100_000)
			}
			b, err := os.ReadFile(leases)
			if err != nil || !strings.Contains(string(b), fmt.Sprintf("%s %s edge-7 ", netpeer.GuestMAC, four)) {
				t.Errorf("the server's leases: %q, %v", b, err)
			}
			if m == vm.MicroVM {
				renewed(t, s, v, d, four)
			}
		})
	}
}

// renewed waits for the lease to be renewed with its own server, and then, when
// it no longer answers, to run out; and for a new server to be found.
func renewed(t *testing.T, s *netpeer.Segment, v *vm.VM, d *daemon, address string) {
	waitLine(t, v, 90*time.Second, `debug lease renewed .*server=10\.0\.2\.2`)
	if n := strings.Count(d.said(), "DHCPDISCOVER("); n != 1 {
		t.Errorf("%d searches for a server instead of a renewal", n)
	}
	d.stop()
	waitLine(t, v, 150*time.Second, `warn lease lost .*ipv4=`+regexp.QuoteMeta(address))
	dnsmasq(t, s, filepath.Join(t.TempDir(), "leases"), "10.0.2.200,10.0.2.210")
	line := waitLine(t, v, 90*time.Second, `info lease .*ipv4=10\.0\.2\.2[01]\d/24`)
	addr := netip.MustParseAddr(regexp.MustCompile(`10\.0\.2\.2[01]\d`).FindString(line))
	guest.Up(t, v, s.DialContext, echoAddr(addr), load.Echo(64))
}

// TestUserNetwork takes addresses from the server and router in QEMU's own
// network.
func TestUserNetwork(t *testing.T) {
	v := guest.Boot(t, vm.Config{Image: images.Configured(t, "echo", "leased", leased, "v1"), Machine: vm.MicroVM, RAM: 32, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: echoPort}}}})
	waitLine(t, v, 30*time.Second, `info lease .*ipv4=10\.0\.2\.15/24 gateway=10\.0\.2\.2`)
	waitLine(t, v, 30*time.Second, `addresses from routers .*ipv6=`+eui64+`/64`)
	var d net.Dialer
	guest.Up(t, v, d.DialContext, v.Addr("udp", echoPort), load.Echo(64))
}
