package xfr

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ampoule/appliances/dns/peertest"
	"ampoule/libos/config/zone"
)

// versionOf makes a version of a zone with records of its own.
func versionOf(t *testing.T, serial int, more ...string) zone.Zone {
	t.Helper()
	return peertest.Compile(t, "example.", fmt.Sprintf("$ORIGIN example.\n@ 60 SOA ns host %d 2 3 4 5\n@ 60 NS ns\n%s\n",
		serial, strings.Join(more, "\n")))
}

// TestDiff compares versions.
func TestDiff(t *testing.T) {
	old := []string{"a 60 A 192.0.2.1", "a 60 A 192.0.2.2", "b 60 TXT b", "c 60 A 192.0.2.3",
		"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A"}
	new := []string{"a 60 A 192.0.2.2", "a 60 AAAA 2001:db8::1", "c 90 A 192.0.2.3", "d.e 60 A 192.0.2.4",
		"2p9mhaveqvm6t7vbl5lop2u3t2rp3tom 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A"}
	d, ok := diff(versionOf(t, 1, old...), versionOf(t, 2, new...), 1000)
	if !ok {
		t.Fatal("too large")
	}
	names := func(s string) (list []string) {
		for r := range unpack(s) {
			list = append(list, fmt.Sprintf("%s %d %d", presentation(r.owner), r.rrtype, r.ttl))
		}
		slices.Sort(list)
		return list
	}
	nsec3 := "p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 50 60"
	if got, want := names(d.deleted), []string{"0" + nsec3, "a.example. 1 60", "b.example. 16 60", "c.example. 1 60"}; !slices.Equal(got, want) {
		t.Errorf("deleted %q, want %q", got, want)
	}
	if got, want := names(d.added), []string{"2" + nsec3, "a.example. 28 60", "c.example. 1 90", "d.e.example. 1 60"}; !slices.Equal(got, want) {
		t.Errorf("added %q, want %q", got, want)
	}
	if d.from != 1 || d.to != 2 {
		t.Errorf("from %d to %d", d.from, d.to)
	}
	if _, ok := diff(versionOf(t, 1, old...), versionOf(t, 2, new...), 50); ok {
		t.Error("more than the bound")
	}
}

// TestJournal lets a journal grow beyond its bound: the oldest steps go.
func TestJournal(t *testing.T) {
	var j *Journal
	const limit = 1000
	last := versionOf(t, 1)
	for serial := 2; serial < 20; serial++ {
		next := versionOf(t, serial, fmt.Sprintf("n%d 60 A 192.0.2.1", serial))
		if j = j.Append(last, next, limit); j.Size() > limit || j.Size() == 0 {
			t.Fatalf("%d bytes", j.Size())
		}
		last = next
	}
	if n := len(j.since(18)); n != 1 {
		t.Errorf("%d steps from the last version but one", n)
	}
	if n := len(j.since(17)); n != 2 {
		t.Errorf("%d steps from the version before", n)
	}
	if j.since(2) != nil || j.since(19) != nil || (*Journal)(nil).since(1) != nil {
		t.Error("steps from versions that are not there")
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("n%d 60 A 192.0.2.1", i))
	}
	if j := j.Append(last, versionOf(t, 20, many...), limit); j != nil {
		t.Errorf("a step of %d bytes is kept", j.Size())
	}
	if j := j.Append(versionOf(t, 30), versionOf(t, 31), limit); len(j.since(30)) != 1 || len(j.deltas) != 1 {
		t.Error("steps from elsewhere are joined")
	}
}

// TestSerial has the examples of RFC 1982 section 5.
func TestSerial(t *testing.T) {
	for _, tc := range []struct {
		a, b uint32
		want bool
	}{{1, 0, true}, {44, 0, true}, {100, 0, true}, {100, 44, true}, {200, 100, true}, {0, 0, false}, {0, 1, false},
		{0, 4294967295, true}, {44, 4294967200, true}, {2147483647, 0, true}, {2147483648, 0, false}, {0, 2147483649, true}} {
		if got := Newer(tc.a, tc.b); got != tc.want {
			t.Errorf("%d after %d: %t", tc.a, tc.b, got)
		}
	}
}
