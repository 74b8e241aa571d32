//go:build !ampoule

package pvh

import "ampoule/libos/rt/rtabi"

// On the host there is no runtime to hand over to: tests run single steps.

func ampInfo() *rtabi.BootInfo { return nil }

func ampHooks() (context, inSignal, inOS, upcall uintptr) { return }

func ampStart(sp, at uintptr) uintptr { return 0 }

// The appliance's first instructions, which are no part of this build, call it.
var _ = start
