package guesttest

import (
	"debug/elf"
	"fmt"
	"testing"

	"ampoule/boot/layout"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/guest"
)

// sealed boots a guest with a network and a random device and takes a picture
// of it in ring 3.
func sealed(t *testing.T, v guest.Variant, cpu string, ram int) (*snapshot, string, expect.Places) {
	t.Helper()
	image := images.Program(t, framesGuest, v.GOAMD64)
	g, _ := cable(t, vm.Config{Image: image, Machine: v.Machine, CPU: cpu, RAM: ram, RNG: true})
	at := placesOf(t, line(t, g, "^places: "))
	line(t, g, "^up$")
	return snap(t, g, ram), image, at
}

// TestSeal walks the page tables of a running appliance, as they lie in its
// memory, and holds them to the map that package layout draws.
func TestSeal(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		for _, ram := range []int{16, 64} {
			s, image, at := sealed(t, v, "max", ram)
			checkPages(t, s)
			checkRegions(t, s, image, at)
			checkControl(t, s, true)
			checkTables(t, s, at)
		}
	})
	t.Run("without SMAP", func(t *testing.T) {
		s, image, at := sealed(t, guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"}, guest.CPU("v1"), 32)
		checkPages(t, s)
		checkRegions(t, s, image, at)
		checkControl(t, s, false)
	})
}

func placesOf(t *testing.T, line string) expect.Places {
	t.Helper()
	at, err := expect.ParsePlaces(line)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// checkPages: nothing is both writable and executable, no physical page has
// two names, and the page tables have none.
func checkPages(t *testing.T, s *snapshot) {
	t.Helper()
	names := map[uint64]uint64{}
	for _, p := range s.Pages {
		if p.Write && p.Exec {
			t.Errorf("%#x is writable and executable", p.VA)
		}
		for off := uint64(0); off < p.Size; off += layout.Page {
			if other, ok := names[p.PA+off]; ok {
				t.Errorf("physical page %#x is mapped at %#x and %#x", p.PA+off, other, p.VA+off)
			}
			names[p.PA+off] = p.VA + off
		}
	}
	if len(s.Pages) < 100 || len(s.Tables) < 8 {
		t.Errorf("%d pages in %d tables: that is no appliance", len(s.Pages), len(s.Tables))
	}
	for pa := range s.Tables {
		if va, ok := names[pa]; ok {
			t.Errorf("page table %#x is mapped at %#x", pa, va)
		}
	}
}

// region is a part of the map, and what a page in it may be.
type region struct {
	name              string
	start, end        uint64
	write, user, exec bool
}

// regions is the map of package layout for an image and the places that boot
// drew.
func regions(t *testing.T, image string, at expect.Places) []region {
	t.Helper()
	f, err := elf.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := []region{
		{"gate code", at["gate"] + layout.GateCode, at["gate"] + layout.GateCodeSize, false, false, true},
		{"gate data", at["gate"] + layout.GateData, at["gate"] + layout.GateData + layout.Page, true, false, false},
		{"descriptor tables", at["gate"] + layout.GateGDT, at["gate"] + layout.GateIDT + layout.Page, false, false, false},
		{"gate stack", at["gate"] + layout.GateStack + layout.Page, at["gate"] + layout.GateStackTop, true, false, false},
		{"fault stack", at["gate"] + layout.FaultStack + layout.Page, at["gate"] + layout.FaultTop, true, false, false},
		{"registers", at["registers"], at["registers"] + layout.TopSize, true, false, false},
		{"virtqueue descriptors", at["descriptors"], at["descriptors"] + layout.TopSize, true, false, false},
		{"rings", at["shared"], at["shared"] + layout.Gap, true, true, false},
		{"I/O pages", at["io"], at["io"] + at["iosize"] + layout.Page, true, true, false},
		{"window", at["window"], at["windowend"], true, true, false},
	}
	va := at["stacks"]
	for _, size := range []uint64{layout.MainStack, layout.SignalStack, layout.SystemStack} {
		all = append(all, region{"stack", va + layout.Page, va + layout.Page + size, true, true, false})
		va += layout.Page + size
	}
	all = append(all, region{"clock", va + layout.Page, va + 2*layout.Page, false, true, false})
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			all = append(all, region{"image", p.Vaddr &^ (layout.Page - 1), (p.Vaddr + p.Memsz + layout.Page - 1) &^ (layout.Page - 1),
				p.Flags&elf.PF_W != 0, true, p.Flags&elf.PF_X != 0})
		}
	}
	return all
}

// checkRegions: each page lies in a region and has exactly its rights, and each
// region has a page.
func checkRegions(t *testing.T, s *snapshot, image string, at expect.Places) {
	t.Helper()
	all := regions(t, image, at)
	used := make([]bool, len(all))
	for _, p := range s.Pages {
		found := false
		for i, r := range all {
			if p.VA < r.start || p.VA+p.Size > r.end {
				continue
			}
			found, used[i] = true, true
			if p.Write != r.write || p.User != r.user || p.Exec != r.exec {
				t.Errorf("%#x in %s: write %v, user %v, exec %v; want %v, %v, %v", p.VA, r.name,
					p.Write, p.User, p.Exec, r.write, r.user, r.exec)
			}
		}
		if !found {
			t.Errorf("%#x (physical %#x, %d bytes) belongs to no region", p.VA, p.PA, p.Size)
		}
	}
	for i, r := range all {
		if !used[i] {
			t.Errorf("%s at %#x is not mapped", r.name, r.start)
		}
	}
}

// checkControl: the CPU's protections are on.
func checkControl(t *testing.T, s *snapshot, modern bool) {
	t.Helper()
	type bit struct {
		name string
		n    uint
		on   bool
	}
	for reg, bits := range map[string][]bit{
		"CR0":  {{"PE", 0, true}, {"WP", 16, true}, {"PG", 31, true}, {"AM", 18, false}},
		"CR4":  {{"PAE", 5, true}, {"SMEP", 20, modern}, {"SMAP", 21, modern}, {"UMIP", 11, modern}, {"PCE", 8, false}, {"FSGSBASE", 16, false}},
		"EFER": {{"SCE", 0, true}, {"LME", 8, true}, {"LMA", 10, true}, {"NXE", 11, true}},
		"RFL":  {{"IOPL", 12, false}, {"IOPL", 13, false}},
	} {
		v := s.reg(t, reg)
		for _, b := range bits {
			if v>>b.n&1 != 0 != b.on {
				t.Errorf("%s.%s is %d, want %v", reg, b.name, v>>b.n&1, b.on)
			}
		}
	}
}

// checkTables reads the descriptor tables out of memory: every gate leads to
// the gate's code, ring 3 may call none but the breakpoint's, and what must not
// trust the current stack has one of its own (Intel SDM volume 3, 6.14 and 7.7).
func checkTables(t *testing.T, s *snapshot, at expect.Places) {
	t.Helper()
	gate := at["gate"]
	tss, idt := gate+layout.GateGDT+0x100, gate+layout.GateIDT
	for v := range uint64(layout.Vectors) {
		lo, hi := s.Load(t, idt+16*v), s.Load(t, idt+16*v+8)
		handler := lo&0xffff | lo>>32&0xffff0000 | hi<<32
		ist, dpl, kind := lo>>32&7, lo>>45&3, lo>>40&0x1f
		if handler < gate || handler >= gate+layout.GateCodeSize || lo>>16&0xffff != layout.KernelCode ||
			kind != 0x0e || lo>>47&1 != 1 {
			t.Errorf("vector %d: descriptor %#x %#x", v, lo, hi)
		}
		if own := v == 2 || v == 8 || v == 18; own && ist != 1 || !own && ist > 1 {
			t.Errorf("vector %d runs on stack %d of the TSS", v, ist)
		}
		if want := map[bool]uint64{true: 3}[v == 3]; dpl != want {
			t.Errorf("vector %d may be called from ring %d", v, dpl)
		}
	}
	if sp0 := s.Load(t, tss)>>32 | s.Load(t, tss+8)<<32; sp0 != gate+layout.GateStackTop {
		t.Errorf("RSP0 is %#x", sp0)
	}
	if ist := s.Load(t, tss+32)>>32 | s.Load(t, tss+40)<<32; ist != gate+layout.FaultTop {
		t.Errorf("IST1 is %#x", ist)
	}
	if bitmap := s.Load(t, tss+96) >> 48; bitmap < 104 {
		t.Errorf("the I/O bitmap is at %d, inside the TSS", bitmap)
	}
	for reg, want := range map[string]string{
		"GDT": fmt.Sprintf("%016x %08x", gate+layout.GateGDT, 0x3f), "IDT": fmt.Sprintf("%016x %08x", idt, layout.Vectors*16-1),
	} {
		if !contains(s.regs, reg+`=\s+`+want) {
			t.Errorf("%s is not at %s:\n%s", reg, want, s.regs)
		}
	}
}
