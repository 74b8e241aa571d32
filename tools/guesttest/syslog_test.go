package guesttest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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

// rsyslog is a configuration of rsyslogd that takes messages apart: %s is its
// folder.
const rsyslog = `global(workDirectory="%[1]s")
module(load="imudp")
module(load="mmpstrucdata")
input(type="imudp" address="10.0.2.2" port="514")
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

// TestSyslog has rsyslogd take the log of a booted image apart.
func TestSyslog(t *testing.T) {
	s := linuxSegment(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(rsyslog, dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, s, "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	listens(t, s, 514)
	v := guest.Boot(t, vm.Config{Image: images.Configured(t, "echo", "collected", collected, "v1"), Machine: vm.MicroVM, RAM: 32, RNG: true, Net: s.Net()})
	guest.Up(t, v, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
	want := regexp.MustCompile(`^local3\|info\|1\|2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)\|edge-7\|echo\|1\|virtio\|10\.0\.2\.15/24\| ?serving$`)
	var log []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		log, _ = os.ReadFile(filepath.Join(dir, "log"))
		if line, _, ok := strings.Cut(string(log), "\n"); ok && want.MatchString(line) {
			return
		}
	}
	t.Errorf("rsyslogd has no line %v, but:\n%s", want, log)
}

// listens waits until somebody has a UDP port of the segment's host.
func listens(t *testing.T, s *netpeer.Segment, port int) {
	t.Helper()
	var table []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err := s.Peer.(*netpeer.Linux).Do(func() (err error) {
			table, err = os.ReadFile("/proc/thread-self/net/udp")
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
