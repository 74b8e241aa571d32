package xen

import (
	"sync/atomic"
	"unsafe"
)

// Page is one page that the other side reads and writes too. A Page is a value;
// copies name the same memory. An access at any offset stays within the page:
// offsets are masked and rounded down to the size of the access.
//
// Loads are atomic, so that each happens exactly once and what was checked is
// what is used. A store is an exchange on amd64, that is, a full fence: no later
// load is done before the other side can see it.
type Page struct {
	mem unsafe.Pointer // invariant: PageSize mapped bytes, page-aligned, for ever
}

// PageOf names the page that b is. It panics unless b is exactly one page.
func PageOf(b []byte) Page {
	if len(b) != PageSize || !aligned(b) {
		panic("xen: not a page")
	}
	return Page{mem: unsafe.Pointer(&b[0])}
}

func aligned(b []byte) bool { return uintptr(unsafe.Pointer(&b[0]))%PageSize == 0 }

// word is the aligned 32-bit word at off, within the page by the mask.
func (p Page) word(off uint32) *uint32 {
	return (*uint32)(unsafe.Add(p.mem, off&(PageSize-4)))
}

// long is the aligned 64-bit word at off, within the page by the mask.
func (p Page) long(off uint32) *uint64 {
	return (*uint64)(unsafe.Add(p.mem, off&(PageSize-8)))
}

// Load32 loads the word at off.
func (p Page) Load32(off uint32) uint32 { return atomic.LoadUint32(p.word(off)) }

// Load64 loads the two words at off.
func (p Page) Load64(off uint32) uint64 { return atomic.LoadUint64(p.long(off)) }

// Store32 stores the word at off; it is a full fence.
func (p Page) Store32(off, v uint32) { atomic.StoreUint32(p.word(off), v) }

// CompareAndSwap32 stores the word at off if it still is old, and says whether it
// was; it is a full fence.
func (p Page) CompareAndSwap32(off, old, v uint32) bool {
	return atomic.CompareAndSwapUint32(p.word(off), old, v)
}

// Set32 stores the word at off with no order promised: it is seen at the latest
// with the next Store32.
func (p Page) Set32(off, v uint32) { *p.word(off) = v }

// Set64 is Set32 for two words.
func (p Page) Set64(off uint32, v uint64) { *p.long(off) = v }

// Word is the word at off, for an event.Source to store to.
func (p Page) Word(off uint32) *uint32 { return p.word(off) }

// Half is the low half of the word at off, for an event.Source to watch.
func (p Page) Half(off uint32) *uint16 { return (*uint16)(unsafe.Pointer(p.word(off))) }

// Bytes is the page as bytes, for bulk copies: the other side may change them at
// any time, so copy first and check the copy.
func (p Page) Bytes() []byte { return unsafe.Slice((*byte)(p.mem), PageSize) }

// Valid says that the Page names memory: it is not the zero Page.
func (p Page) Valid() bool { return p.mem != nil }
