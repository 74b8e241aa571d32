// Package rand is the system's randomness: on an appliance, the generator that
// boot seeded (libos/rt/_runtime/amp_rand.go).
package rand

import (
	"io"
	"syscall"
	"unsafe"
)

const getrandom = 318 // the system call, on x86-64

type reader struct{}

// Read fills p, unless it fails.
func (reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// The kernel, or what stands in its place, writes len(p) bytes at most.
	n, _, e := syscall.Syscall(getrandom, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// Reader gives random bytes. Any goroutine may read.
var Reader io.Reader = reader{}

// Read fills b with random bytes.
func Read(b []byte) (int, error) { return io.ReadFull(Reader, b) }
