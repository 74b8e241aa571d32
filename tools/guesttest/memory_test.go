package guesttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"ampoule/tools/boottest/vm"
)

// snapshot is a machine as QEMU's monitor shows it, standing still: registers,
// all of RAM, and the address space that follows from both.
type snapshot struct {
	regs  string
	ram   []byte
	pages []page
	table map[uint64]bool // physical addresses of page-table pages
}

// page is a leaf of the page tables.
type page struct {
	va, pa, size uint64
	write, user  bool // on all levels
	exec         bool
}

// Page table entry bits (Intel SDM volume 3, table 4-19).
const (
	pteP   = 1 << 0
	pteW   = 1 << 1
	pteU   = 1 << 2
	ptePS  = 1 << 7
	pteNX  = 1 << 63
	pteAdr = 0x000ffffffffff000
)

// snap stops g, takes its picture and lets it go on.
func snap(t *testing.T, g *vm.VM, ram int) *snapshot {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ram")
	s := &snapshot{table: map[uint64]bool{}}
	for _, cmd := range []string{"stop", "info registers", fmt.Sprintf("pmemsave 0 %d %q", ram<<20, file), "cont"} {
		text, err := g.Monitor(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if cmd == "info registers" {
			s.regs = text
		} else if text != "" { // a word about the guest's doings, perhaps
			t.Logf("%s: %s", cmd, text)
		}
	}
	var err error
	if s.ram, err = os.ReadFile(file); err != nil || len(s.ram) != ram<<20 {
		t.Fatalf("%d bytes of RAM: %v", len(s.ram), err)
	}
	s.walk(t, s.reg(t, "CR3")&pteAdr, 39, 0, page{write: true, user: true, exec: true})
	return s
}

// reg is a register of info registers: CR0=80010033.
func (s *snapshot) reg(t *testing.T, name string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`\b` + name + `\s*=\s*([0-9a-f]+)`).FindStringSubmatch(s.regs)
	if m == nil {
		t.Fatalf("no register %s in\n%s", name, s.regs)
	}
	v, err := strconv.ParseUint(m[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// word is 8 bytes of physical memory.
func (s *snapshot) word(t *testing.T, pa uint64) uint64 {
	t.Helper()
	if pa+8 > uint64(len(s.ram)) {
		t.Fatalf("physical address %#x is not in RAM", pa)
	}
	return binary.LittleEndian.Uint64(s.ram[pa:])
}

// walk collects the leaves below a table.
func (s *snapshot) walk(t *testing.T, table uint64, shift uint, va uint64, above page) {
	t.Helper()
	s.table[table] = true
	for i := range uint64(512) {
		e := s.word(t, table+8*i)
		if e&pteP == 0 {
			continue
		}
		p := page{va: va | i<<shift, pa: e & pteAdr, size: 1 << shift, write: above.write && e&pteW != 0,
			user: above.user && e&pteU != 0, exec: above.exec && e&pteNX == 0}
		if p.va>>47 != 0 {
			p.va |= 0xffff << 48
		}
		if shift == 12 || e&ptePS != 0 {
			p.pa &^= p.size - 1
			s.pages = append(s.pages, p)
			continue
		}
		s.walk(t, e&pteAdr, shift-9, p.va, p)
	}
}

// find is the page of a virtual address.
func (s *snapshot) find(va uint64) (page, bool) {
	for _, p := range s.pages {
		if va >= p.va && va-p.va < p.size {
			return p, true
		}
	}
	return page{}, false
}

// at reads 8 bytes of virtual memory that the page tables map.
func (s *snapshot) at(t *testing.T, va uint64) uint64 {
	t.Helper()
	p, ok := s.find(va)
	if !ok {
		t.Fatalf("nothing is mapped at %#x", va)
	}
	return s.word(t, p.pa+va-p.va)
}

// pageOf is a physical page, less what the CPU itself writes to page tables:
// the marks "accessed" and "dirty".
func (s *snapshot) pageOf(pa uint64) []byte {
	const marks = 0x60
	b := s.ram[pa:][:4096]
	if s.table[pa] {
		b = bytes.Clone(b)
		for i := 0; i < len(b); i += 8 {
			b[i] &^= marks
		}
	}
	return b
}

// owner is the page that maps a physical address, if any does.
func (s *snapshot) owner(pa uint64) (page, bool) {
	for _, p := range s.pages {
		if pa >= p.pa && pa-p.pa < p.size {
			return p, true
		}
	}
	return page{}, false
}
