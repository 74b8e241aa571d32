//go:build ampoule

package platform

import (
	"unsafe"

	"ampoule/libos/rt/rtabi"
)

// What package runtime offers (libos/rt/_runtime).

//go:linkname bootInfo runtime.ampInfo
func bootInfo() *rtabi.BootInfo

//go:linkname ampGate runtime.ampGate
func ampGate(op, a, b uintptr) uintptr

//go:linkname ampConsole runtime.ampConsole
func ampConsole(bytes uint64, n int) int

//go:linkname ampGetrandom runtime.ampGetrandom
func ampGetrandom(p unsafe.Pointer, n uintptr)

//go:linkname ampSuspend runtime.ampSuspend
func ampSuspend() int

//go:linkname ampStats runtime.ampStats
func ampStats() (ticks, preempts, sleeps uint64)

//go:linkname ampSetLast runtime.ampSetLast
func ampSetLast(p unsafe.Pointer, room uintptr, write func(n int))

//go:linkname nanotime runtime.nanotime
func nanotime() int64

//go:linkname now time.now
func now() (sec int64, nsec int32, mono int64)

// region is memory that boot mapped for good and that the runtime does not
// know of.
func region(start, n uintptr) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&start)), n)
}

// constants are the image's read-only data, as far as devices may read it.
func constants() string {
	i := bootInfo()
	return unsafe.String(*(**byte)(unsafe.Pointer(&i.Const)), i.ConstSize)
}

// getrandom fills p.
func getrandom(p []byte) {
	if len(p) > 0 {
		ampGetrandom(unsafe.Pointer(&p[0]), uintptr(len(p)))
	}
}

// setLast has what the runtime says as it dies put into b, which must be memory that
// boot mapped for good.
func setLast(b []byte, write func(n int)) {
	ampSetLast(unsafe.Pointer(&b[0]), uintptr(len(b)), write)
}
