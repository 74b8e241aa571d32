// Package space reads a guest's RAM as its page tables see it: which physical
// page is where, and who may do what with it. It fails the test that asks for
// what is not there.
package space

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ampoule/boot/layout"
)

// Page table entry bits (Intel SDM volume 3, table 4-19).
const (
	Present = 1 << 0
	Write   = 1 << 1
	User    = 1 << 2
	Large   = 1 << 7
	NoExec  = 1 << 63
	Address = 0x000ffffffffff000
)

// Page is a leaf of the page tables.
type Page struct {
	VA, PA, Size      uint64
	Write, User, Exec bool // on all levels
}

// Space is a guest's RAM, from physical address 0, and an address space in it.
type Space struct {
	RAM    []byte
	Pages  []Page
	Tables map[uint64]bool // physical addresses of page tables
}

// Walk collects the pages below the top table at root.
func (s *Space) Walk(t *testing.T, root uint64) {
	t.Helper()
	s.Pages, s.Tables = nil, map[uint64]bool{}
	s.walk(t, root, 39, 0, Page{Write: true, User: true, Exec: true})
}

func (s *Space) walk(t *testing.T, table uint64, shift uint, va uint64, above Page) {
	t.Helper()
	s.Tables[table] = true
	for i := range uint64(512) {
		e := s.Word(t, table+8*i)
		if e&Present == 0 {
			continue
		}
		p := Page{VA: va | i<<shift, PA: e & Address, Size: 1 << shift, Write: above.Write && e&Write != 0,
			User: above.User && e&User != 0, Exec: above.Exec && e&NoExec == 0}
		if p.VA>>47 != 0 {
			p.VA |= 0xffff << 48
		}
		if shift == 12 || e&Large != 0 {
			p.PA &^= p.Size - 1
			s.Pages = append(s.Pages, p)
			continue
		}
		s.walk(t, e&Address, shift-9, p.VA, p)
	}
}

// Word is 8 bytes of physical memory.
func (s *Space) Word(t *testing.T, pa uint64) uint64 {
	t.Helper()
	if pa+8 > uint64(len(s.RAM)) {
		t.Fatalf("physical address %#x is not in RAM", pa)
	}
	return binary.LittleEndian.Uint64(s.RAM[pa:])
}

// Load reads 8 bytes of virtual memory.
func (s *Space) Load(t *testing.T, va uint64) uint64 {
	t.Helper()
	p, ok := s.Find(va)
	if !ok {
		t.Fatalf("nothing is mapped at %#x", va)
	}
	return s.Word(t, p.PA+va-p.VA)
}

// Find is the page of a virtual address.
func (s *Space) Find(va uint64) (Page, bool) {
	for _, p := range s.Pages {
		if va >= p.VA && va-p.VA < p.Size {
			return p, true
		}
	}
	return Page{}, false
}

// Owner is the page that maps a physical address, if any does.
func (s *Space) Owner(pa uint64) (Page, bool) {
	for _, p := range s.Pages {
		if pa >= p.PA && pa-p.PA < p.Size {
			return p, true
		}
	}
	return Page{}, false
}

// Frame is a physical page, less what the CPU itself writes to page tables: the
// marks "accessed" and "dirty".
func (s *Space) Frame(pa uint64) []byte {
	const marks = 0x60
	b := s.RAM[pa:][:layout.Page]
	if s.Tables[pa] {
		b = bytes.Clone(b)
		for i := 0; i < len(b); i += 8 {
			b[i] &^= marks
		}
	}
	return b
}

// Unchanged compares page by page what no one may write: text, read-only data,
// page tables, descriptor tables, the gate's code, and memory that is not mapped.
func Unchanged(t *testing.T, before, after *Space) {
	t.Helper()
	fixed := 0
	for pa := uint64(0); pa < uint64(len(before.RAM)); pa += layout.Page {
		p, mapped := before.Owner(pa)
		if mapped && p.Write {
			continue
		}
		fixed++
		if !bytes.Equal(before.Frame(pa), after.Frame(pa)) {
			t.Errorf("physical page %#x changed, mapped at %#x", pa, p.VA)
		}
	}
	if fixed < 300 {
		t.Errorf("only %d pages were compared", fixed)
	}
	if len(before.Pages) != len(after.Pages) {
		t.Errorf("%d pages were mapped, %d are", len(before.Pages), len(after.Pages))
	}
	t.Logf("%d pages compared", fixed)
}
