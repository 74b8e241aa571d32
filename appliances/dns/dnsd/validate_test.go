package dnsd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/telemetry"

	"github.com/miekg/dns"
)

// signedZone reads a signed test zone, and the trust anchor for it in delv's
// format.
func signedZone(t *testing.T, origin string) (zone.Zone, string) {
	t.Helper()
	f, err := os.Open("../../../testdata/dns/zones/" + origin + "zone")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zp := dns.NewZoneParser(f, origin, "")
	var records []zone.Record
	anchor := ""
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		records = append(records, record(t, rr.String()))
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags&dns.SEP != 0 {
			anchor = fmt.Sprintf("%s static-key %d %d %d %q;\n", origin, k.Flags, k.Protocol, k.Algorithm, k.PublicKey)
		}
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Compile(record(t, origin+" 0 NS .").Owner, records)
	if err == nil {
		z, err = answers.Add(z)
	}
	if err != nil {
		t.Fatal(err)
	}
	return z, anchor
}

// TestValidators has delv validate every kind of answer: data, no such name, no
// such type, wildcards, aliases and delegations, with NSEC, NSEC3 and opt-out.
func TestValidators(t *testing.T) {
	if _, err := exec.LookPath("delv"); err != nil {
		t.Skip("SKIPPED: no delv (Debian: apt-get install bind9-dnsutils): signed answers are not validated")
	}
	cfg := testConfig(t)
	anchors := "trust-anchors {\n"
	origins := []string{"nsec.example.", "nsec3.example.", "optout.example."}
	cfg.Zones = nil
	for _, o := range origins {
		z, anchor := signedZone(t, o)
		cfg.Zones = append(cfg.Zones, z)
		anchors += anchor
	}
	file := filepath.Join(t.TempDir(), "anchors")
	if err := os.WriteFile(file, []byte(anchors+"};\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	udp, _ := start(t, cfg)
	_, port, _ := net.SplitHostPort(udp)
	for _, c := range []struct{ name, qtype, want string }{
		{"", "SOA", "; fully validated"},
		{"www.", "A", "; fully validated"},
		{"alias2.", "A", "; fully validated"},
		{"x.wild.", "A", "; fully validated"},
		{"towild.", "A", "; fully validated"},
		{"x.wcname.", "A", "; fully validated"},
		{"www.", "TXT", "; negative response, fully validated"},
		{"x.wild.", "MX", "; negative response, fully validated"},
		{"ent.", "A", "; negative response, fully validated"},
		{"nothing.", "A", "; negative response, fully validated"},
		{"a.b.c.nothing.", "A", "; negative response, fully validated"},
		{"secure.", "DS", "; fully validated"},
		{"sub.", "DS", "; negative response, fully validated"},
	} {
		for _, o := range origins {
			out, err := exec.Command("delv", "@127.0.0.1", "-p", port, "-a", file, "+root="+o, "+nocomments", c.name+o, c.qtype).CombinedOutput()
			want := c.want
			switch {
			case o != "optout.example.":
			case strings.HasPrefix(c.name, "x."):
				want = "RRSIG" // what is covered by opt-out is not validated (RFC 5155 section 9.2)
			case c.name == "sub." || strings.Contains(c.want, "negative") && c.name != "www." && c.name != "ent.":
				want = "negative response"
			}
			if err != nil || !bytes.Contains(out, []byte(want)) {
				t.Errorf("%s%s %s: %v\n%s", c.name, o, c.qtype, err, out)
			}
		}
	}
}

// TestLogSigned checks what the log says of signatures.
func TestLogSigned(t *testing.T) {
	cfg := testConfig(t)
	z, _ := signedZone(t, "nsec.example.")
	cfg.Zones = append(cfg.Zones, z)
	end := time.Unix(int64(z.Expiry()), 0)
	for left, want := range map[time.Duration]string{
		15 * 24 * time.Hour: "info signed zone=nsec.example. until=2090-01-01T00:00:00Z",
		13 * 24 * time.Hour: "warn signatures expire zone=nsec.example. until=2090-01-01T00:00:00Z",
		-time.Hour:          "warn signatures expire zone=nsec.example. until=2090-01-01T00:00:00Z",
	} {
		var b bytes.Buffer
		s := &server{cfg: cfg, log: telemetry.New(&b, time.Now, telemetry.Info)}
		s.logSigned(end.Add(-left))
		if got := b.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%v: %q", left, got)
		}
	}
}
