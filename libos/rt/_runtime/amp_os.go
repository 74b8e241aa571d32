package runtime

import (
	"internal/abi"
	"unsafe"
)

// State that the gate, the assembly and the Go half of the library OS share.
// The gate is told the addresses at boot and writes ampInSignal and ampContext
// only.
var (
	ampBoot     ampBootInfo
	ampInSignal uintptr    // an upcall is being handled
	ampInOS     uintptr    // depth of ampSyscall
	ampContext  ucontext   // the interrupted state
	ampSigInfo  siginfo    // of the signal being delivered
	ampVector   [4096]byte // XSAVE area of the interrupted state, from its first 64-byte boundary
	ampXSave    bool
	ampEpoch    int64 // clock reading at boot
	ampWall     int64 // ns since 1970 at monotonic time 0

	ampArgs   [16]uintptr // argc, argv, envp and auxv
	ampEnv    [48]byte    // GOMEMLIMIT=...
	ampReason int32       // exit code that belongs to the fatal error being reported
)

var (
	ampArg0     = [...]byte{'a', 'm', 'p', 'o', 'u', 'l', 'e', 0}
	ampEnvDebug = [...]byte{'G', 'O', 'T', 'R', 'A', 'C', 'E', 'B', 'A', 'C', 'K', '=', 's', 'i', 'n', 'g', 'l', 'e', 0}
)

// Marked for linkname, as assembly of other packages refers to them.
//
//go:linkname ampSyscall
func ampSyscall()

//go:linkname ampTLS
func ampTLS()
func ampUpcall()
func ampRDRAND() (uint64, bool)
func ampRDSEED() (uint64, bool)

//go:linkname ampGate
func ampGate(op, a, b uintptr) uintptr

// ampInfo gives the boot code the structure to fill. It runs before the
// runtime does, in ring 0.
//
//go:linkname ampInfo
//go:nosplit
func ampInfo() *ampBootInfo { return &ampBoot }

// ampHooks tells the boot code what the gate must know of this package, before
// the runtime runs.
//
//go:linkname ampHooks
//go:nosplit
func ampHooks() (context, inSignal, inOS, upcall uintptr) {
	return uintptr(unsafe.Pointer(&ampContext)), uintptr(unsafe.Pointer(&ampInSignal)),
		uintptr(unsafe.Pointer(&ampInOS)), abi.FuncPCABI0(ampUpcall)
}

// ampStart is the boot code's last call before ring 3: it takes over what
// BootInfo says and builds the argument vector, as a Linux kernel would, at the
// top of the g0 stack: that is sp for ring 3, and at for the boot code, which
// still runs on its own page tables. It answers the initial stack pointer.
//
//go:linkname ampStart
//go:nosplit
func ampStart(sp, at uintptr) uintptr {
	if ampBoot.Magic != ampMagic {
		return 0
	}
	ampXSave = ampBoot.Features&ampFeatureXSave != 0
	ampEpoch, ampWall = ampBoot.Epoch, ampBoot.Wall
	ampHeapLow, ampHeapHigh, ampMetaLow = ampBoot.Window, ampBoot.Window, ampBoot.WindowEnd
	ampReserve()
	arenaBaseOffset = ampBoot.Window &^ (heapArenaBytes - 1)
	minOffAddr.a = arenaBaseOffset
	maxOffAddr.a = arenaBaseOffset + 1<<heapAddrBits - 1
	ampSeed()
	// The limit leaves room for what the runtime does not count.
	ampEnvLimit((ampBoot.WindowEnd - ampBoot.Window) / 100 * 84)
	a := &ampArgs
	a[0], a[1], a[2] = 1, uintptr(unsafe.Pointer(&ampArg0)), 0
	a[3], a[4], a[5] = uintptr(unsafe.Pointer(&ampEnvDebug)), uintptr(unsafe.Pointer(&ampEnv)), 0
	a[6], a[7] = _AT_PAGESZ, ampPageSize
	a[8], a[9] = _AT_RANDOM, uintptr(unsafe.Pointer(&ampBoot.Random))
	a[10], a[11] = 0, 0
	const size = unsafe.Sizeof(ampArgs) + 256 // within a page, and a multiple of 16
	for i, v := range a {
		*(*uintptr)(unsafe.Pointer(at - size + uintptr(i)*8)) = v
	}
	return sp - size
}

// ampEnvLimit writes GOMEMLIMIT=n to the environment.
//
//go:nosplit
func ampEnvLimit(n uintptr) {
	i := 0
	for _, c := range []byte("GOMEMLIMIT=") {
		ampEnv[i] = c
		i++
	}
	div := uintptr(1)
	for n/div >= 10 {
		div *= 10
	}
	for ; div > 0; div /= 10 {
		ampEnv[i] = '0' + byte(n/div%10)
		i++
	}
}

// ampRoom says how many bytes of pages are free, and how many the window has: what
// the heap has free, with what it can still grow by. It is nothing when no piece of
// that is large enough for the spans that the runtime takes (a record of TLS is on one
// of 72 KiB): free pages that lie apart are as good as none.
//
//go:linkname ampRoom
func ampRoom() (free, all uintptr) {
	const (
		step  = pallocChunkPages * pageSize // the heap grows by these
		piece = 16                          // pages
	)
	all = ampBoot.WindowEnd - ampBoot.Window
	grow := (ampMetaLow - ampHeapHigh) / step * step
	if grow == 0 && ampLongestRun() < piece {
		return 0, all
	}
	return uintptr(gcController.heapFree.load()+gcController.heapReleased.load()) + grow, all
}

// ampLongestRun is the largest number of free pages in a row that the heap has. There is
// one thread, so that what it reads needs no lock.
func ampLongestRun() (pages uint) {
	p := &mheap_.pages
	last := offAddrToLevelIndex(0, offAddr{ampHeapHigh - 1})
	for i := offAddrToLevelIndex(0, offAddr{ampBoot.Window}); i <= last; i++ {
		pages = max(pages, p.summary[0][i].max())
	}
	return pages
}

// ampFatal is called at the start of throw and fatal, and remembers which exit
// code the message stands for.
//
//go:nosplit
func ampFatal(s string) {
	if ampReason != 0 {
		return
	}
	switch s {
	case "out of memory", "runtime: out of memory", "runtime: cannot allocate memory",
		"out of memory (stackalloc)", "runtime: cannot allocate heap metadata",
		"cannot allocate memory", "runtime: failed to allocate memory for radix tree":
		ampReason = ampExitMemory
	case "stack overflow":
		ampReason = ampExitStack
	case "all goroutines are asleep - deadlock!", "no goroutines (main called runtime.Goexit) - deadlock!":
		ampReason = ampExitDeadlock
	default:
		ampReason = ampExitFatal
		if ampRefused {
			ampReason = ampExitMemory
		}
	}
}

// ampExit ends the VM. The runtime exits with 2 for panics and fatal errors
// alike; what ampFatal noted tells them apart.
//
//go:nosplit
func ampExit(code uintptr) {
	if code == 2 && ampReason != 0 {
		code = uintptr(ampReason)
	} else if gp := getg(); code == 2 && gp != nil && gp.m != nil && gp.m.throwing >= throwTypeRuntime {
		code = ampExitFatal // a fault inside the runtime itself
	}
	if code != 0 {
		ampPuts("ampoule: exit ")
		ampPutn(code)
		ampPuts("\n")
	}
	if code > ampExitMax {
		code = ampExitMax // no failure may look like success
	}
	for {
		ampGate(ampGateExit, code, 0)
	}
}

// ampDie reports a condition that the library OS cannot go on from.
//
//go:nosplit
func ampDie(code uintptr, what string, arg uintptr) {
	ampPuts("ampoule: ")
	ampPuts(what)
	ampPuts(" ")
	ampPutn(arg)
	ampPuts("\n")
	for {
		ampGate(ampGateExit, code, 0)
	}
}

//go:nosplit
func ampPuts(s string) { ampWrite(unsafe.Pointer(unsafe.StringData(s)), uintptr(len(s))) }

//go:nosplit
func ampPutn(n uintptr) {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = '0' + byte(n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	ampWrite(unsafe.Pointer(&b[i]), uintptr(len(b)-i))
}

// ampConsoleTries bounds the wait for a console that does not drain: about as
// long as a 9600 baud line takes for a FIFO, then the rest is dropped.
const ampConsoleTries = 20000

// ampWrite puts n bytes on the console, for panics and print. It gives up on a
// console that takes nothing: a stuck one must not stop the VM.
//
//go:nosplit
func ampWrite(p unsafe.Pointer, n uintptr) {
	for tries := 0; n > 0 && tries < ampConsoleTries; tries++ {
		var w, k uintptr
		for k < 8 && k < n {
			w |= uintptr(*(*byte)(add(p, k))) << (8 * k)
			k++
		}
		if took := ampGate(ampGateConsole, w, k); took > 0 && took <= k {
			p, n, tries = add(p, took), n-took, 0
		}
	}
}

// ampConsole offers up to 8 bytes to the console and says how many it took. It
// does not wait.
//
//go:linkname ampConsole
//go:nosplit
func ampConsole(bytes uint64, n int) int {
	return int(ampGate(ampGateConsole, uintptr(bytes), uintptr(n)))
}

// ampMemory reports the RAM window: bytes of heap arenas mapped, bytes of
// runtime metadata, and bytes in all.
//
//go:linkname ampMemory
func ampMemory() (heap, meta, window uintptr) {
	return ampHeapHigh - ampHeapLow, ampBoot.WindowEnd - ampMetaLow, ampBoot.WindowEnd - ampBoot.Window
}
