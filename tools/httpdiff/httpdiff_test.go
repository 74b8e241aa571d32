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
	g := NewGenerator(*seed)
	used, status := map[string]int{}, map[int]int{}
	equal, failed := 0, 0
	for range *requests {
		c, err := Ask(ours, theirs, g.Next())
		if err != nil {
			t.Fatal(err)
		}
		status[c.Ours.Status]++
		if c.How == "" {
			equal++
			continue
		}
		if name := c.Accepted(); name != "" {
			used[name]++
		} else if failed++; failed <= 20 {
			t.Errorf("%s differs: %s\n ours   %s\n theirs %s", c.How, c.Request, c.Ours, c.Theirs)
		}
	}
	t.Logf("%d requests, %d equal, %d differ for no accepted reason; accepted: %v; by status: %v", *requests, equal, failed, used, status)
	for _, a := range accepted() {
		if used[a.Name] == 0 {
			t.Errorf("the accepted difference %q does not occur", a.Name)
		}
	}
}
