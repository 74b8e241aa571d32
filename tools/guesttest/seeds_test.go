package guesttest

import (
	"context"
	"debug/elf"
	"encoding/json"
	"maps"
	"math/bits"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/boot/layout"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
)

// seeds are those that images are built with here.
var seeds = []string{"1", "release two", "0b5e55ed"}

// services is what shows that an appliance works.
var services = map[string]struct {
	port    int
	service load.Service
}{"echo": {7, load.Echo(64)}, "dns": {53, load.DNS("www.example.org")}}

// TestSeeds builds both appliances with three seeds. Each image serves over UDP
// and TCP and says which it is; no two have a function at the same address.
func TestSeeds(t *testing.T) {
	for _, app := range slices.Sorted(maps.Keys(services)) {
		t.Run(app, func(t *testing.T) {
			files := make([]string, len(seeds))
			for i, seed := range seeds {
				files[i] = images.Seeded(t, app, seed)
				t.Run(seed, func(t *testing.T) { serves(t, app, files[i]) })
			}
			for i, a := range files {
				for k, b := range files[:i] {
					compareLayouts(t, seeds[i], seeds[k], symbols(t, a), symbols(t, b))
				}
			}
		})
	}
}

// serves boots an image and asks it.
func serves(t *testing.T, app, image string) {
	t.Helper()
	s := services[app]
	g := guest.Boot(t, vm.Config{Image: image, Machine: vm.MicroVM, CPU: guest.CPU("v1"), RAM: 32, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: s.port}, {Proto: "tcp", Port: s.port}}}})
	var d net.Dialer
	guest.Up(t, g, d.DialContext, g.Addr("udp", s.port), s.service)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", g.Addr("tcp", s.port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := load.Stream(c, s.service, 1); err != nil {
		t.Errorf("TCP: %v", err)
	}
	var m struct{ Build, Configuration, Seed string }
	b, err := os.ReadFile(filepath.Join(filepath.Dir(image), "manifest.json"))
	if err != nil || json.Unmarshal(b, &m) != nil || len(m.Build) != 64 {
		t.Fatalf("manifest: %v\n%s", err, b)
	}
	want := "starting host=" // the name is the configuration's
	for _, l := range g.Lines() {
		if strings.Contains(l, want) {
			if !strings.HasSuffix(l, "appliance="+app+" build="+m.Build[:16]+" config="+m.Configuration[:16]) ||
				len(m.Seed) > 6 && strings.Contains(l, m.Seed) {
				t.Errorf("the log says %q, the manifest %+v", l, m)
			}
			return
		}
	}
	t.Errorf("no line %q in\n%s", want, g.Console())
}

// layoutOf is the symbols of an image: functions and data, by name.
type layoutOf struct {
	functions, data map[string]uint64
	start           uint64 // of the text
}

func symbols(t *testing.T, image string) layoutOf {
	t.Helper()
	f, err := elf.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	l := layoutOf{map[string]uint64{}, map[string]uint64{}, f.Section(".text").Addr}
	for _, s := range list {
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_FUNC:
			l.functions[s.Name] = s.Value
		case elf.STT_OBJECT:
			if int(s.Section) < len(f.Sections) && f.Sections[s.Section].Flags&elf.SHF_WRITE != 0 && s.Size > 0 {
				l.data[s.Name] = s.Value
			}
		}
	}
	return l
}

// compareLayouts: no function has the same address in both, and seen from the
// start of the text, next to none has the same place: both the link address and
// the order differ. Of data, the linker keeps the order of sizes.
func compareLayouts(t *testing.T, nameA, nameB string, a, b layoutOf) {
	t.Helper()
	if len(a.functions) < 2000 || len(a.data) < 500 {
		t.Fatalf("only %d functions and %d variables", len(a.functions), len(a.data))
	}
	placed := 0
	for name, at := range a.functions {
		other, ok := b.functions[name]
		if !ok {
			continue
		}
		// These two are the bounds of the text and no functions.
		bound := name == "runtime.text" || name == "runtime.etext"
		if at == other {
			t.Errorf("seeds %q and %q both have %s at %#x", nameA, nameB, name, at)
		}
		if at-a.start == other-b.start && !bound {
			placed++
		}
	}
	if limit := len(a.functions) / 500; placed > limit {
		t.Errorf("seeds %q and %q have %d functions at the same place in the text, at most %d may be", nameA, nameB, placed, limit)
	}
	moved := 0
	for name, at := range a.data {
		if other, ok := b.data[name]; ok && at == other {
			t.Errorf("seeds %q and %q both have %s at %#x", nameA, nameB, name, at)
		} else if ok && at-a.start != other-b.start {
			moved++
		}
	}
	t.Logf("seeds %q and %q: %d of %d functions at the same place in the text, %d of %d variables at another",
		nameA, nameB, placed, len(a.functions), moved, len(a.data))
	if moved < len(a.data)/4 {
		t.Errorf("seeds %q and %q: only %d of %d variables have moved", nameA, nameB, moved, len(a.data))
	}
}

// TestPlaces boots one image many times: every region is somewhere else each
// time, and every bit of its address that may vary does.
func TestPlaces(t *testing.T) {
	const boots = 24
	image := images.Program(t, placesGuest, "v1")
	seen := map[string][]uint64{}
	for i := range boots {
		lines := ends(t, 0, vm.Config{Image: image, Machine: vm.Machines[i%2], CPU: guest.CPU("v1"), RAM: 16})
		for name, at := range placesOf(t, lines[len(lines)-1]) {
			seen[name] = append(seen[name], at)
		}
	}
	for name, r := range map[string]struct{ low, end, unit uint64 }{
		"gate":        {layout.TopLow, layout.TopEnd, layout.Page},
		"registers":   {layout.TopLow, layout.TopEnd, layout.Page},
		"descriptors": {layout.TopLow, layout.TopEnd, layout.Page},
		"shared":      {layout.UserLow, layout.UserEnd, layout.Page},
		"stacks":      {layout.UserLow, layout.UserEnd, layout.Page},
		"io":          {layout.UserLow, layout.UserEnd, layout.Page},
		"window":      {layout.UserLow, layout.UserEnd, layout.HeapUnit},
		"heap":        {layout.UserLow, layout.UserEnd, layout.HeapUnit},
	} {
		var or, and uint64 = 0, ^uint64(0)
		for _, at := range seen[name] {
			if at < r.low || at >= r.end {
				t.Errorf("%s is at %#x", name, at)
			}
			or, and = or|at, and&at
		}
		// Of the highest two gigabytes, and of the lower half, every bit between
		// the range and the unit is free.
		free := uint64(1)<<(bits.Len64(r.end-r.low-1)) - r.unit
		if fixed := free &^ (or &^ and); len(seen[name]) != boots || fixed != 0 {
			t.Errorf("%s: of %#x, the bits %#x were the same in all of %d boots", name, free, fixed, len(seen[name]))
		}
		slices.Sort(seen[name])
		// Two of 24 places in 2^18.9 are the same once in 1700 runs: that may be.
		if n := len(slices.Compact(seen[name])); n < boots-1 {
			t.Errorf("%s: only %d places in %d boots", name, n, boots)
		}
	}
	if text := slices.Compact(seen["text"]); len(text) != 1 {
		t.Errorf("the image itself moved: %#x", text)
	}
}
