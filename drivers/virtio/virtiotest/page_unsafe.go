package virtiotest

import (
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"ampoule/libos/rt/rtabi"
)

// mapPages gives zeroed memory outside the Go heap, on a page boundary, until
// the test ends.
func mapPages(tb testing.TB, n int) []byte {
	tb.Helper()
	m, err := syscall.Mmap(-1, 0, n*rtabi.PageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		tb.Fatalf("virtiotest: map %d pages: %v", n, err)
	}
	tb.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			tb.Errorf("virtiotest: unmap: %v", err)
		}
	})
	return m
}

// address is where p starts. The memory is not the garbage collector's.
func address(p []byte) uintptr { return uintptr(unsafe.Pointer(&p[0])) }

// word is the aligned 32-bit word at off of a ring page; the index keeps it
// within the page.
func word(page []byte, off int) *uint32 {
	return (*uint32)(unsafe.Pointer(&page[off : off+4 : off+4][0]))
}

func load(page []byte, off int) uint32     { return atomic.LoadUint32(word(page, off)) }
func store(page []byte, off int, v uint32) { atomic.StoreUint32(word(page, off), v) }

// store64 writes the first eight bytes of a page.
func store64(page []byte, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&page[:8:8][0])), v)
}

// readDesc copies Desc i of the submission area.
func readDesc(page []byte, i int) rtabi.Desc {
	const size = int(unsafe.Sizeof(rtabi.Desc{}))
	at := rtabi.QueueSubOff + i*size
	return *(*rtabi.Desc)(unsafe.Pointer(&page[at : at+size][0]))
}
