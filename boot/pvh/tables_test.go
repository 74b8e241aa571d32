//go:build !ampoule

package pvh

import (
	"fmt"
	"slices"
	"testing"

	"ampoule/boot/layout"
)

// leaf is what one entry of the page tables maps.
type leaf struct{ va, pa, size, prot uint64 }

// walk lists all leaves in order of their addresses, and the tables.
func walk(t testing.TB, m *mapper) (leaves []leaf, tables []uint64) {
	t.Helper()
	var visit func(table, va uint64, shift uint)
	visit = func(table, va uint64, shift uint) {
		tables = append(tables, table)
		for i := uint64(0); i < 512; i++ {
			e, at := m.mem.load(table+8*i), va+i<<shift
			switch {
			case e == 0:
			case e&pteP == 0:
				t.Fatalf("%#x: entry %#x is not present and not zero", at, e)
			case shift == 12, shift == 21 && e&ptePS != 0:
				prot := e &^ (pteAdr | ptePS)
				leaves = append(leaves, leaf{at, e & pteAdr, 1 << shift, prot})
			case e&^pteAdr != pteTop:
				t.Fatalf("%#x: entry %#x of an upper table", at, e)
			default:
				visit(e&pteAdr, at, shift-9)
			}
		}
	}
	visit(m.root, 0, 39)
	return leaves, tables
}

// check holds the tables to what package layout promises of all of them: no
// page writable and executable, no physical page mapped twice, no table mapped.
func check(t testing.TB, m *mapper) []leaf {
	t.Helper()
	leaves, tables := walk(t, m)
	known := []uint64{kernelCode, kernelRO, kernelRW, kernelReg, userCode, userRO, userRW}
	for _, l := range leaves {
		if l.prot&pteW != 0 && l.prot&pteNX == 0 {
			t.Errorf("%#x is writable and executable", l.va)
		}
		if !slices.Contains(known, l.prot) {
			t.Errorf("%#x has protection %#x", l.va, l.prot)
		}
		if (l.va|l.pa)&(l.size-1) != 0 {
			t.Errorf("%#x: %d bytes at physical %#x", l.va, l.size, l.pa)
		}
	}
	byPhys := slices.Clone(leaves)
	for _, p := range tables {
		byPhys = append(byPhys, leaf{0, p, layout.Page, 0})
	}
	slices.SortFunc(byPhys, func(a, b leaf) int { return int(int64(a.pa - b.pa)) })
	for i, l := range byPhys[1:] {
		if o := byPhys[i]; o.pa+o.size > l.pa {
			t.Errorf("physical %#x is used at %#x and %#x (0: a table)", l.pa, o.va, l.va)
		}
	}
	return leaves
}

// join makes one leaf of neighbours that continue each other.
func join(leaves []leaf, physical bool) (out []leaf) {
	for _, l := range leaves {
		if n := len(out) - 1; n >= 0 && out[n].va+out[n].size == l.va && out[n].prot == l.prot &&
			(!physical || out[n].pa+out[n].size == l.pa) {
			out[n].size += l.size
			continue
		}
		out = append(out, l)
	}
	return out
}

func newMapper(t *testing.T, pages uint64) (*mapper, *pageAlloc) {
	_, hw := newMachine(t)
	return &mapper{mem: hw.mem}, &pageAlloc{next: bootEnd, end: bootEnd + pages*layout.Page}
}

func TestMapper(t *testing.T) {
	const page, large = layout.Page, layout.Large
	for _, tc := range []struct {
		name         string
		va, pa, size uint64
		small, big   int // entries
		pages        int // tables, with the root
	}{
		{"one page", 0x5000, 0x7000, page, 1, 0, 4},
		{"a large page", 2 * large, 4 * large, large, 0, 1, 3},
		{"one less", 2 * large, 4 * large, large - page, 511, 0, 4},
		{"not aligned together", 2 * large, 4*large + page, large, 512, 0, 4},
		{"same offset", 2*large - page, 4*large - page, large + 2*page, 2, 1, 5},
		{"over a level-3 entry", 1<<30 - large, 3<<30 - large, 2 * large, 0, 2, 4},
		{"over a level-4 entry", 1<<39 - large, 1 << 30, 2 * large, 0, 2, 5},
		{"a GiB", 1 << 35, 1 << 30, 1 << 30, 0, 512, 3},
		{"nothing", page, page, 0, 0, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, a := newMapper(t, 16)
			m.add(a, tc.va, tc.pa, tc.size, userRW)
			if m.failed {
				t.Fatal("failed")
			}
			leaves := check(t, m)
			small, big := 0, 0
			for _, l := range leaves {
				if l.size == large {
					big++
				} else {
					small++
				}
			}
			if small != tc.small || big != tc.big {
				t.Errorf("%d small and %d large pages, want %d and %d", small, big, tc.small, tc.big)
			}
			if n := int(a.next-bootEnd) / page; n != tc.pages {
				t.Errorf("%d tables, want %d", n, tc.pages)
			}
			if j := join(leaves, true); tc.size != 0 && !slices.Equal(j, []leaf{{tc.va, tc.pa, tc.size, userRW}}) {
				t.Errorf("maps %x", j)
			}
			for _, va := range []uint64{tc.va - 1, tc.va, tc.va + tc.size - 1, tc.va + tc.size} {
				if got, want := m.mapped(va), va-tc.va < tc.size; got != want {
					t.Errorf("mapped(%#x) is %v", va, got)
				}
			}
		})
	}
}

func TestMapperRefuses(t *testing.T) {
	const page, large = layout.Page, layout.Large
	for _, tc := range []struct {
		name          string
		va, size      uint64 // first, then
		va2, pa, more uint64
	}{
		{"the same page", page, page, page, 9 * page, page},
		{"the end of a range", 4 * large, 3 * large, 6 * large, 32 * large, large},
		{"a page in a large page", 4 * large, large, 4*large + page, 32 * large, page},
		{"a large page over a page", 4*large + 7*page, page, 4 * large, 32 * large, large},
	} {
		m, a := newMapper(t, 16)
		if m.add(a, tc.va, 16*large, tc.size, userRW); m.failed {
			t.Fatalf("%s: the first failed", tc.name)
		}
		before, _ := walk(t, m)
		if m.add(a, tc.va2, tc.pa, tc.more, kernelRW); !m.failed {
			t.Errorf("%s: mapped twice", tc.name)
		}
		if after, _ := walk(t, m); !slices.Equal(before, after) {
			t.Errorf("%s: the tables changed", tc.name)
		}
		if m.add(a, 1<<40, 0, page, userRW); m.mapped(1 << 40) {
			t.Errorf("%s: went on after a failure", tc.name)
		}
	}
}

// Running out of tables must show, wherever it happens, and never be taken for
// the table at address 0.
func TestMapperExhausted(t *testing.T) {
	for n := uint64(0); n < 6; n++ {
		m, a := newMapper(t, n)
		m.add(a, layout.Large-layout.Page, 1<<30, 2*layout.Page, userRW)
		if want := n < 5; m.failed != want {
			t.Errorf("%d tables: failed is %v, want %v", n, m.failed, want)
		}
		if a.next > a.end || m.mem.load(0) != 0 {
			t.Errorf("%d tables: wrote outside them", n)
		}
	}
}

func TestPages(t *testing.T) {
	_, hw := newMachine(t)
	a := pageAlloc{next: bootEnd, end: bootEnd + 2*layout.Page}
	hw.mem.store(bootEnd+layout.Page-8, 1)
	hw.mem.store(bootEnd+layout.Page, 2)
	var got [3]uint64
	for i := range got {
		got[i] = a.page(hw.mem)
	}
	if want := [3]uint64{bootEnd, bootEnd + layout.Page, 0}; got != want {
		t.Errorf("pages %x, want %x", got, want)
	}
	if hw.mem.load(bootEnd+layout.Page-8)|hw.mem.load(bootEnd+layout.Page) != 0 {
		t.Error("a page is not clear")
	}
}

func (l leaf) String() string { return fmt.Sprintf("%#x+%#x->%#x %#x", l.va, l.size, l.pa, l.prot) }
