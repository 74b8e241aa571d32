package httpdiff

import (
	"flag"
	"net"
	"testing"
)

var (
	requests = flag.Int("requests", 10_000, "how many requests")
	seed     = flag.Uint64("seed", 1, "which requests")
)

// TestNginx compares the responses of a compiled site with nginx's, of the same
// files. What may differ is in accepted.go; each of that must occur.
func TestNginx(t *testing.T) {
	folder := t.TempDir()
	table, err := MakeSite(folder)
	if err != nil {
		t.Fatal(err)
	}
	n, err := StartNginx(t.TempDir(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go Serve(l, table)
	ours, theirs := NewClient(l.Addr().String()), NewClient(n.Addr)
	defer ours.Close()
	defer theirs.Close()
	r, err := Run(ours, theirs, NewGenerator(*seed), *requests)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Unexplained[:min(20, len(r.Unexplained))] {
		t.Error(c)
	}
	if len(r.Unexplained) > 20 {
		t.Errorf("and %d more", len(r.Unexplained)-20)
	}
	t.Logf("%d requests: %s", *requests, r)
	for _, a := range accepted() {
		if r.Used[a.Name] == 0 {
			t.Errorf("the accepted difference %q does not occur", a.Name)
		}
	}
}
