package guesttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// collected is an image that sends its log to the host.
const collected = `hostname = "edge-7"

[network]
ipv4 = "10.0.2.15/24"

[syslog]
server = "10.0.2.2:514"
facility = "local3"
`

// rsyslog is a configuration of rsyslogd that takes messages apart: it has its folder,
// and where they come from.
const rsyslog = `global(workDirectory="%[1]s")
module(load="mmpstrucdata")
%[2]s
template(name="parts" type="list") {
	property(name="syslogfacility-text") constant(value="|")
	property(name="syslogseverity-text") constant(value="|")
	property(name="protocol-version") constant(value="|")
	property(name="timereported" dateFormat="rfc3339") constant(value="|")
	property(name="hostname") constant(value="|")
	property(name="app-name") constant(value="|")
	property(name="$!rfc5424-sd!meta!sequenceid") constant(value="|")
	property(name="$!rfc5424-sd!ampoule@32473!platform") constant(value="|")
	property(name="$!rfc5424-sd!ampoule@32473!addresses") constant(value="|")
	property(name="msg") constant(value="\n")
}
action(type="mmpstrucdata")
action(type="omfile" file="%[1]s/log" template="parts")
`

// overUDP and overTLS are where they come from; the latter takes them from clients
// with a certificate for edge-7 only.
const (
	overUDP = `module(load="imudp")
input(type="imudp" address="10.0.2.2" port="514")`
	overTLS = `global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="%[1]s/ca.pem"
	defaultNetstreamDriverCertFile="%[1]s/collector.pem" defaultNetstreamDriverKeyFile="%[1]s/collector.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer=["edge-7"])
input(type="imtcp" address="10.0.2.2" port="6514")`
)

// TestSyslog has rsyslogd take the log of a booted image apart.
func TestSyslog(t *testing.T) {
	s := linuxSegment(t)
	dir := t.TempDir()
	conf := rsyslogConfig(t, dir, overUDP)
	startDaemon(t, s, "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	listens(t, s, "udp", 514)
	v := guest.Boot(t, vm.Config{Image: images.Configured(t, "echo", "collected", collected, "v1"), Machine: vm.MicroVM, RAM: 32, RNG: true, Net: s.Net()})
	guest.Up(t, v, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
	served(t, dir, `^local3\|info\|1\|2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)\|edge-7\|echo\|1\|virtio\|10\.0\.2\.15/24\| ?serving$`)
}

// securely is what collected has besides for TLS; %s is the folder of its files.
const securely = `queue = 1024
authorities = "%[1]s/ca.pem"
name = "logs.example"
certificate = "%[1]s/edge.pem"
key_in_image = true
`

// TestSyslogTLS has the log of a booted image go over TLS, with certificates on both
// sides. One that poses as the collector is told nothing, and holds nothing up; what was
// logged meanwhile comes when the right one is there. When that is killed and started again
// no message is missing.
func TestSyslogTLS(t *testing.T) {
	s := linuxSegment(t)
	dir := t.TempDir()
	root := mgmttest.Root(t, "root")
	collector := root.Issue(t, mgmttest.Spec{Name: "logs.example", Hosts: []string{"logs.example"}})
	poser := root.Issue(t, mgmttest.Spec{Name: "poser.example", Hosts: []string{"poser.example"}})
	edge := root.Issue(t, mgmttest.Spec{Name: "edge-7", Hosts: []string{"edge-7"}, Client: true})
	files := map[string][]byte{"ca.pem": root.Cert(), "edge.pem": edge.Bundle(t), "collector.pem": poser.Cert(), "collector.key": poser.KeyPEM(t)}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := rsyslogConfig(t, dir, fmt.Sprintf(overTLS, dir))
	image := images.Configured(t, "echo", "collected-tls", strings.Replace(collected, ":514", ":6514", 1)+fmt.Sprintf(securely, dir), "v1")
	t.Cleanup(func() { os.Remove(image) })
	daemon := func() *daemon {
		return startDaemon(t, s, "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	}
	first := daemon()
	listens(t, s, "tcp", 6514)
	v := guest.Boot(t, vm.Config{Image: image, Machine: vm.MicroVM, RAM: 32, RNG: true, Net: s.Net(), Append: "stats=1"})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if _, err := v.WaitLine(ctx, regexp.MustCompile(`x509: certificate is valid for poser.example, not logs.example`)); err != nil {
		t.Fatalf("%v\n%s", err, v.Console())
	}
	guest.Up(t, v, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
	first.stop()
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && len(log) > 0 {
		t.Errorf("who poses as the collector was told:\n%s", log)
	}
	for name, data := range map[string][]byte{"collector.pem": collector.Cert(), "collector.key": collector.KeyPEM(t)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := daemon()
	served(t, dir, `^local3\|info\|1\|2[^|]*\|edge-7\|echo\|1\|virtio\|10\.0\.2\.15/24\| ?serving$`)
	reached(t, dir, 11) // long enough that it is tried again at once
	second.stop()       // with SIGKILL, amid a message a second
	time.Sleep(1500 * time.Millisecond)
	daemon()
	reached(t, dir, 3)
}

// reached waits until rsyslogd has so many messages more, and every one before them.
func reached(t *testing.T, dir string, more int) {
	t.Helper()
	first := 0
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		there, highest := map[int]bool{}, 0
		for l := range strings.Lines(string(log)) {
			if f := strings.Split(l, "|"); len(f) > 6 {
				n, _ := strconv.Atoi(f[6])
				there[n], highest = true, max(highest, n)
			}
		}
		if first == 0 {
			first = highest
		}
		if highest < first+more {
			continue
		}
		for n := 1; n <= highest; n++ {
			if !there[n] {
				t.Errorf("of messages up to %d, %d is missing:\n%s", highest, n, log)
				return
			}
		}
		return
	}
	t.Errorf("no more than %d messages came", first)
}

// rsyslogConfig writes a configuration.
func rsyslogConfig(t *testing.T, dir, from string) string {
	t.Helper()
	conf := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, rsyslog, dir, from), 0o644); err != nil {
		t.Fatal(err)
	}
	return conf
}

// served waits for the first line that rsyslogd writes.
func served(t *testing.T, dir, want string) {
	t.Helper()
	line := regexp.MustCompile(want)
	var log []byte
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		log, _ = os.ReadFile(filepath.Join(dir, "log"))
		if first, _, ok := strings.Cut(string(log), "\n"); ok && line.MatchString(first) {
			return
		}
	}
	t.Errorf("rsyslogd has no line %v, but:\n%s", line, log)
}

// listens waits until somebody has a port of the segment's host.
func listens(t *testing.T, s *netpeer.Segment, proto string, port int) {
	t.Helper()
	var table []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err := s.Peer.(*netpeer.Linux).Do(func() (err error) {
			table, err = os.ReadFile("/proc/thread-self/net/" + proto)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(table), fmt.Sprintf(":%04X 00000000:0000", port)) {
			return
		}
	}
	t.Fatalf("nobody listens at port %d:\n%s", port, table)
}
