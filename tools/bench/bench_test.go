package main

import (
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/bench/counter"
)

func TestPoint(t *testing.T) {
	p := point([]counter.Counts{{Instructions: 1300, Repeats: 200}, {Instructions: 1000}, {Instructions: 2000, Repeats: 800, Halts: 30}}, 10)
	if p.Plain != 110 || p.Instructions != 130 || p.Spread != 20 {
		t.Errorf("%+v", p)
	}
}

func TestGroup(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.5: "1,000", 1234567: "1,234,567", -1000: "-1,000", 12: "12"} {
		if got := group(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	table(&b, []*Figures{
		{App: "echo", Machine: "q35", CPU: "max", Network: "tap", ImageBytes: 4567890, MinRAM: 14, Boot: Point{Plain: 8e6},
			TCP: &TCP{Connect: Point{Plain: 123456}, Bulk: &Point{Plain: 765432}}},
		{App: "dns", TCP: &TCP{Lone: Point{Plain: 34567}}, MinRAM: 19, Lone: Point{Plain: 2500, Retries: 3}},
	})
	for _, want := range []string{"4,567,890", "123,456", "765,432", "34,567", "8,000,000", "2,500", "dns: 3 lone and 0 saturated requests", "(q35, -cpu max, tap network)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, b.String())
		}
	}
}

// TestNoPeers: where the packages cannot be had the bench goes on without.
func TestNoPeers(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	b := bench{cache: t.TempDir()}
	if err := b.all(t.Context(), nil, []string{"nsd"}, filepath.Join(t.TempDir(), "bench.json")); err != nil {
		t.Error(err)
	}
	if err := b.all(t.Context(), nil, []string{"nobody"}, filepath.Join(t.TempDir(), "bench.json")); err == nil {
		t.Error("a server that there is not is no error")
	}
}

func TestSymbols(t *testing.T) {
	table := symbolTable{{"a.F", 0x200000, 0x200010}, {"example.org/b/v2.(*T).M", 0x200020, 0x200040}}
	for a, want := range map[uint64]string{
		0x200000: "a.F", 0x20000f: "a.F", 0x200010: "[page 0x200000]", 0x200020: "example.org/b/v2.(*T).M",
		0x1ff000: "[page 0x1ff000]", 0: "[no room to count]", 0xf0000: "[firmware]", 0xfffff000: "[firmware]",
		0x200040: "[page 0x200000]",
	} {
		if got := table.find(a); got != want {
			t.Errorf("%#x: %s, want %s", a, got, want)
		}
	}
	if got := (symbolTable{}).find(0x200000); got != "[page 0x200000]" {
		t.Errorf("empty table: %s", got)
	}
}

func TestPackage(t *testing.T) {
	for fn, want := range map[string]string{
		"runtime.mallocgc": "runtime", "gvisor.dev/gvisor/pkg/sync.(*Mutex).Lock": "gvisor.dev/gvisor/pkg/sync",
		"slices.SortFunc[go.shape.[]example.org/x.T]": "slices", "[firmware]": "[firmware]", "main.main.func1": "main",
	} {
		if got := pkg(fn); got != want {
			t.Errorf("%s: %s, want %s", fn, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	var b strings.Builder
	report(&b, symbolTable{{"a.F", 0x200000, 0x200010}, {"a.G", 0x200010, 0x200020}}, []counter.Block{
		{Address: 0x200000, Instructions: 10, Entered: 30},
		{Address: 0x200004, Instructions: 5, Entered: 20},
		{Address: 0x200010, Instructions: 1, Repeats: 1, Entered: 1000},
	}, 10, 10)
	f := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"140 instructions, and 100 iterations", "140 100.0% 100 103.00 a", "100 71.4% 100 100.00 a.G 40 28.6% 0 3.00 a.F"} {
		if !strings.Contains(f, want) {
			t.Errorf("report lacks %q:\n%s", want, b.String())
		}
	}
}
