package main

import (
	"go/parser"
	"go/token"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/boot/layout"
)

// Without a seed it is the inputs' fingerprint, with one it is that, and a
// random one is never the same.
func TestNewSeed(t *testing.T) {
	if newSeed("", "f00d") != "f00d" || newSeed("7", "f00d") != "7" {
		t.Error("a seed is not what it should be")
	}
	a, b := newSeed(randomSeed, "f00d"), newSeed(randomSeed, "f00d")
	if a == b || len(a) != 64 || a == randomSeed {
		t.Errorf("random seeds %q and %q", a, b)
	}
	if f := seed("7").fingerprint(); len(f) != 16 || f == seed("8").fingerprint() || f != seed("7").fingerprint() {
		t.Errorf("fingerprint %q", f)
	}
}

// TestSeedEntropy draws from many seeds what the build fixes and counts how
// often two agree: as rarely as the bits in SPECIFICATION.md say.
func TestSeedEntropy(t *testing.T) {
	const seeds = 1 << 13
	text, functions, boot := map[uint64]int{}, map[uint64]int{}, map[string]int{}
	for i := range seeds {
		s := seed(strconv.Itoa(i))
		at := s.text()
		if at < layout.ImageLow+layout.Page || at > layout.ImageHigh || at%layout.Page != 0 {
			t.Fatalf("seed %q: text at %#x", s, at)
		}
		if n := s.functions(); n == 0 || n >= 1<<31-1 {
			t.Fatalf("seed %q: -randlayout %d", s, n)
		}
		if len(s.boot()) != 28 {
			t.Fatalf("seed %q: %q for the boot", s, s.boot())
		}
		text[at]++
		functions[s.functions()]++
		boot[s.boot()]++
	}
	agree(t, "link address", text, seeds, 18.8)
	agree(t, "order of functions", functions, seeds, 30.9)
	agree(t, "places", boot, seeds, 64)
}

// agree compares the number of pairs of equal values with what that many bits
// of entropy lead to expect.
func agree[K comparable](t *testing.T, what string, seen map[K]int, draws, bits float64) {
	t.Helper()
	pairs := 0
	for _, n := range seen {
		pairs += n * (n - 1) / 2
	}
	expected := draws * (draws - 1) / 2 / math.Pow(2, bits)
	if limit := expected + 5*math.Sqrt(expected) + 1; float64(pairs) > limit {
		t.Errorf("%s: %d pairs of %v seeds agree, %v bits allow %.1f", what, pairs, draws, bits, limit)
	}
}

// The imports that order data are those of packages that are linked anyway and
// may be imported, in another order for each seed.
func TestSeedSource(t *testing.T) {
	var deps []goPackage
	for _, p := range []string{"fmt", "os", "internal/abi", "vendor/golang.org/x/net/dns", "a.example/b", "a.example/internal/c",
		"unsafe", "example/main", "runtime", "strings", "time", "sync"} {
		deps = append(deps, goPackage{ImportPath: p, Name: p[strings.LastIndexByte(p, '/')+1:]})
	}
	deps = append(deps, goPackage{ImportPath: "other/program", Name: "main"})
	orders := map[string]int{}
	for i := range 50 {
		b := seed(strconv.Itoa(i)).source(deps, "example/main")
		f, err := parser.ParseFile(token.NewFileSet(), seedFile, b, parser.ImportsOnly)
		if err != nil || f.Name.Name != "main" {
			t.Fatalf("%v\n%s", err, b)
		}
		var got []string
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil || i.Name.Name != "_" {
				t.Fatalf("%s: %v", i.Path.Value, err)
			}
			got = append(got, path)
		}
		orders[strings.Join(got, " ")]++
		slices.Sort(got)
		if want := []string{"a.example/b", "fmt", "os", "runtime", "strings", "sync", "time"}; !slices.Equal(got, want) {
			t.Fatalf("imports %v, want %v", got, want)
		}
	}
	if len(orders) < 48 {
		t.Errorf("50 seeds give %d orders", len(orders))
	}
}

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"runtime.main":                                   "runtime",
		"main.main.func1":                                "main",
		"ampoule/boot/pvh.(*machine).mapImage":           "ampoule/boot/pvh",
		"gvisor.dev/gvisor/pkg/tcpip/stack.New":          "gvisor.dev/gvisor/pkg/tcpip/stack",
		"gopkg.in/yaml%2ev3.(*parser).parse":             "gopkg.in/yaml.v3",
		"slices.Sort[go.shape.[]a.example/b.T,c.d/e.F]":  "slices",
		"a.example/b.(*T[go.shape.struct { x/y.Z }]).Do": "a.example/b",
		"": "",
	} {
		if got := packageOf(symbol); got != want {
			t.Errorf("%q is of %q, want %q", symbol, got, want)
		}
	}
}
