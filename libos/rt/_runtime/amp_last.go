package runtime

import "unsafe"

// What the runtime says as it dies, for who keeps it: the beginning of it, in memory
// that is nobody else's.
var (
	ampLastText  unsafe.Pointer // nil: nobody does
	ampLastRoom  uintptr
	ampLastLen   uintptr
	ampLastWrite func(n int)
	ampLastDone  bool
)

// ampSetLast has what the runtime says as it dies put at p, up to room bytes, and
// write called with how many when all is said. write runs on a stack of the runtime
// in whatever state the program died: it must not allocate, lock, wait for a
// goroutine or write a pointer.
//
//go:linkname ampSetLast
func ampSetLast(p unsafe.Pointer, room uintptr, write func(n int)) {
	ampLastText, ampLastRoom, ampLastWrite = p, room, write
}

// ampKeep takes what is printed, once the program is dying.
//
//go:nosplit
//go:nowritebarrierrec
func ampKeep(p unsafe.Pointer, n uintptr) {
	if ampLastText == nil || ampReason == 0 && panicking.Load() == 0 {
		return
	}
	for i := uintptr(0); i < n && ampLastLen < ampLastRoom; i++ {
		*(*byte)(add(ampLastText, ampLastLen)) = *(*byte)(add(p, i))
		ampLastLen++
	}
}

// ampLast is called when a panic or a fatal error has been printed.
func ampLast() {
	if ampLastWrite == nil || ampLastDone {
		return
	}
	ampLastDone = true
	ampLastWrite(int(ampLastLen))
}
