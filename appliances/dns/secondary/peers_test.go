package secondary_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/dnsd"
	"ampoule/appliances/dns/peertest"
	"ampoule/appliances/dns/secondary"
	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/tsig/algorithm"
	"ampoule/appliances/dns/xfr"
)

const (
	wait    = 20 * time.Second
	keyName = "\x08transfer\x03key\x00"
	origin  = "\x07example\x03org\x00"
)

func keys() tsig.Ring {
	return tsig.Ring{
		{Name: keyName, Algorithm: &algorithm.SHA256, Secret: peertest.Secret},
		{Name: "\x05wrong\x03key\x00", Algorithm: &algorithm.SHA256, Secret: []byte("other")},
	}
}

// ours starts our server as secondary for zones.
func ours(t *testing.T, c secondary.Config) (port int, s *peertest.Server) {
	t.Helper()
	port = peertest.Port(t)
	c.Keys = keys()
	return port, peertest.Start(t, dnsd.Config{Port: uint16(port), Keys: keys(), Peers: &c})
}

// from is example.org from a server on a port, signed.
func from(port int, key string) secondary.Zone {
	return secondary.Zone{Zone: xfr.Zone{Origin: origin, Policy: xfr.Policy{Allow: []xfr.Rule{{Key: keyName}}}},
		Primaries: []secondary.Primary{{Addr: peertest.Addr(port), Key: key}}}
}

// text is a zone; refresh, retry and expire are in seconds.
func text(serial, refresh, retry, expire int, more ...string) string {
	return fmt.Sprintf("$ORIGIN example.org.\n@ 60 SOA ns host %d %d %d %d 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nserial 60 TXT v%d\nstays 60 A 192.0.2.9\n",
		serial, refresh, retry, expire, serial) + strings.Join(more, "\n") + "\n"
}

func answers(t *testing.T, port int, most time.Duration, want []string, ask ...string) {
	t.Helper()
	peertest.Until(t, most, func() string { return peertest.Dig(t, port, ask...) }, peertest.Has(want...))
}

// TestFromNSD has NSD as our primary: its zone comes, its changes come within
// seconds of its NOTIFY, and when it is gone the zone expires and comes back.
func TestFromNSD(t *testing.T) {
	dir, port := t.TempDir(), peertest.Port(t)
	us, s := ours(t, secondary.Config{Secondaries: []secondary.Zone{from(port, keyName)}, JournalBytes: 1 << 16})
	if got := peertest.Dig(t, us, "example.org", "SOA"); !strings.Contains(got, "SERVFAIL") {
		t.Errorf("a zone that is not loaded:\n%s", got)
	}
	if m := s.Plane.Missing(); !strings.Contains(m, "example.org.") {
		t.Errorf("missing: %q", m)
	}
	peertest.Write(t, dir, "example.org.zone", text(1, 300, 1, 3600))
	conf := fmt.Sprintf("zone:\n\tname: example.org\n\tzonefile: example.org.zone\n\tprovide-xfr: 127.0.0.1 %s\n\tnotify: 127.0.0.1@%d %s\n",
		peertest.KeyName, us, peertest.KeyName)
	nsd := peertest.NSD(t, dir, port, conf)
	answers(t, us, wait, []string{"v1"}, "serial.example.org", "TXT")

	peertest.Write(t, dir, "example.org.zone", text(2, 300, 1, 3600, "new 60 A 192.0.2.7", "www 60 CNAME new"))
	nsd.Control("reload", "example.org")
	start := time.Now()
	answers(t, us, wait, []string{"v2"}, "serial.example.org", "TXT")
	t.Logf("%v from reload to the new answer", time.Since(start))
	answers(t, us, 0, []string{"192.0.2.7"}, "www.example.org", "A")

	peertest.Write(t, dir, "example.org.zone", text(3, 2, 1, 4, "www 60 A 192.0.2.8"))
	nsd.Control("reload", "example.org")
	answers(t, us, wait, []string{"v3"}, "serial.example.org", "TXT")
	answers(t, us, 0, []string{"NXDOMAIN"}, "new.example.org", "A")
	answers(t, us, 0, []string{"192.0.2.8"}, "www.example.org", "A")
	// All versions, and the difference from each.
	for serial, records := range map[int]int{1: 15, 2: 9} {
		answers(t, us, 0, []string{fmt.Sprintf("XFR size: %d records", records)},
			"-y", "hmac-sha256:"+peertest.KeyName+":"+peertest.Secret64, "example.org", fmt.Sprintf("IXFR=%d", serial))
	}

	if m := s.Plane.Missing(); m != "" {
		t.Errorf("missing: %q", m)
	}
	s.Plane.Want(t, `ampoule_dns_zone_serial{zone="example.org."} 3`, `ampoule_dns_zone_loaded{zone="example.org."} 1`,
		`ampoule_dns_transfers_in_total{kind="axfr"} 3`, `ampoule_dns_transfers_out_total{kind="ixfr"} 2`, `ampoule_dns_zones_expired_total 0`)
	nsd.Stop()
	answers(t, us, wait, []string{"SERVFAIL"}, "serial.example.org", "TXT")
	s.Log.Wait(t, "zone has expired")
	s.Plane.Want(t, `ampoule_dns_zone_loaded{zone="example.org."} 0`, `ampoule_dns_zones_expired_total 1`)
	peertest.NSD(t, dir, port, conf)
	answers(t, us, wait, []string{"v3"}, "serial.example.org", "TXT")
}

// TestWrongKey asks NSD with a wrong key, one it does not know, and none.
func TestWrongKey(t *testing.T) {
	dir, port := t.TempDir(), peertest.Port(t)
	peertest.Write(t, dir, "example.org.zone", text(1, 300, 1, 3600))
	peertest.NSD(t, dir, port, fmt.Sprintf("zone:\n\tname: example.org\n\tzonefile: example.org.zone\n\tprovide-xfr: 127.0.0.1 %s\n", peertest.KeyName))
	for key, want := range map[string]string{"\x05wrong\x03key\x00": "BADSIG", "": "transfer failed"} {
		us, s := ours(t, secondary.Config{Secondaries: []secondary.Zone{from(port, key)}})
		s.Log.Wait(t, want)
		if got := peertest.Dig(t, us, "example.org", "SOA"); !strings.Contains(got, "SERVFAIL") {
			t.Errorf("%q:\n%s", key, got)
		}
	}
}

func knotConf(us int) string {
	return fmt.Sprintf(`remote:
  - id: ours
    address: 127.0.0.1@%d
    key: %[2]s
acl:
  - id: transfer
    address: 127.0.0.1
    key: %[2]s
    action: transfer
  - id: open
    address: 127.0.0.1
    action: transfer
policy:
  - id: nsec3
    nsec3: on
    nsec3-iterations: 0
    algorithm: ecdsap256sha256
`, us, peertest.KeyName)
}

// TestFromKnot has Knot as our primary: differences come by IXFR, one by one and
// several at once, and go on from us to NSD by IXFR.
func TestFromKnot(t *testing.T) {
	dir, port, next := t.TempDir(), peertest.Port(t), peertest.Port(t)
	z := from(port, keyName)
	z.Notify = []xfr.Target{{Addr: peertest.Addr(next), Key: keyName}}
	us, s := ours(t, secondary.Config{Secondaries: []secondary.Zone{z}, JournalBytes: 1 << 16})
	peertest.Write(t, dir, "example.org.zone", text(1, 300, 1, 3600))
	knot := peertest.Knot(t, dir, port, knotConf(us)+"zone:\n  - domain: example.org\n    file: example.org.zone\n    notify: ours\n    acl: transfer\n")
	answers(t, us, wait, []string{"v1"}, "serial.example.org", "TXT")
	peertest.NSD(t, t.TempDir(), next, fmt.Sprintf("zone:\n\tname: example.org\n\trequest-xfr: 127.0.0.1@%d %s\n\tallow-notify: 127.0.0.1 %s\n",
		us, peertest.KeyName, peertest.KeyName))
	answers(t, next, wait, []string{"v1"}, "serial.example.org", "TXT")
	change := func(commands ...string) {
		t.Helper()
		knot.Control("zone-begin", "example.org")
		for _, c := range commands {
			knot.Control(strings.Fields(c)...)
		}
		knot.Control("zone-commit", "example.org")
	}
	change("zone-set example.org added 60 A 192.0.2.20", "zone-unset example.org serial", "zone-set example.org serial 60 TXT v2")
	answers(t, us, wait, []string{"v2"}, "serial.example.org", "TXT")
	answers(t, us, 0, []string{"192.0.2.20"}, "added.example.org", "A")
	s.Log.Wait(t, "zone transferred", "type=IXFR")
	change("zone-unset example.org added", "zone-set example.org stays 60 A 192.0.2.21")
	change("zone-unset example.org serial", "zone-set example.org serial 60 TXT v4")
	answers(t, us, wait, []string{"v4"}, "serial.example.org", "TXT")
	answers(t, us, 0, []string{"192.0.2.9", "192.0.2.21"}, "stays.example.org", "A")
	answers(t, us, 0, []string{"NXDOMAIN"}, "added.example.org", "A")
	s.Log.Wait(t, "zone transferred", "type=IXFR")
	answers(t, next, wait, []string{"v4"}, "serial.example.org", "TXT")
	answers(t, next, 0, []string{"192.0.2.9", "192.0.2.21"}, "stays.example.org", "A")
}

// TestSigned has Knot sign a zone with NSEC3, changes it, and has ldns-verify-zone
// judge what a client gets from us.
func TestSigned(t *testing.T) {
	dir, port := t.TempDir(), peertest.Port(t)
	us, s := ours(t, secondary.Config{Secondaries: []secondary.Zone{from(port, keyName)}, JournalBytes: 1 << 16})
	peertest.Write(t, dir, "example.org.zone", text(1, 300, 1, 3600))
	knot := peertest.Knot(t, dir, port, knotConf(us)+"zone:\n  - domain: example.org\n    file: example.org.zone\n    notify: ours\n    acl: transfer\n"+
		"    dnssec-signing: on\n    dnssec-policy: nsec3\n")
	answers(t, us, wait, []string{"v1", "RRSIG"}, "serial.example.org", "TXT", "+dnssec")
	for _, c := range []string{"zone-begin example.org", "zone-set example.org added 60 A 192.0.2.20", "zone-set example.org a.b 60 A 192.0.2.21",
		"zone-unset example.org stays", "zone-commit example.org"} {
		knot.Control(strings.Fields(c)...)
	}
	answers(t, us, wait, []string{"192.0.2.20", "RRSIG"}, "added.example.org", "A", "+dnssec")
	s.Log.Wait(t, "zone transferred", "type=IXFR")
	verify := func(args ...string) {
		t.Helper()
		zone := peertest.Dig(t, us, append([]string{"-y", "hmac-sha256:" + peertest.KeyName + ":" + peertest.Secret64,
			"+noall", "+answer", "+onesoa", "example.org"}, args...)...)
		file := peertest.Write(t, t.TempDir(), "signed.zone", zone)
		if out, err := exec.Command("ldns-verify-zone", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, zone)
		}
	}
	verify("AXFR")
	answers(t, us, 0, []string{"NXDOMAIN", "NSEC3", "RRSIG"}, "stays.example.org", "A", "+dnssec")
}

// TestCatalog has Knot generate a catalog, whose zones we serve, and changes it.
func TestCatalog(t *testing.T) {
	dir, port := t.TempDir(), peertest.Port(t)
	us, _ := ours(t, secondary.Config{Secondaries: []secondary.Zone{{
		Zone:      xfr.Zone{Origin: "\x07catalog\x04test\x00", Policy: xfr.Policy{Allow: []xfr.Rule{{Key: keyName}}}},
		Primaries: []secondary.Primary{{Addr: peertest.Addr(port), Key: keyName}},
		Catalog:   &secondary.Catalog{Members: 3, Policy: xfr.Policy{Allow: []xfr.Rule{{Key: keyName}}}},
	}}})
	member := func(name string) string {
		peertest.Write(t, dir, name+".zone", strings.ReplaceAll(text(1, 300, 1, 3600), "example.org", name))
		return fmt.Sprintf("  - domain: %s\n    file: %s.zone\n    notify: ours\n    acl: transfer\n    catalog-role: member\n    catalog-zone: catalog.test\n", name, name)
	}
	conf := func(names ...string) string {
		c := knotConf(us) + "zone:\n  - domain: catalog.test\n    catalog-role: generate\n    notify: ours\n    acl: transfer\n"
		for _, n := range names {
			c += member(n)
		}
		return c
	}
	knot := peertest.Knot(t, dir, port, conf("one.test", "two.test"))
	answers(t, us, wait, []string{"v1"}, "serial.one.test", "TXT")
	answers(t, us, wait, []string{"v1"}, "serial.two.test", "TXT")
	answers(t, us, 0, []string{"REFUSED"}, "catalog.test", "SOA")
	file := filepath.Join(dir, "knot.conf")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(names ...string) {
		t.Helper()
		before, after := conf("one.test", "two.test"), conf(names...)
		peertest.Write(t, dir, "knot.conf", strings.Replace(string(old), before, after, 1))
		knot.Control("reload")
	}
	change("two.test", "three.test")
	answers(t, us, wait, []string{"v1"}, "serial.three.test", "TXT")
	answers(t, us, wait, []string{"REFUSED"}, "serial.one.test", "TXT")
	answers(t, us, 0, []string{"v1"}, "serial.two.test", "TXT")
	// One more than we take: nothing changes.
	change("two.test", "three.test", "four.test", "five.test")
	time.Sleep(3 * time.Second)
	answers(t, us, 0, []string{"REFUSED"}, "serial.four.test", "TXT")
	answers(t, us, 0, []string{"v1"}, "serial.three.test", "TXT")
}

// TestLarge brings 20,000 names from NSD to us and on to dig, in many messages
// that are signed.
func TestLarge(t *testing.T) {
	dir, port := t.TempDir(), peertest.Port(t)
	us, s := ours(t, secondary.Config{Secondaries: []secondary.Zone{from(port, keyName)}})
	var lines []string
	for i := range 20000 {
		lines = append(lines, fmt.Sprintf("host%d 60 A 192.0.2.1", i))
	}
	peertest.Write(t, dir, "example.org.zone", text(1, 300, 1, 3600, lines...))
	peertest.NSD(t, dir, port, fmt.Sprintf("zone:\n\tname: example.org\n\tzonefile: example.org.zone\n\tprovide-xfr: 127.0.0.1 %s\n", peertest.KeyName))
	s.Log.Wait(t, "zone transferred", "records=20006")
	got := peertest.Dig(t, us, "-y", "hmac-sha256:"+peertest.KeyName+":"+peertest.Secret64, "+noall", "+answer", "+stats", "example.org", "AXFR")
	if !strings.Contains(got, "XFR size: 20006 records") {
		t.Error(got[max(0, len(got)-300):])
	}
}
