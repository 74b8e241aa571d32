package runtime

import "unsafe"

// ampRegs is a system call as ampSyscall left it on its stack.
type ampRegs struct {
	nr, a1, a2, a3, a4, a5, a6 uintptr
}

// Linux system call numbers that the runtime and the standard library use
// (arch/x86/entry/syscalls/syscall_64.tbl). What is not here does not exist.
const (
	ampSysRead           = 0
	ampSysWrite          = 1
	ampSysMmap           = 9
	ampSysMprotect       = 10
	ampSysMunmap         = 11
	ampSysSigaction      = 13
	ampSysSigprocmask    = 14
	ampSysMincore        = 27
	ampSysMadvise        = 28
	ampSysSchedYield     = 24
	ampSysNanosleep      = 35
	ampSysSetitimer      = 38
	ampSysGetpid         = 39
	ampSysExit           = 60
	ampSysKill           = 62
	ampSysUname          = 63
	ampSysFcntl          = 72
	ampSysReadlink       = 89
	ampSysSigaltstack    = 131
	ampSysPrctl          = 157
	ampSysArchPrctl      = 158
	ampSysGettid         = 186
	ampSysFutex          = 202
	ampSysSchedAffinity  = 204
	ampSysClockGettime   = 228
	ampSysExitGroup      = 231
	ampSysTgkill         = 234
	ampSysOpenat         = 257
	ampSysFstatat        = 262
	ampSysReadlinkat     = 267
	ampSysGetrandom      = 318
	ampFutexWake         = 1
	ampMaxWrite          = 1 << 20
	ampUtsnameLen        = 390
	ampUtsnameReleaseOff = 130
)

// ampDispatch is the library OS behind what used to be system calls. It runs
// on its own stack with ticks held back, must not allocate, and answers as
// Linux does: a result, or a negated errno.
//
//go:nosplit
//go:nowritebarrierrec
func ampDispatch(r *ampRegs) uintptr {
	switch r.nr {
	case ampSysWrite:
		if r.a1 != 1 && r.a1 != 2 {
			return ampEBADF
		}
		if r.a3 > ampMaxWrite {
			r.a3 = ampMaxWrite
		}
		ampKeep(unsafe.Pointer(r.a2), r.a3)
		ampWrite(unsafe.Pointer(r.a2), r.a3)
		return r.a3
	case ampSysRead:
		return 0
	case ampSysMmap:
		return ampMmap(r.a1, r.a2, r.a3, r.a4)
	case ampSysMunmap:
		ampMunmap(r.a1, r.a2)
		return 0
	case ampSysMadvise, ampSysMprotect, ampSysMincore, ampSysSchedYield, ampSysSetitimer,
		ampSysArchPrctl, ampSysPrctl:
		return 0
	case ampSysExit, ampSysExitGroup:
		ampExit(r.a1)
	case ampSysTgkill:
		return ampRaise(r.a3)
	case ampSysKill:
		return ampRaise(r.a2)
	case ampSysNanosleep:
		ampSleepFor(ampTimespec(r.a1))
		return 0
	case ampSysFutex:
		return ampFutex(r)
	case ampSysClockGettime:
		t := nanotime1()
		if r.a1 == 0 { // CLOCK_REALTIME
			t += ampWall
		}
		*(*int64)(unsafe.Pointer(r.a2)) = t / 1e9
		*(*int64)(unsafe.Pointer(r.a2 + 8)) = t % 1e9
		return 0
	case ampSysGetrandom:
		ampRandom(r.a1, r.a2)
		return r.a2
	}
	return ampProcess(r)
}

// ampProcess answers the calls that only make sense for a process, with what
// keeps the runtime content.
//
//go:nosplit
//go:nowritebarrierrec
func ampProcess(r *ampRegs) uintptr {
	switch r.nr {
	case ampSysSigaction:
		if r.a3 != 0 {
			memclrNoHeapPointers(unsafe.Pointer(r.a3), 32)
		}
		return 0
	case ampSysSigprocmask:
		if r.a3 != 0 {
			*(*uint64)(unsafe.Pointer(r.a3)) = 0
		}
		return 0
	case ampSysSigaltstack:
		if r.a2 != 0 { // the old stack: none
			memclrNoHeapPointers(unsafe.Pointer(r.a2), unsafe.Sizeof(stackt{}))
			(*stackt)(unsafe.Pointer(r.a2)).ss_flags = _SS_DISABLE
		}
		return 0
	case ampSysSchedAffinity:
		*(*byte)(unsafe.Pointer(r.a3)) = 1
		return 8
	case ampSysGetpid, ampSysGettid:
		return 1
	case ampSysFcntl:
		if r.a1 > 2 {
			return ampEBADF
		}
		if r.a2 == 3 { // F_GETFL
			return 2 // O_RDWR
		}
		return 0
	case ampSysUname:
		memclrNoHeapPointers(unsafe.Pointer(r.a1), ampUtsnameLen)
		for i, c := range []byte("6.1.0") { // what Go's feature checks want to see
			*(*byte)(unsafe.Pointer(r.a1 + ampUtsnameReleaseOff + uintptr(i))) = c
		}
		return 0
	case ampSysOpenat, ampSysFstatat, ampSysReadlinkat, ampSysReadlink:
		return ampENOENT
	}
	return ampENOSYS
}

// ampRaise is the runtime sending itself a signal: SIGURG asks for a
// preemption, which the next tick brings anyway; all others mean the end.
//
//go:nosplit
func ampRaise(sig uintptr) uintptr {
	if sig == _SIGURG {
		return 0
	}
	ampExit(2)
	return 0
}

// ampFutex serves the runtime's notes. With one M nobody else can wake it, so
// a wait without end is a bug that must be seen.
//
//go:nosplit
func ampFutex(r *ampRegs) uintptr {
	if r.a2&127 == ampFutexWake {
		return 0
	}
	if r.a4 == 0 {
		ampDie(ampExitOSFault, "endless futex wait on the only thread", r.a1)
	}
	ampSleepFor(ampTimespec(r.a4))
	return 0
}

//go:nosplit
func ampTimespec(p uintptr) int64 {
	return *(*int64)(unsafe.Pointer(p))*1e9 + *(*int64)(unsafe.Pointer(p + 8))
}

// ampSleepFor sleeps the VM for ns.
//
//go:nosplit
func ampSleepFor(ns int64) {
	for end := nanotime1() + ns; ; {
		d := end - nanotime1()
		if d <= 0 {
			return
		}
		ampSleep(d)
	}
}
