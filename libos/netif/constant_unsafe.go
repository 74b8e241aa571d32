package netif

import "unsafe"

// within says where b, which has octets, begins in s, and how long it is if all of it
// lies there; else n is 0. s is shorter than 4 GiB.
func within(s string, b []byte) (off uint32, n int) {
	// Addresses are compared as numbers and never become pointers again. While s and b
	// live their memory belongs to nobody else, and nothing moves in Go's heap.
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.StringData(s)))
	if at >= uintptr(len(s)) || len(b) > len(s)-int(at) {
		return 0, 0
	}
	return uint32(at), len(b)
}
