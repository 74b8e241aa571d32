package xentest

import (
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"ampoule/drivers/xen"
)

// mapPages gives zeroed memory outside the Go heap, on a page boundary, until
// the test ends.
func mapPages(tb testing.TB, n int) []byte {
	tb.Helper()
	if n == 0 {
		return nil
	}
	m, err := syscall.Mmap(-1, 0, n*xen.PageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		tb.Fatalf("xentest: map %d pages: %v", n, err)
	}
	tb.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			tb.Errorf("xentest: unmap: %v", err)
		}
	})
	return m
}

// word is the aligned 32-bit word at off of a shared page; the index keeps it
// within the page.
func word(page []byte, off int) *uint32 {
	off &^= 3
	return (*uint32)(unsafe.Pointer(&page[off : off+4 : off+4][0]))
}

func load(page []byte, off int) uint32     { return atomic.LoadUint32(word(page, off)) }
func store(page []byte, off int, v uint32) { atomic.StoreUint32(word(page, off), v) }
