package xen

import (
	"errors"
	"sync"

	"ampoule/libos/format"
)

// PageSize is the granule of sharing.
const PageSize = 4096

// ErrNoPage says that all ring pages are in use.
var ErrNoPage = errors.New("xen: all ring pages in use")

// Pages knows the grant references that boot has made: those of the ring pages,
// which it hands out, and those of the I/O pages. All methods may be called from
// any goroutine.
type Pages struct {
	ring Ref // reference of the first ring page
	io   Ref // reference of the first I/O page
	nIO  uint32

	mu    sync.Mutex
	mem   []byte
	taken []bool
}

// NewPages takes over the ring pages in rings, whose page i has the reference
// ring+i, and nIO I/O pages, of which page i has the reference io+i. The memory
// starts on a page boundary, is outside the Go heap, and stays for ever.
func NewPages(rings []byte, ring, io Ref, nIO int) (*Pages, error) {
	n := len(rings) / PageSize
	if n*PageSize != len(rings) || n > 0 && !aligned(rings) {
		return nil, format.Errorf("xen: %d bytes of ring pages are not whole pages", len(rings))
	}
	if nIO < 0 || nIO > 1<<20 || uint64(ring)+uint64(n) > 1<<32 || uint64(io)+uint64(nIO) > 1<<32 ||
		ring < io+Ref(nIO) && io < ring+Ref(n) {
		return nil, format.Errorf("xen: references %d+%d of rings and %d+%d of I/O pages overlap or wrap", ring, n, io, nIO)
	}
	return &Pages{ring: ring, io: io, nIO: uint32(nIO), mem: rings, taken: make([]bool, n)}, nil
}

// Take gives a ring page, filled with zeros: what a former user or boot left
// there is not for the next backend to read (XSA-403).
func (p *Pages) Take() (Page, Ref, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.taken {
		if !t {
			p.taken[i] = true
			b := p.mem[i*PageSize : (i+1)*PageSize]
			clear(b)
			return PageOf(b), p.ring + Ref(i), nil
		}
	}
	return Page{}, 0, ErrNoPage
}

// Give takes back the ring page of a reference from Take. No backend may be
// using it. Giving a page twice is a broken invariant and panics.
func (p *Pages) Give(r Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := uint64(r) - uint64(p.ring)
	if i >= uint64(len(p.taken)) || !p.taken[i] {
		panic("xen: ring page given back twice, or not from Take")
	}
	p.taken[i] = false
}

// IORef is the grant reference of the I/O page at an offset in the I/O region.
// An offset outside the region is a broken invariant and panics.
func (p *Pages) IORef(offset uint32) Ref {
	i := offset / PageSize
	if i >= p.nIO {
		panic("xen: offset outside the I/O region")
	}
	return p.io + Ref(i)
}

// IOPages is the number of I/O pages that have a reference.
func (p *Pages) IOPages() int { return int(p.nIO) }
