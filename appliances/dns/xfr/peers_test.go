package xfr_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/dnsd"
	"ampoule/appliances/dns/peertest"
	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/tsig/algorithm"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
)

const wait = 20 * time.Second

// text is a zone with an answer for each kind of record that names are in.
func text(origin string, serial int) string {
	return fmt.Sprintf(`$ORIGIN %s
@ 3600 SOA ns hostmaster %d 300 60 3600 300
@ 3600 NS ns
@ 3600 NS ns.elsewhere.example.
@ 300 MX 10 mail
ns 300 A 192.0.2.1
Mail 300 AAAA 2001:db8::1
v%d 60 TXT "version %d"
_sip._tcp 300 SRV 1 2 3 ns
*.wild 300 CNAME ns
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.2
old 300 DNAME new
t 300 TYPE65534 \# 4 01020304
`, origin, serial, serial, serial)
}

func key() tsig.Ring {
	return tsig.Ring{{Name: "\x08transfer\x03key\x00", Algorithm: &algorithm.SHA256, Secret: peertest.Secret}}
}

// primary starts our server with a zone, which those may have whom the rules let.
func primary(t *testing.T, notify []xfr.Target, rules ...xfr.Rule) (port int) {
	t.Helper()
	port = peertest.Port(t)
	peertest.Start(t, dnsd.Config{
		Port:  uint16(port),
		Zones: []zone.Zone{peertest.Compile(t, "example.org.", text("example.org.", 7))},
		Keys:  key(),
		Peers: &xfr.Config{Keys: key(), Zones: []xfr.Zone{{Origin: "\x07example\x03org\x00", Policy: xfr.Policy{Allow: rules, Notify: notify}}}},
	})
	return port
}

var (
	signedOnly = xfr.Rule{Key: "\x08transfer\x03key\x00"}
	loopback   = xfr.Rule{Prefix: netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere  = xfr.Rule{Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	both       = xfr.Rule{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Key: "\x08transfer\x03key\x00"}
)

// TestDig has dig transfer a zone, by all that a rule can ask for.
func TestDig(t *testing.T) {
	good := "-y=hmac-sha256:" + peertest.KeyName + ":" + peertest.Secret64
	const bad = "-y=hmac-sha256:" + peertest.KeyName + ":d3Jvbmc="
	const unknown = "-y=hmac-sha256:unknown.key.:d3Jvbmc="
	for _, tc := range []struct {
		rules []xfr.Rule
		args  []string
		want  string
	}{
		{nil, nil, "Transfer failed"},
		{nil, []string{good}, "Transfer failed"},
		{[]xfr.Rule{{}}, nil, "Transfer failed"},
		{[]xfr.Rule{loopback}, nil, "XFR size: 14 records"},
		{[]xfr.Rule{elsewhere}, nil, "Transfer failed"},
		{[]xfr.Rule{elsewhere, loopback}, nil, "XFR size: 14 records"},
		{[]xfr.Rule{signedOnly}, nil, "Transfer failed"},
		{[]xfr.Rule{signedOnly}, []string{good}, "XFR size: 14 records"},
		{[]xfr.Rule{signedOnly}, []string{bad}, "status: NOTAUTH"},
		{[]xfr.Rule{signedOnly}, []string{unknown}, "status: NOTAUTH"},
		{[]xfr.Rule{both}, []string{good}, "XFR size: 14 records"},
		{[]xfr.Rule{both}, nil, "Transfer failed"},
		{[]xfr.Rule{loopback}, []string{good}, "XFR size: 14 records"},
	} {
		port := primary(t, nil, tc.rules...)
		args := []string{"+noall", "+answer", "+comments", "+stats", "example.org", "AXFR"}
		for _, a := range tc.args {
			args = append(args, "-y", strings.TrimPrefix(a, "-y="))
		}
		got := peertest.Dig(t, port, args...)
		if !strings.Contains(got, tc.want) {
			t.Errorf("%v %v: want %q:\n%s", tc.rules, tc.args, tc.want, got)
		}
	}
}

// TestIXFRWithoutJournal has dig ask for the difference to versions.
func TestIXFRWithoutJournal(t *testing.T) {
	port := primary(t, nil, loopback)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"IXFR=6"}, "XFR size: 14 records"},
		{[]string{"IXFR=7"}, "XFR size: 1 records"},
		{[]string{"IXFR=8"}, "XFR size: 1 records"},
		{[]string{"IXFR=2147483660"}, "XFR size: 14 records"}, // RFC 1982: older
		{[]string{"IXFR=6", "+notcp"}, "rcvd: 101\n"},
	} {
		got := peertest.Dig(t, port, append([]string{"example.org"}, tc.args...)...)
		if !strings.Contains(got, tc.want) {
			t.Errorf("%v: want %q:\n%s", tc.args, tc.want, got)
		}
	}
	for _, name := range []string{"example.com", "www.example.org"} {
		if got := peertest.Dig(t, port, "+noall", "+comments", name, "AXFR"); !strings.Contains(got, "status: NOTAUTH") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestToNSD has NSD as our secondary: with the key, with a wrong one, and none.
func TestToNSD(t *testing.T) {
	port := peertest.Port(t)
	ours := primary(t, []xfr.Target{{Addr: peertest.Addr(port), Key: signedOnly.Key}}, signedOnly)
	nsd := peertest.NSD(t, t.TempDir(), port, fmt.Sprintf("zone:\n\tname: example.org\n\tzonefile: example.org.zone\n"+
		"\trequest-xfr: AXFR 127.0.0.1@%d %s\n\tallow-notify: 127.0.0.1 %s\n", ours, peertest.KeyName, peertest.KeyName))
	secondary(t, port)
	nsd.Control("write", "example.org")
	same(t, filepath.Join(nsd.Dir, "example.org.zone"))
}

// TestToNSDWrongKey has NSD ask with another secret: it gets nothing.
func TestToNSDWrongKey(t *testing.T) {
	for _, key := range []string{"wrong.key.", "NOKEY"} {
		port := peertest.Port(t)
		ours := primary(t, nil, signedOnly)
		peertest.NSD(t, t.TempDir(), port, fmt.Sprintf("zone:\n\tname: example.org\n\trequest-xfr: AXFR 127.0.0.1@%d %s\n", ours, key))
		time.Sleep(2 * time.Second)
		if got := peertest.Dig(t, port, "example.org", "SOA"); !strings.Contains(got, "SERVFAIL") {
			t.Errorf("%s:\n%s", key, got)
		}
	}
}

// TestToKnot has Knot as our secondary.
func TestToKnot(t *testing.T) {
	port := peertest.Port(t)
	ours := primary(t, []xfr.Target{{Addr: peertest.Addr(port), Key: signedOnly.Key}}, both)
	knot := peertest.Knot(t, t.TempDir(), port, fmt.Sprintf(`remote:
  - id: ours
    address: 127.0.0.1@%d
    key: %s
acl:
  - id: notify
    address: 127.0.0.1
    key: %s
    action: notify
zone:
  - domain: example.org
    master: ours
    acl: notify
`, ours, peertest.KeyName, peertest.KeyName))
	secondary(t, port)
	knot.Control("-f", "zone-flush", "example.org", "+outdir", knot.Dir)
	same(t, filepath.Join(knot.Dir, "example.org.zone"))
}

// secondary waits until the server on a port has our zone.
func secondary(t *testing.T, port int) {
	t.Helper()
	peertest.Until(t, wait, func() string { return peertest.Dig(t, port, "v7.example.org", "TXT") }, peertest.Has(`"version 7"`))
}

// same compares a zone file that another server wrote with our zone.
func same(t *testing.T, file string) {
	t.Helper()
	var b []byte
	peertest.Until(t, wait, func() string { b, _ = os.ReadFile(file); return string(b) }, peertest.Has("version 7"))
	want, got := lines(t, text("example.org.", 7)), lines(t, string(b))
	if want != got {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// lines is a zone in a form that can be compared: by ldns.
func lines(t *testing.T, text string) string {
	t.Helper()
	file := peertest.Write(t, t.TempDir(), "zone", text)
	out, err := exec.Command("ldns-read-zone", "-c", "-z", "-0", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var keep []string
	for l := range strings.Lines(string(out)) {
		if !strings.HasPrefix(l, ";") {
			keep = append(keep, strings.ToLower(l))
		}
	}
	return strings.Join(keep, "")
}
