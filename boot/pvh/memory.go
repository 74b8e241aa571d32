package pvh

import "ampoule/boot/layout"

// pageAlloc hands out physical pages of low memory, upwards. They are zeroed.
type pageAlloc struct{ next, end uint64 }

// page returns the physical address of a fresh page, or 0 when none is left.
func (a *pageAlloc) page(mem memory) uint64 {
	if a.next+layout.Page > a.end {
		return 0
	}
	p := a.next
	a.next += layout.Page
	mem.clear(p)
	return p
}

// Page table entry bits (Intel SDM volume 3, table 4-19 and 4-20).
const (
	pteP   = 1 << 0
	pteW   = 1 << 1
	pteU   = 1 << 2
	pteCD  = 1 << 4
	ptePS  = 1 << 7
	pteNX  = 1 << 63
	pteTop = pteP | pteW | pteU // the leaf decides
	pteAdr = 0x000ffffffffff000
)

// Protections of the map in package layout.
const (
	kernelCode = pteP
	kernelRO   = pteP | pteNX
	kernelRW   = pteP | pteW | pteNX
	kernelReg  = pteP | pteW | pteNX | pteCD
	userCode   = pteP | pteU
	userRO     = pteP | pteU | pteNX
	userRW     = pteP | pteU | pteW | pteNX
)

// mapper builds four-level page tables.
type mapper struct {
	root   uint64
	mem    memory
	failed bool // a table could not be had, or an address was mapped twice
}

// table follows or makes the table that entry refers to.
func (m *mapper) table(a *pageAlloc, entry uint64) uint64 {
	e := m.mem.load(entry)
	if e&pteP != 0 {
		if e&ptePS != 0 {
			m.failed = true
		}
		return e & pteAdr
	}
	t := a.page(m.mem)
	if t == 0 {
		m.failed = true
		return 0
	}
	m.mem.store(entry, t|pteTop)
	return t
}

// add maps size bytes at va to pa, in large pages where both allow it.
// Addresses and size are multiples of a page.
func (m *mapper) add(a *pageAlloc, va, pa, size, prot uint64) {
	if m.root == 0 {
		if m.root = a.page(m.mem); m.root == 0 {
			m.failed = true
		}
	}
	for size > 0 && !m.failed {
		t := m.table(a, m.root+va>>39&511*8)
		if m.failed {
			return
		}
		t = m.table(a, t+va>>30&511*8)
		if m.failed {
			return
		}
		entry := t + va>>21&511*8
		if (va|pa)&(layout.Large-1) == 0 && size >= layout.Large {
			m.leaf(entry, pa|prot|ptePS)
			va, pa, size = va+layout.Large, pa+layout.Large, size-layout.Large
			continue
		}
		t = m.table(a, entry)
		for !m.failed { // to the end of this table
			m.leaf(t+va>>12&511*8, pa|prot)
			va, pa, size = va+layout.Page, pa+layout.Page, size-layout.Page
			if size == 0 || va&(layout.Large-1) == 0 {
				break
			}
		}
	}
}

// leaf sets an entry, unless something is mapped there already: nothing is
// mapped twice.
func (m *mapper) leaf(entry, v uint64) {
	if m.mem.load(entry) != 0 {
		m.failed = true
		return
	}
	m.mem.store(entry, v)
}

// sortRAM orders the spans of RAM, joins neighbours and drops what is empty.
func (m *machine) sortRAM() {
	for i := 1; i < m.nram; i++ {
		for j := i; j > 0 && m.ram[j].start < m.ram[j-1].start; j-- {
			m.ram[j], m.ram[j-1] = m.ram[j-1], m.ram[j]
		}
	}
	n := 0
	for i := 0; i < m.nram; i++ {
		s := m.ram[i]
		s.start = (s.start + layout.Page - 1) &^ (layout.Page - 1)
		s.end &^= layout.Page - 1
		if n > 0 && s.start < m.ram[n-1].end {
			s.start = m.ram[n-1].end // overlap: the first counts
		}
		if s.start >= s.end {
			continue
		}
		if n > 0 && s.start == m.ram[n-1].end {
			m.ram[n-1].end = s.end
			continue
		}
		m.ram[n] = s
		n++
	}
	m.nram = n
}

// total is the RAM that is left, in bytes.
func (m *machine) total() (n uint64) {
	for _, s := range m.ram[:m.nram] {
		n += s.end - s.start
	}
	return n
}

// inRAM says whether [start, end) is RAM altogether.
func (m *machine) inRAM(start, end uint64) bool {
	for i := 0; i < m.nram; i++ {
		if m.ram[i].start <= start && end <= m.ram[i].end {
			return true
		}
	}
	return false
}

// wantIO is the largest I/O region that takeIO may choose.
func (m *machine) wantIO() uint64 {
	return min(max(m.total()/16, layout.LowEnd-layout.Low), maxIO)
}

// takeIO sets the I/O region: what low memory has left, or for larger machines
// a sixteenth of RAM from the end of the largest span, in large pages.
func (m *machine) takeIO(total uint64) {
	low := m.pages.end - m.pages.next
	want := total / 16 &^ (layout.Large - 1)
	if want > maxIO {
		want = maxIO
	}
	if want > low {
		best := -1
		for i := 0; i < m.nram; i++ {
			if best < 0 || m.ram[i].end-m.ram[i].start > m.ram[best].end-m.ram[best].start {
				best = i
			}
		}
		if best >= 0 {
			s := &m.ram[best]
			end := s.end &^ (layout.Large - 1)
			if end > want && end-want >= s.start {
				m.ioPhys, m.ioSize = end-want, want
				s.end = end - want
				return
			}
		}
	}
	m.ioPhys, m.ioSize = m.pages.next, low
	m.pages.next += low
}

// windowTables is the number of page tables that the I/O region and the window
// may take: a level-2 table for each GiB, and a level-1 table for each 2 MiB of
// what is mapped in small pages, which are the ragged ends of spans and the
// part of low memory that the I/O region may become.
func (m *machine) windowTables() uint64 {
	bytes, ragged := m.total(), uint64(0)
	if bytes > layout.MaxWindow {
		bytes = layout.MaxWindow
	}
	for _, s := range m.ram[:m.nram] {
		lo, hi := whole(s)
		ragged += s.end - s.start
		if lo < hi {
			ragged -= hi - lo
		}
	}
	// The I/O region's tables, two of a level at most, and the level-3 tables of
	// the window, which may begin anywhere in theirs.
	const io, upper = 6, 2
	return io + upper + bytes>>30 + 2 + ragged/layout.Large + 1
}

// whole is the part of a span that consists of whole large pages; it is empty
// when lo is not below hi.
func whole(s span) (lo, hi uint64) {
	return (s.start + layout.Large - 1) &^ (layout.Large - 1), s.end &^ (layout.Large - 1)
}

// mapWindow maps all RAM from behind the image into the window: whole large
// pages first, where the heap grows, then the odd ends in small pages, where
// the runtime's metadata starts.
func (m *machine) mapWindow() {
	for _, large := range [2]bool{true, false} {
		for i := 0; i < m.nram; i++ {
			s := m.ram[i]
			lo, hi := whole(s)
			switch {
			case lo >= hi:
				if !large {
					m.addWindow(s.start, s.end)
				}
			case large:
				m.addWindow(lo, hi)
			default:
				m.addWindow(s.start, lo)
				m.addWindow(hi, s.end)
			}
		}
	}
}

func (m *machine) addWindow(start, end uint64) {
	if room := layout.MaxWindow - m.window; end-start > room {
		end = start + room
	}
	if start >= end {
		return
	}
	m.tables.add(&m.pages, m.at.Window+m.window, start, end-start, userRW)
	m.window += end - start
}
