package xen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"ampoule/boot/layout"
	"ampoule/tools/guesttest/expect"
)

// memory is a guest's RAM as dom0 sees it, and the address space that its page
// tables make of it.
type memory struct {
	ram   []byte
	pages []page
	table map[uint64]bool // physical addresses of page tables
	at    expect.Places
}

// page is a leaf of the page tables.
type page struct {
	va, pa, size      uint64
	write, user, exec bool // on all levels
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

// memory looks at a domain's RAM while it runs. The guest has said where the
// regions are.
func (h *host) memory(domain int, at expect.Places) *memory {
	h.t.Helper()
	const frames = grantMemory << 20 / layout.Page
	m := &memory{table: map[uint64]bool{}, at: at}
	err := h.Stream(h.t.Context(), time.Minute, func(b []byte) { m.ram = append(m.ram, b...) },
		"agent", "peek", fmt.Sprint(domain), "0", fmt.Sprint(frames))
	h.must("the guest's memory", err)
	if len(m.ram) != frames*layout.Page {
		h.t.Fatalf("%d bytes of RAM", len(m.ram))
	}
	m.walk(h.t, m.root(h.t), 39, 0, page{write: true, user: true, exec: true})
	for _, name := range []string{"text", "gate", "descriptors", "shared", "stacks", "io", "window"} {
		va := at[name]
		if name == "stacks" {
			va += layout.Page // behind the guard
		}
		if _, ok := m.find(va); !ok {
			h.t.Fatalf("the page tables map nothing at %#x (%s): these are not they", va, name)
		}
	}
	return m
}

// root is the top table of the final page tables: a page of those that boot
// takes that maps the image where it is linked to where it is loaded, for ring 3.
// (Boot's own tables do that too, but not for ring 3.)
func (m *memory) root(t *testing.T) uint64 {
	t.Helper()
	va := m.at["text"]
next:
	for root := uint64(layout.Low); root < layout.LowEnd; root += layout.Page {
		table := root
		for shift := uint(39); ; shift -= 9 {
			e := m.word(t, table+8*(va>>shift&511))
			if e&(pteP|pteU) != pteP|pteU || e&ptePS != 0 || e&pteAdr >= uint64(len(m.ram)) {
				continue next
			}
			if table = e & pteAdr; shift == 12 {
				break
			}
		}
		if table == layout.Image+layout.Page {
			return root
		}
	}
	t.Fatalf("no page table maps the text at %#x to %#x", va, layout.Image+layout.Page)
	return 0
}

func (m *memory) word(t *testing.T, pa uint64) uint64 {
	t.Helper()
	if pa+8 > uint64(len(m.ram)) {
		t.Fatalf("physical address %#x is not in RAM", pa)
	}
	return binary.LittleEndian.Uint64(m.ram[pa:])
}

// walk collects the leaves below a table.
func (m *memory) walk(t *testing.T, table uint64, shift uint, va uint64, above page) {
	t.Helper()
	m.table[table] = true
	for i := range uint64(512) {
		e := m.word(t, table+8*i)
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
			m.pages = append(m.pages, p)
			continue
		}
		m.walk(t, e&pteAdr, shift-9, p.va, p)
	}
}

// find is the page of a virtual address.
func (m *memory) find(va uint64) (page, bool) {
	for _, p := range m.pages {
		if va >= p.va && va-p.va < p.size {
			return p, true
		}
	}
	return page{}, false
}

// load reads 8 bytes of virtual memory.
func (m *memory) load(t *testing.T, va uint64) uint64 {
	t.Helper()
	p, ok := m.find(va)
	if !ok {
		t.Fatalf("nothing is mapped at %#x", va)
	}
	return m.word(t, p.pa+va-p.va)
}

// owner is the page that maps a physical address, if any does.
func (m *memory) owner(pa uint64) (page, bool) {
	for _, p := range m.pages {
		if pa >= p.pa && pa-p.pa < p.size {
			return p, true
		}
	}
	return page{}, false
}

// shares says whether a page is one that the map gives to ring 3 and others
// (boot/layout): the shared info page, the store's, the console's, ring and I/O
// pages.
func (m *memory) shares(p page) bool {
	return p.va >= m.at["shared"] && p.va < m.at["shared"]+layout.Gap || p.va >= m.at["io"] && p.va < m.at["io"]+m.at["iosize"]
}

// shared is the physical addresses of all pages that are shared.
func (m *memory) shared() map[uint64]bool {
	all := map[uint64]bool{}
	for _, p := range m.pages {
		for off := uint64(0); m.shares(p) && off < p.size; off += layout.Page {
			all[p.pa+off] = true
		}
	}
	return all
}

// sealed holds the address space to boot/layout: nothing can be written and
// executed, no physical page is mapped twice, no page table at all, and ring 3
// reaches neither gate nor grant table.
func (m *memory) sealed(t *testing.T) {
	t.Helper()
	names := map[uint64]uint64{}
	for _, p := range m.pages {
		if p.write && p.exec {
			t.Errorf("%#x can be written and executed", p.va)
		}
		if own := p.va >= layout.TopLow; p.user == own { // the half of ring 0
			t.Errorf("%#x: ring 3 reaches it: %v", p.va, p.user)
		}
		for pa := p.pa; pa < p.pa+p.size; pa += layout.Page {
			if other, ok := names[pa]; ok || m.table[pa] {
				t.Errorf("physical page %#x at %#x is mapped at %#x as well, or a page table", pa, p.va, other)
			}
			names[pa] = p.va
		}
	}
}

// holds wants text in I/O pages, and nowhere else but in ring pages.
func (m *memory) holds(t *testing.T, text []byte) {
	t.Helper()
	n := 0
	for at := 0; ; at += len(text) {
		i := bytes.Index(m.ram[at:], text)
		if i < 0 {
			break
		}
		at += i
		n++
		if p, ok := m.owner(uint64(at)); !ok || !m.shares(p) {
			t.Errorf("the backend wrote to physical address %#x, mapped at %#x", at, p.va)
		}
	}
	if n == 0 {
		t.Error("no frame is in memory: nothing was tried")
	}
	t.Logf("%d pieces of frames in shared pages", n)
}

// unchanged compares page by page what no one may write: text, read-only data,
// page tables, descriptor tables, the gate's code, and memory that is not mapped.
func unchanged(t *testing.T, before, after *memory) {
	t.Helper()
	fixed := 0
	for pa := uint64(0); pa < uint64(len(before.ram)); pa += layout.Page {
		p, mapped := before.owner(pa)
		if mapped && p.write {
			continue
		}
		fixed++
		if !bytes.Equal(before.frame(pa), after.frame(pa)) {
			t.Errorf("physical page %#x changed, mapped at %#x", pa, p.va)
		}
	}
	if fixed < 300 {
		t.Errorf("only %d pages were compared", fixed)
	}
	if len(before.pages) != len(after.pages) {
		t.Errorf("%d pages were mapped, %d are", len(before.pages), len(after.pages))
	}
	t.Logf("%d pages compared", fixed)
}

// frame is a physical page, less what the CPU itself writes to page tables: the
// marks "accessed" and "dirty".
func (m *memory) frame(pa uint64) []byte {
	const marks = 0x60
	b := m.ram[pa:][:layout.Page]
	if m.table[pa] {
		b = bytes.Clone(b)
		for i := 0; i < len(b); i += 8 {
			b[i] &^= marks
		}
	}
	return b
}
