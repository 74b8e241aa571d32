//go:build ampoule

package bare

import (
	"unsafe"

	_ "ampoule/boot/pvh" // the way here
	"ampoule/libos/rt/rtabi"
)

// What package runtime offers (libos/rt/_runtime).

//go:linkname ampInfo runtime.ampInfo
func ampInfo() *rtabi.BootInfo

//go:linkname ampGate runtime.ampGate
func ampGate(op, a, b uintptr) uintptr

//go:linkname ampStats runtime.ampStats
func ampStats() (ticks, preempts, sleeps uint64)

//go:linkname ampText runtime.ampText
func ampText() (text, etext uintptr)

// Info is what boot left for the runtime.
func Info() *rtabi.BootInfo { return ampInfo() }

// Gate makes a gate call.
func Gate(op, a, b uintptr) uintptr { return ampGate(op, a, b) }

// Stats is the number of ticks delivered, preemptions asked for, and sleeps.
func Stats() (ticks, preempts, sleeps uint64) { return ampStats() }

// Text is where the image's code lies.
func Text() (start, end uintptr) { return ampText() }

// at makes a pointer of any address whatever. That is the point of this
// package: the caller wants to see what the machine makes of it. Reading the
// word in place, instead of converting it, keeps the collector out of it.
func at(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// Load reads a byte.
//
//go:noinline
func Load(addr uintptr) byte { return *(*byte)(at(addr)) }

// Store writes a byte.
//
//go:noinline
func Store(addr uintptr, v byte) { *(*byte)(at(addr)) = v }

// Load16 and Store16 access a word of a ring.
func Load16(addr uintptr) uint16 { return *(*uint16)(at(addr)) }

// Store16 writes a word of a ring.
func Store16(addr uintptr, v uint16) { *(*uint16)(at(addr)) = v }

// Memory is n bytes at addr, which are mapped for good and unknown to the
// collector.
func Memory(addr uintptr, n int) []byte { return unsafe.Slice((*byte)(at(addr)), n) }

// Call calls the code at addr as a function without arguments.
//
//go:noinline
func Call(addr uintptr) {
	code := &addr
	// A function value points to a word that holds the code's address.
	f := *(*func())(unsafe.Pointer(&code))
	f()
}

// Address is where a value lies that p keeps alive.
func Address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// StringAddress is where the bytes of a string lie.
func StringAddress(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

// Entry is the address of a function's code.
func Entry(f func()) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// SetDesc writes entry i of the submission area of a queue.
func SetDesc(q *rtabi.Queue, i int, d rtabi.Desc) {
	*(*rtabi.Desc)(at(q.Ring + rtabi.QueueSubOff + uintptr(i)*unsafe.Sizeof(d))) = d
}
