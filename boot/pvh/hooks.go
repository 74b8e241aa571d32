//go:build ampoule

package pvh

import (
	_ "unsafe" // for go:linkname

	"ampoule/libos/rt/rtabi"
)

// What package runtime offers the boot code (libos/rt/_runtime/amp_os.go).

//go:linkname ampInfo runtime.ampInfo
func ampInfo() *rtabi.BootInfo

//go:linkname ampHooks runtime.ampHooks
func ampHooks() (context, inSignal, inOS, upcall uintptr)

//go:linkname ampStart runtime.ampStart
func ampStart(sp, at uintptr) uintptr
