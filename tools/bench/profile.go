package main

import (
	"bufio"
	"cmp"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"ampoule/tools/bench/counter"
	"ampoule/tools/load"
)

// profile counts one point of app block by block and prints where the
// instructions went.
func (b *bench) profile(ctx context.Context, app, what, symbols string, v view) error {
	if symbols == "" {
		symbols = b.images[app]
	}
	table, err := readSymbols(symbols)
	if err != nil {
		return err
	}
	m, err := b.start(ctx, app, b.ram, true, true)
	if err != nil {
		return err
	}
	defer m.Close()
	before := map[counter.Block]uint64{}
	n := 1
	if err := m.up(ctx, bootLimit); err != nil {
		return err
	}
	if what != "boot" {
		run, units, err := b.point(ctx, what)
		if err != nil {
			return err
		}
		n = units
		if err := run(m, (n+1)/2); err != nil {
			return err
		}
		if before, err = m.counter.Blocks(); err != nil {
			return err
		}
		if err := run(m, n); err != nil {
			return err
		}
	}
	after, err := m.counter.Blocks()
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stdout)
	v.show(w, table, counter.Since(before, after), n)
	return w.Flush()
}

// view is what of a profile is shown.
type view struct {
	top  int    // packages, and functions
	only string // functions whose blocks are shown instead: the beginning of their names
}

// show prints it, each figure divided by n.
func (v view) show(w io.Writer, t symbolTable, blocks []counter.Block, n int) {
	if v.only != "" {
		places(w, t, blocks, n, v.only)
	} else {
		report(w, t, blocks, n, v.top)
	}
}

// repeat shows where the instructions go of what is done n times, after as often to warm up.
func (v view) repeat(w io.Writer, t symbolTable, m *machine, n int, do func() error) error {
	var before map[counter.Block]uint64
	for range 2 {
		var err error
		if before, err = m.counter.Blocks(); err != nil {
			return err
		}
		for range n {
			if err := m.explained(do()); err != nil {
				return err
			}
		}
	}
	after, err := m.counter.Blocks()
	if err != nil {
		return err
	}
	v.show(w, t, counter.Since(before, after), n)
	return nil
}

// places prints the blocks of the functions whose names begin with fn in order, each with how often a
// request enters it; go tool objdump tells what is at an address.
func places(w io.Writer, t symbolTable, blocks []counter.Block, n int, fn string) {
	slices.SortFunc(blocks, func(a, b counter.Block) int { return cmp.Compare(a.Address, b.Address) })
	fmt.Fprintf(w, "%18s %12s %9s\n", "address", "instructions", "entered")
	for _, b := range blocks {
		if strings.HasPrefix(t.find(b.Address), fn) {
			fmt.Fprintf(w, "%#18x %12d %9.3f\n", b.Address, b.Instructions+b.Repeats, float64(b.Entered)/float64(n))
		}
	}
}

// point tells how to run n units of what -prof names, and how many to run.
func (b *bench) point(ctx context.Context, what string) (run func(*machine, int) error, n int, err error) {
	if l, ok := map[string]load.Loop{"lone": lone, "saturated": saturated}[what]; ok {
		return func(m *machine, n int) error {
			_, err := m.load(ctx, l, n)
			return err
		}, b.requests, nil
	}
	for _, s := range streams {
		if s.name == what {
			return func(m *machine, n int) error { return m.explained(s.run(ctx, m, n)) }, s.units(b.requests), nil
		}
	}
	return nil, 0, fmt.Errorf("-prof %s: see -h for what it may be", what)
}

// symbol is a function's place.
type symbol struct {
	name       string
	start, end uint64
}

// symbolTable is sorted by start.
type symbolTable []symbol

// readSymbols reads the functions of an unstripped ELF.
func readSymbols(name string) (symbolTable, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: build it with mkimage -strip=false and name it by -symbols", name, err)
	}
	var t symbolTable
	for _, s := range syms {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Size > 0 {
			t = append(t, symbol{s.Name, s.Value, s.Value + s.Size})
		}
	}
	slices.SortFunc(t, func(a, b symbol) int { return cmp.Compare(a.start, b.start) })
	return t, nil
}

// find names the function at an address; code that is in no function (the
// firmware, the gate's copy) goes by its page.
func (t symbolTable) find(a uint64) string {
	i, ok := slices.BinarySearchFunc(t, a, func(s symbol, a uint64) int { return cmp.Compare(s.start, a) })
	if !ok {
		i--
	}
	switch {
	case a == 0:
		return "[no room to count]"
	case i >= 0 && a < t[i].end:
		return t[i].name
	case a < 1<<20 || a >= 0xc0000000 && a < 1<<32:
		return "[firmware]"
	}
	return fmt.Sprintf("[page %#x]", a&^0xfff)
}

// starts says whether a function begins at an address.
func (t symbolTable) starts(a uint64) bool {
	_, ok := slices.BinarySearchFunc(t, a, func(s symbol, a uint64) int { return cmp.Compare(s.start, a) })
	return ok
}

// pkg is the package of a function's symbol.
func pkg(fn string) string {
	if strings.HasPrefix(fn, "[") {
		return fn
	}
	fn, _, _ = strings.Cut(fn, "[") // type arguments hold slashes and dots
	slash := strings.LastIndexByte(fn, '/') + 1
	p, _, _ := strings.Cut(fn[slash:], ".")
	return fn[:slash] + p
}

// spent is what one function or package took.
type spent struct {
	name                  string
	plain, repeats, calls uint64
}

// report prints packages, then functions with how often they are called, the dearest
// first, by request.
func report(w io.Writer, t symbolTable, blocks []counter.Block, n, top int) {
	fns, pkgs := map[string]*spent{}, map[string]*spent{}
	var total spent
	add := func(m map[string]*spent, name string, plain, repeats, calls uint64) {
		s := m[name]
		if s == nil {
			s = &spent{name: name}
			m[name] = s
		}
		s.plain += plain
		s.repeats += repeats
		s.calls += calls
	}
	for _, b := range blocks {
		plain, repeats := b.Entered*b.Instructions, b.Entered*b.Repeats
		fn, calls := t.find(b.Address), uint64(0)
		if t.starts(b.Address) {
			calls = b.Entered
		}
		add(fns, fn, plain, repeats, calls)
		add(pkgs, pkg(fn), plain, repeats, calls)
		total.plain += plain
		total.repeats += repeats
	}
	each := func(v uint64) string { return group(float64(v) / float64(n)) }
	fmt.Fprintf(w, "%s instructions, and %s iterations of rep, each of %d\n", each(total.plain), each(total.repeats), n)
	for _, part := range []struct {
		title string
		m     map[string]*spent
	}{{"package", pkgs}, {"function", fns}} {
		fmt.Fprintf(w, "\n%12s %7s %12s %10s  %s\n", "instructions", "share", "rep", "calls", part.title)
		var all []*spent
		for _, s := range part.m {
			all = append(all, s)
		}
		slices.SortFunc(all, func(a, b *spent) int {
			return cmp.Or(cmp.Compare(b.plain+b.repeats, a.plain+a.repeats), cmp.Compare(a.name, b.name))
		})
		for _, s := range all[:min(top, len(all))] {
			fmt.Fprintf(w, "%12s %6.1f%% %12s %10.2f  %s\n", each(s.plain), 100*float64(s.plain)/float64(max(total.plain, 1)), each(s.repeats),
				float64(s.calls)/float64(n), s.name)
		}
	}
}
