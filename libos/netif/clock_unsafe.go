package netif

import (
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// tcpip.MonotonicTime is one int64 of nanoseconds that the package does not
// export a cheap constructor for. The size is pinned here, the meaning by
// TestMonotonic.
var _ [8]byte = [unsafe.Sizeof(tcpip.MonotonicTime{})]byte{}

func monotonic(ns int64) tcpip.MonotonicTime {
	return *(*tcpip.MonotonicTime)(unsafe.Pointer(&ns))
}

// nanotime is the runtime's monotonic clock in nanoseconds. time.Since, which
// ends in it, takes as long again on the way there.
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64
