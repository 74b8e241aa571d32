package ring

import "unsafe"

// alignedPage gives a page of the Go heap that starts on a page boundary.
func alignedPage() []byte {
	b := make([]byte, 2*4096)
	off := -uintptr(unsafe.Pointer(&b[0])) & 4095
	return b[off : off+4096 : off+4096]
}
