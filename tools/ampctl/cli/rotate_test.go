package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/libos/mgmt/certs"
	"ampoule/tools/ampctl/change"
	"ampoule/tools/ampctl/cli"
	"ampoule/tools/ampctl/planetest"
)

// TestRotate: the report of a rotation as people and programs see it, with one of
// three appliances that refuses; and the line on a terminal.
func TestRotate(t *testing.T) {
	f := planetest.NewFleet(t, 3, func(i int, o *planetest.Options) {
		if i == 1 {
			o.Required = []certs.Required{{Slot: "dot", Hosts: []string{"b.example.org"}}}
		}
	})
	good := bundle(t, f, "good.pem", "good", "a.example.org", "b.example.org")
	bad := bundle(t, f, "bad.pem", "bad", "a.example.org")
	terminal := func(w *cli.IO) { w.Terminal = true }
	args := []string{"-c", f.File, "rotate", "--all", "dot=" + bad}
	r := command(t, terminal, args...)
	check(t, r, 6, []string{"ns1        unchanged  0           it would take it, but", "ns2        unchanged  0           The configuration wants slot dot", "(name-missing)",
		"!\rcertificates/dot: staged 0 of 3", "!staged 3 of 3", "!aborted 3 of 3"}, args)
	if !strings.HasSuffix(r.err, "\r") {
		t.Errorf("the line stays: %q", r.err)
	}
	if r := command(t, nil, args...); r.err != "" {
		t.Errorf("there is progress where no terminal is: %q", r.err)
	}
	for _, c := range []struct {
		line     string
		code     int
		outcomes string
	}{
		{"--dry-run dot=" + good, 0, "validated validated validated"},
		{"dot=" + bad, 6, "unchanged unchanged unchanged"},
		{"dot=" + good, 0, "committed committed committed"},
	} {
		r := command(t, nil, append([]string{"-c", f.File, "-o", "json", "rotate", "--all"}, strings.Fields(c.line)...)...)
		var outcomes []string
		for d := json.NewDecoder(strings.NewReader(r.out)); d.More(); {
			var one change.Report
			if err := d.Decode(&one); err != nil || one.Before == nil || one.After == nil {
				t.Fatalf("%v: %s", err, r.out)
			}
			outcomes = append(outcomes, string(one.Outcome))
			if (one.Problem != nil) != (one.Appliance == "ns2" && c.code != 0) {
				t.Errorf("%s: %+v", c.line, one)
			}
		}
		if got := strings.Join(outcomes, " "); r.code != c.code || got != c.outcomes {
			t.Errorf("%s: exit code %d, %s; want %d, %s", c.line, r.code, got, c.code, c.outcomes)
		}
	}
	f.Planes[2].Stop()
	want(t, f, 3, []string{"ns1        unchanged  1 ", "ns3        unchanged  ?           127.0.0.1", "(connection-refused)"}, "rotate", "--all", "dot="+filepath.Join(f.Dir, "good.pem"))
}
