package dnsdiff

import (
	"flag"
	"slices"
	"testing"

	"ampoule/tools/workspace"
)

var (
	questions = flag.Int("questions", 100_000, "how many questions")
	seed      = flag.Uint64("seed", 1, "which questions")
)

// TestServers compares our answers with those of NSD and Knot. What may differ is in
// accepted.go; each of that must occur.
func TestServers(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	zones, err := MakeZones(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := StartOurs(t.Context(), dir, zones)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	nsd, err := StartNSD(t.Context(), dir, zones)
	if err != nil {
		t.Fatal(err)
	}
	defer nsd.Close()
	knot, err := StartKnot(t.Context(), dir, zones)
	if err != nil {
		t.Fatal(err)
	}
	defer knot.Close()
	g := NewGenerator(*seed, zones)
	used, kept := map[string]int{}, samples{}
	var direct []*another
	compared, failed := 0, 0
	for left := *questions; left > 0; {
		list := make([]Question, min(left, 10_000))
		for i := range list {
			list[i] = g.Next()
		}
		left -= len(list)
		r, err := Compare(ours, map[string]Server{"nsd": nsd, "knot": knot}, zones, list, kept.keep)
		if err != nil {
			t.Fatal(err)
		}
		compared += r.Compared
		direct = append(direct, r.another...)
		for n, k := range r.Used {
			used[n] += k
		}
		for _, c := range r.Unexplained {
			if failed++; failed <= 10 {
				t.Errorf("the answers differ:\n%s", c)
			}
		}
	}
	t.Logf("%d questions, %d pairs of answers, %d differ for no accepted reason; accepted: %v", *questions, compared, failed, used)
	checkUsed(t, used)
	testPlanted(t, kept)
	testPlantedDirect(t, direct)
}

// checkUsed fails for accepted differences that did not occur.
func checkUsed(t *testing.T, used map[string]int) {
	t.Helper()
	names := []string{Room, GlueTC}
	for _, d := range Accepted() {
		names = append(names, d.Name)
	}
	for i, n := range names {
		if used[n] == 0 {
			t.Errorf("the accepted difference %q does not occur", n)
		}
		if slices.Contains(names[:i], n) {
			t.Errorf("%q is there twice", n)
		}
	}
}
