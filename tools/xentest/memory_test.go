package xen

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"ampoule/boot/layout"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/space"
)

// memory is a guest's RAM as dom0 sees it, and the address space that its page
// tables make of it.
type memory struct {
	space.Space
	at expect.Places
}

// memory looks at a domain's RAM while it runs. The guest has said where the
// regions are.
func (h *host) memory(domain int, at expect.Places) *memory {
	h.t.Helper()
	const frames = grantMemory << 20 / layout.Page
	m := &memory{at: at}
	err := h.Stream(h.t.Context(), time.Minute, func(b []byte) { m.RAM = append(m.RAM, b...) },
		"agent", "peek", fmt.Sprint(domain), "0", fmt.Sprint(frames))
	h.must("the guest's memory", err)
	if len(m.RAM) != frames*layout.Page {
		h.t.Fatalf("%d bytes of RAM", len(m.RAM))
	}
	m.Walk(h.t, m.root(h.t))
	for _, name := range []string{"text", "gate", "descriptors", "shared", "stacks", "io", "window"} {
		va := at[name]
		if name == "stacks" {
			va += layout.Page // behind the guard
		}
		if _, ok := m.Find(va); !ok {
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
			e := m.Word(t, table+8*(va>>shift&511))
			if e&(space.Present|space.User) != space.Present|space.User || e&space.Large != 0 || e&space.Address >= uint64(len(m.RAM)) {
				continue next
			}
			if table = e & space.Address; shift == 12 {
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

// shares says whether a page is one that the map gives to ring 3 and others
// (boot/layout): the shared info page, the store's, the console's, ring and I/O
// pages.
func (m *memory) shares(p space.Page) bool {
	return p.VA >= m.at["shared"] && p.VA < m.at["shared"]+layout.Gap || p.VA >= m.at["io"] && p.VA < m.at["io"]+m.at["iosize"]
}

// shared is the physical addresses of all pages that are shared.
func (m *memory) shared() map[uint64]bool {
	all := map[uint64]bool{}
	for _, p := range m.Pages {
		for off := uint64(0); m.shares(p) && off < p.Size; off += layout.Page {
			all[p.PA+off] = true
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
	for _, p := range m.Pages {
		if p.Write && p.Exec {
			t.Errorf("%#x can be written and executed", p.VA)
		}
		if own := p.VA >= layout.TopLow; p.User == own { // the half of ring 0
			t.Errorf("%#x: ring 3 reaches it: %v", p.VA, p.User)
		}
		for pa := p.PA; pa < p.PA+p.Size; pa += layout.Page {
			if other, ok := names[pa]; ok || m.Tables[pa] {
				t.Errorf("physical page %#x at %#x is mapped at %#x as well, or a page table", pa, p.VA, other)
			}
			names[pa] = p.VA
		}
	}
}

// holds wants text in I/O pages, and nowhere else but in ring pages.
func (m *memory) holds(t *testing.T, text []byte) {
	t.Helper()
	n := 0
	for at := 0; ; at += len(text) {
		i := bytes.Index(m.RAM[at:], text)
		if i < 0 {
			break
		}
		at += i
		n++
		if p, ok := m.Owner(uint64(at)); !ok || !m.shares(p) {
			t.Errorf("the backend wrote to physical address %#x, mapped at %#x", at, p.VA)
		}
	}
	if n == 0 {
		t.Error("no frame is in memory: nothing was tried")
	}
	t.Logf("%d pieces of frames in shared pages", n)
}
