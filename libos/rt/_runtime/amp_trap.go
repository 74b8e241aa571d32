package runtime

import "unsafe"

// CPU exceptions that an upcall can bring, and the tick (Intel SDM volume 3,
// table 6-1).
const (
	ampTrapDivide     = 0
	ampTrapBreakpoint = 3
	ampTrapInvalid    = 6
	ampTrapProtection = 13
	ampTrapPage       = 14
	ampTrapFloat      = 16
	ampTrapSIMD       = 19
	ampTrapTick       = 32
)

var (
	ampTicks    uint64 // ticks delivered
	ampPreempts uint64
	ampPolled   uint64 // value of ampTicks at the last poll
	ampSched    uint32 // schedtick of the P at the last tick
)

// ampTrap turns an upcall into the signal that Linux would send, or 0 for a
// tick that asks for nothing. It runs on the signal stack with the interrupted
// g, and must not allocate.
//
//go:nosplit
//go:nowritebarrierrec
func ampTrap() uint32 {
	c := (*sigcontext)(unsafe.Pointer(&ampContext.uc_mcontext))
	ampSigInfo.si_code = 1
	ampSigInfo.si_addr = c.rip
	switch c.trapno {
	case ampTrapTick:
		return ampTick()
	case ampTrapDivide, ampTrapFloat, ampTrapSIMD:
		return _SIGFPE
	case ampTrapBreakpoint:
		return _SIGTRAP
	case ampTrapInvalid:
		return _SIGILL
	case ampTrapProtection:
		ampSigInfo.si_code = 0x80 // SI_KERNEL: no address
		ampSigInfo.si_addr = 0
		return _SIGSEGV
	case ampTrapPage:
		if c.err&1 != 0 {
			ampSigInfo.si_code = 2 // SEGV_ACCERR: mapped, but not for this
		}
		ampSigInfo.si_addr = c.cr2
		return _SIGSEGV
	}
	return _SIGBUS
}

// ampTick does at each tick what sysmon does on other systems: a goroutine
// that has run since the last tick is asked to yield, and the device poll that
// findRunnable then makes keeps the network alive under CPU load.
//
//go:nosplit
//go:nowritebarrierrec
func ampTick() uint32 {
	ampTicks++
	if !mainStarted {
		return 0
	}
	gp := getg()
	if gp == nil || gp.m == nil || gp.m.curg != gp {
		return 0 // on g0: the scheduler or the collector
	}
	pp := gp.m.p.ptr()
	if pp == nil {
		return 0
	}
	due := ampSched == pp.schedtick || ampWanted()
	ampSched = pp.schedtick
	// A tick brings one signal: a profile takes turns with preemption.
	if prof.hz.Load() != 0 && (!due || ampTicks&1 == 0) {
		ampSigInfo.si_code = _SI_KERNEL
		return _SIGPROF
	}
	if !due {
		return 0
	}
	ampPreempts++
	pp.preempt = true
	gp.preempt = true
	gp.stackguard0 = stackPreempt
	ampSigInfo.si_code = _SI_TKILL
	return _SIGURG
}

// ampWanted says whether a goroutine waits for a device that has something to
// tell: it does not wait until the running one has had its tick.
//
//go:nosplit
//go:nowritebarrierrec
func ampWanted() bool {
	for i := 0; i < ampNSource; i++ {
		if s := ampSources[i]; s.Waiter != 0 && ampReady(s) {
			return true
		}
	}
	return false
}

// ampSignalStack makes the signal-handling g on the guarded stack that boot
// set aside, instead of one from the heap without a guard.
func ampSignalStack() *g {
	gp := new(g)
	gp.stack.hi = ampBoot.Signal
	gp.stack.lo = ampBoot.Signal - ampBoot.SignalSize
	gp.stackguard0 = gp.stack.lo + stackGuard
	gp.stackguard1 = ^uintptr(0)
	return gp
}

// ampStats reports ticks delivered, preemptions asked for, and sleeps.
//
//go:linkname ampStats
func ampStats() (ticks, preempts, sleeps uint64) { return ampTicks, ampPreempts, ampSleeps }

// ampText reports where code lies, for tests of the seal.
//
//go:linkname ampText
func ampText() (text, etext uintptr) {
	return firstmoduledata.text, firstmoduledata.etext
}
