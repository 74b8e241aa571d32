package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/size/measure"
	"ampoule/tools/workspace"
)

// goals are what no image may be above, in bytes.
var goals = map[string]int64{"default": 3_500_000, "tiny": 2_500_000}

// No image of this repository is above its budget, and each has one.
func TestBudgets(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds all images")
	}
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(root, "testdata", "budgets.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	budgets, err := readBudgets(file, "budgets.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[measure.Image]bool{}
	for _, app := range []string{"dns", "echo", "http", "tls"} {
		for _, target := range []string{"virtio", "xen"} {
			want[measure.Image{App: app, Target: target, Profile: "default"}], want[measure.Image{App: app, Target: target, Profile: "tiny"}] = true, true
		}
	}
	for _, b := range budgets {
		if goal := goalOf(b.image); b.bytes > goal {
			t.Errorf("the budget of %s is %d, above %d", b.image, b.bytes, goal)
		}
		out := filepath.Join(t.TempDir(), b.image.App+".elf")
		if err := measure.Build(root, b.image, "", out); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(compare(b.image, st.Size(), budgets))
		if st.Size() > b.bytes {
			t.Errorf("%s has %d bytes, %d above its budget", b.image, st.Size(), st.Size()-b.bytes)
		}
		delete(want, b.image)
	}
	for i := range want {
		t.Errorf("%s has no budget", i)
	}
}

func TestReadBudgets(t *testing.T) {
	for text, want := range map[string]string{
		"dns-xen default":               "b:1: 2 words",
		"dns default 5":                 "b:1: want APP-TARGET",
		"\ndns-xen tiny many":           "b:2: want APP-TARGET",
		"a-b c 0":                       "b:1: want APP-TARGET",
		"a-b c 1 # x\n# y\n\na-b c 2\n": "b:4: a-b c has a budget already",
	} {
		if _, err := readBudgets(strings.NewReader(text), "b"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	b, err := readBudgets(strings.NewReader("dns-xen tiny 200"), "b")
	if err != nil || len(b) != 1 {
		t.Fatal(b, err)
	}
	if got, want := compare(b[0].image, 210, b), "dns-xen tiny: 210 bytes, budget 200, +10 (+5.0%)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := compare(measure.Image{App: "echo", Target: "xen", Profile: "tiny"}, 9, b), "echo-xen tiny: 9 bytes, no budget"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// goalOf is the most that an image's budget may be.
func goalOf(i measure.Image) int64 {
	switch {
	case i.App == "tls":
		return 6_000_000
	case i.App == "http":
		return 4_500_000
	}
	return goals[i.Profile]
}
