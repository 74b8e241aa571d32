package answer

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"ampoule/libos/freeport"
)

// recordNSD runs NSD on the loopback interface, asks it everything and writes
// nsd.golden.
func recordNSD(t *testing.T, questions []question) {
	t.Helper()
	addr := startNSD(t)
	var b strings.Builder
	fmt.Fprintf(&b, "# Answers of %s to questions.txt, by go test -run TestGolden -update.\n", nsdVersion(t))
	for _, q := range questions {
		fmt.Fprintf(&b, "\n%s\n%s", q.text, describe(exchange(t, addr, q)))
	}
	if err := os.WriteFile(testdata+"nsd.golden", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func nsdVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nsd", "-v").CombinedOutput()
	if err != nil {
		t.Fatalf("nsd -v: %v (Debian: apt-get install nsd)", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// nsdConfig lacks the port and the folder.
const nsdConfig = `server:
	ip-address: 127.0.0.1@%[1]d
	zonesdir: %[2]q
	zonelistfile: "%[2]s/zone.list"
	xfrdfile: "%[2]s/xfrd.state"
	xfrdir: %[2]q
	pidfile: "%[2]s/nsd.pid"
	database: ""
	username: ""
	server-count: 1
	minimal-responses: yes
	refuse-any: yes
	hide-version: yes
	hide-identity: yes
	rrl-ratelimit: 0
	ipv4-edns-size: 1232
remote-control:
	control-enable: no
`

// startNSD starts NSD with the test zones and returns its address. NSD knows no
// $GENERATE, so it gets the zones written out.
func startNSD(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	dir := t.TempDir()
	conf := fmt.Sprintf(nsdConfig, port, dir)
	for _, o := range origins {
		_, rrs := loadZone(t, o)
		var z strings.Builder
		for _, rr := range rrs {
			fmt.Fprintln(&z, rr)
		}
		if err := os.WriteFile(filepath.Join(dir, o+"zone"), []byte(z.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		conf += fmt.Sprintf("zone:\n\tname: %q\n\tzonefile: \"%szone\"\n", o, o)
	}
	if err := os.WriteFile(filepath.Join(dir, "nsd.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for range 100 {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeSOA)
		if _, err := dns.Exchange(m, addr); err == nil {
			return addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("NSD does not answer")
	return ""
}

// exchange sends a question and returns the answer, or nil when there is none
// within half a second.
func exchange(t *testing.T, addr string, q question) []byte {
	t.Helper()
	network := "udp"
	if q.tcp {
		network = "tcp"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	msg := q.msg
	if q.tcp {
		msg = append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...)
	}
	if _, err := c.Write(msg); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65535)
	if !q.tcp {
		n, _ := c.Read(b)
		return b[:n]
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return nil
	}
	n, _ := io.ReadFull(c, b[:int(b[0])<<8|int(b[1])])
	return b[:n]
}
