package virtionet

import (
	"sync/atomic"
	"unsafe"
)

// loadHeader reads the header at the start of a page that a device may be
// writing at this moment: each byte is loaded exactly once, so what was checked
// is what is used.
//
// The pointers stay within p, which has headerLen bytes; I/O pages start on a
// page boundary, so both loads are aligned.
func loadHeader(p *[headerLen]byte) header {
	return header{
		lo: atomic.LoadUint64((*uint64)(unsafe.Pointer(&p[0]))),
		hi: atomic.LoadUint32((*uint32)(unsafe.Pointer(&p[8]))),
	}
}
