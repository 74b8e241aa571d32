//go:build ampoule

package memory

import (
	"runtime"
	_ "unsafe" // for go:linkname
)

//go:linkname ampRoom runtime.ampRoom
func ampRoom() (free, all uintptr)

// Here is the machine that the program runs on.
func Here() Machine { return Machine{Room: room, Collect: runtime.GC} }

func room() (free, all uint64) {
	f, a := ampRoom()
	return uint64(f), uint64(a)
}
