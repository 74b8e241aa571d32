// Package iopage hands out the pages of the I/O region: the only memory that a
// device or backend may touch.
//
// The region lies outside the Go heap, is mapped for data only, and is fixed at
// boot. A Buf is a small Go handle for one page with a window on it; frames
// larger than a page are chains. Nothing here allocates after NewPool.
//
// Content is hostile: a device may change a page at any time until the driver
// has taken it back, so read a field once and check the copy.
//
// A wire structure is read in place by declaring it as a byte array with
// methods and converting a slice of the window to a pointer to it:
//
//	type udp [8]byte
//	func (h *udp) DstPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }
//	h := (*udp)(b.Bytes()[34:42])
//
// That is one bounds check, no copy, no alignment to mind and no unsafe.
package iopage

import (
	"errors"
	"math"
	"sync"
)

// Size of an I/O page in bytes.
const Size = 4096

// ErrExhausted is returned when every page is in use.
var ErrExhausted = errors.New("iopage: all pages in use")

// Pool owns the I/O region. All methods may be called from any goroutine.
type Pool struct {
	mu   sync.Mutex
	bufs []Buf
	free *Buf
	n    int // free pages
	low  int // smallest n seen
}

// Buf is one page and a window [off, off+len) on it. The zero window is at the
// page's start. A Buf belongs to whoever got it, until Release.
type Buf struct {
	pool  *Pool
	next  *Buf
	page  *[Size]byte
	index uint32
	tail  uint32 // see SetTail
	tailN uint16
	off   uint16
	n     uint16
	held  bool
}

// NewPool makes a pool of the whole pages of mem, which must start on a page
// boundary where that matters to the device and outlives the pool.
func NewPool(mem []byte) *Pool {
	p := &Pool{bufs: make([]Buf, len(mem)/Size)}
	for i := len(p.bufs) - 1; i >= 0; i-- {
		b := &p.bufs[i]
		b.pool, b.index, b.next = p, uint32(i), p.free
		b.page = (*[Size]byte)(mem[i*Size:])
		p.free = b
	}
	p.n, p.low = len(p.bufs), len(p.bufs)
	return p
}

// Get takes a page with an empty window at its start. The content is
// unspecified: whoever lets it out of the VM must have written all of it.
func (p *Pool) Get() (*Buf, error) {
	p.mu.Lock()
	b := p.free
	if b == nil {
		p.mu.Unlock()
		return nil, ErrExhausted
	}
	p.free = b.next
	if p.n--; p.n < p.low {
		p.low = p.n
	}
	p.mu.Unlock()
	b.next, b.tailN, b.off, b.n, b.held = nil, 0, 0, 0, true
	return b, nil
}

// GetBatch fills dst with pages as Get does, as long as more than keep pages
// remain free, and says how many it took. A driver that takes pages ahead of
// need uses keep to leave some to the others. It costs one lock.
func (p *Pool) GetBatch(dst []*Buf, keep int) int {
	p.mu.Lock()
	n := min(len(dst), p.n-max(keep, 0))
	if n <= 0 {
		p.mu.Unlock()
		return 0
	}
	b := p.free
	for i := range dst[:n] {
		next := b.next
		b.next, b.tailN, b.off, b.n, b.held = nil, 0, 0, 0, true
		dst[i], b = b, next
	}
	p.free = b
	if p.n -= n; p.n < p.low {
		p.low = p.n
	}
	p.mu.Unlock()
	return n
}

// GetChain takes pages as Get does, for n bytes behind head bytes that stay free in
// the first of them: chained, each with a window on its share of the n. It takes none
// when there are too few. It costs one lock.
func (p *Pool) GetChain(head, n int) (*Buf, error) {
	if uint(head) >= Size || n < 0 {
		panic("iopage: no such chain")
	}
	pages := max((head+n+Size-1)/Size, 1)
	p.mu.Lock()
	if pages > p.n {
		p.mu.Unlock()
		return nil, ErrExhausted
	}
	if p.n -= pages; p.n < p.low {
		p.low = p.n
	}
	first := p.free
	last := first
	k := min(n, Size-head)
	last.tailN, last.off, last.n, last.held = 0, uint16(head), uint16(k), true
	for n -= k; n > 0; n -= k {
		k = min(n, Size)
		last = last.next
		last.tailN, last.off, last.n, last.held = 0, 0, uint16(k), true
	}
	p.free, last.next = last.next, nil
	p.mu.Unlock()
	return first, nil
}

// Len is the number of pages in the region.
func (p *Pool) Len() int { return len(p.bufs) }

// Free is the number of pages not in use, and the smallest that number has been.
func (p *Pool) Free() (now, low int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n, p.low
}

// Release gives back b and all pages chained to it. Releasing a page twice is
// a broken invariant and panics.
func (b *Buf) Release() {
	p := b.pool
	p.mu.Lock()
	for b != nil {
		if !b.held {
			p.mu.Unlock()
			panic("iopage: page released twice")
		}
		next := b.next
		b.held = false
		b.next, p.free = p.free, b
		p.n++
		b = next
	}
	p.mu.Unlock()
}

// Bytes is the window. It is valid until Release.
func (b *Buf) Bytes() []byte { return b.page[b.off:][:b.n] }

// Page is the whole page, whatever the window.
func (b *Buf) Page() []byte { return b.page[:] }

// SetWindow moves the window to n bytes at off. It panics when that is not
// within the page.
func (b *Buf) SetWindow(off, n int) {
	if off < 0 || n < 0 || off > Size || n > Size-off {
		panic("iopage: window outside its page")
	}
	b.off, b.n = uint16(off), uint16(n)
}

// Resize moves the window's end, so that it has n bytes. It panics when that is not
// within the page.
func (b *Buf) Resize(n int) {
	if uint(n) > Size-uint(b.off) {
		panic("iopage: window outside its page")
	}
	b.n = uint16(n)
}

// Len is the window's length in bytes.
func (b *Buf) Len() int { return int(b.n) }

// HeadRoom is the number of bytes before the window.
func (b *Buf) HeadRoom() int { return int(b.off) }

// Index is the page's number in the region.
func (b *Buf) Index() uint32 { return b.index }

// Offset is the window's first byte, counted from the start of the region: how
// the gate and the drivers name memory to a device.
func (b *Buf) Offset() uint32 { return b.index*Size + uint32(b.off) }

// SetTail says that n bytes belong behind the chain that begins with b, from off on of
// the constants of the device that it is sent to (device.NetInfo.Constants): they are
// in no page of the chain. It panics when n is not below 64 KiB.
func (b *Buf) SetTail(off uint32, n int) {
	if uint(n) > math.MaxUint16 {
		panic("iopage: tail too long")
	}
	b.tail, b.tailN = off, uint16(n)
}

// Tail is what SetTail said; n is 0 when nothing belongs behind the chain.
func (b *Buf) Tail() (off uint32, n int) { return b.tail, int(b.tailN) }

// Tailed says whether something belongs behind the chain.
func (b *Buf) Tailed() bool { return b.tailN != 0 }

// Next is the following page of the chain, or nil.
func (b *Buf) Next() *Buf { return b.next }

// SetNext chains next, with all that follows it, after b. The chain has one
// owner and is released as one.
func (b *Buf) SetNext(next *Buf) { b.next = next }
