package guesttest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/dnsdiff"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
	"ampoule/tools/workspace"
)

// TestDNSDiff asks a booted image a sample of the questions that our answerer is
// compared with NSD and Knot on, and wants its answers, byte by byte.
func TestDNSDiff(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	zones, err := dnsdiff.MakeZones(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	fmt.Fprintf(&config, "[network]\nipv4 = \"%s/24\"\n\n[dns]\nnsid = \"ns1\"\n", vm.GuestIPv4)
	for i, z := range zones {
		fmt.Fprintf(&config, "\n[[dns.zones]]\norigin = %q\nfile = %q\n", z.Origin, z.File)
		// What the image makes of a signed zone as it is written, it must make on the host.
		if zones[i], err = dnsdiff.Rewritten(dir, z); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := dnsdiff.StartOurs(t.Context(), dir, zones)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	seg := guest.Segment(t, netpeer.Options{Kind: netpeer.KindLinux})
	g := guest.Boot(t, vm.Config{Image: images.Configured(t, "dns", "dnsdiff", config.String(), "v1"), Machine: vm.MicroVM, CPU: guest.CPU("v1"), RAM: 32, RNG: true, Net: seg.Net()})
	addr := net.JoinHostPort(vm.GuestIPv4, "53")
	guest.Up(t, g, seg.DialContext, addr, load.DNS("www.example.org"))
	booted := dnsdiff.Dial(seg.DialContext, addr, zones)
	defer booted.Close()
	gen := dnsdiff.NewGenerator(2, zones)
	questions := make([]dnsdiff.Question, 5000)
	for i := range questions {
		questions[i] = gen.Next()
	}
	want, err := ours.Ask(questions)
	if err != nil {
		t.Fatal(err)
	}
	got, err := booted.Ask(questions)
	if err != nil {
		t.Fatal(err)
	}
	answered, failed := 0, 0
	for i, q := range questions {
		if got[i] != nil {
			answered++
		}
		if !bytes.Equal(got[i], want[i]) {
			if failed++; failed <= 5 {
				t.Errorf("%s\n%x\nthe image says %x\nthe answerer   %x", q.Dig(), q.Msg, got[i], want[i])
			}
		}
	}
	t.Logf("%d questions, %d answers, %d differ", len(questions), answered, failed)
	validate(t, seg.Peer.(*netpeer.Linux), dir, zones)
	if answered < len(questions)*9/10 {
		t.Errorf("%d of %d questions are answered", answered, len(questions))
	}
}

// validations are names below every signed zone, and what a validator says of them.
var validations = []struct{ name, qtype, want string }{
	{"", "SOA", "; fully validated"},
	{"", "DNSKEY", "; fully validated"},
	{"www.", "A", "; fully validated"},
	{"alias2.", "A", "; fully validated"},
	{"x.wild.", "A", "; fully validated"},
	{"towild.", "A", "; fully validated"},
	{"secure.", "DS", "; fully validated"},
	{"x.moved.", "A", "; fully validated"},
	{"www.", "TXT", "; negative response, fully validated"},
	{"ent.", "A", "; negative response, fully validated"},
	{"x.wild.", "SRV", "; negative response, fully validated"},
	{"nothing.", "A", "; negative response, fully validated"},
	{"a.b.c.nothing.", "A", "; negative response, fully validated"},
	{"sub.", "DS", "; negative response, fully validated"},
}

// validate has ldns-verify-zone check the signed zones, and delv the answers about
// them: data, no such name, no such type, wildcards, aliases and delegations.
func validate(t *testing.T, host *netpeer.Linux, dir string, zones []dnsdiff.Zone) {
	t.Helper()
	for _, z := range zones {
		if !z.Signed() {
			continue
		}
		// ldns 1.8 takes signatures that last until 2090 for expired: those of the recorded
		// zones.
		if out, err := exec.CommandContext(t.Context(), "ldns-verify-zone", z.File).CombinedOutput(); err != nil && !z.Recorded() {
			t.Errorf("ldns-verify-zone %s: %v\n%s", z.Origin, err, out)
		}
		file := filepath.Join(dir, z.Origin+"anchor")
		if err := os.WriteFile(file, []byte("trust-anchors {\n"+z.Anchor()+"};\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, v := range validations {
			want := v.want
			if z.OptOut() && (strings.HasPrefix(v.name, "x.") || strings.Contains(want, "negative")) && v.name != "www." && v.name != "ent." {
				want = map[bool]string{true: "negative response", false: "RRSIG"}[strings.Contains(want, "negative")] // RFC 5155 section 9.2
			}
			if z.OptOut() && v.name == "towild." {
				want = "RRSIG"
			}
			out, err := inside(host, exec.CommandContext(t.Context(), "delv", "@"+vm.GuestIPv4, "-a", file, "+root="+z.Origin, "+nocomments", v.name+z.Origin, v.qtype))
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("delv %s%s %s: %v, want %q\n%s", v.name, z.Origin, v.qtype, err, want, out)
			}
		}
	}
}

// inside runs a command in the host's network namespace and returns what it prints.
func inside(host *netpeer.Linux, cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := host.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}
