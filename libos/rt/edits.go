package rt

import "ampoule/libos/edit"

const (
	sysCall = "\tSYSCALL\n"
	libCall = "\tCALL\truntime·ampSyscall(SB)\n"
)

// Edits is every change to the stock runtime and standard library, each with
// its reason. Together with the files in _runtime it is the runtime overlay.
var Edits = []edit.Edit{
	// System calls are function calls: same registers, the library OS behind
	// them. mem_linux.go, os_linux.go and the signal code stay stock.
	{File: "runtime/sys_linux_amd64.s", Old: sysCall, New: libCall, Count: 40},
	{File: "runtime/time_linux_amd64.s", Old: sysCall, New: libCall, Count: 2},
	{File: "internal/runtime/syscall/linux/asm_linux_amd64.s", Alt: "internal/runtime/syscall/asm_linux_amd64.s",
		Old: sysCall, New: libCall, Count: 1},
	{File: "syscall/asm_linux_amd64.s", Old: sysCall, New: libCall, Count: 3},

	// The program's entry refers to the boot code's PVH note, so that the linker
	// keeps both. An image without boot/pvh does not link.
	{File: "runtime/rt0_linux_amd64.s", Count: 1,
		Old: "TEXT _rt0_amd64_linux(SB),NOSPLIT,$-8\n",
		New: "TEXT _rt0_amd64_linux(SB),NOSPLIT,$-8\n\tLEAQ\tampoule∕boot∕pvh·note(SB), AX\n"},

	// One scheduler, one M: the single-thread paths that the runtime has for
	// WebAssembly. No sysmon thread: ampTick and ampPollTick do its work.
	{File: "runtime/proc.go", Old: `if GOARCH == "wasm" {`, New: `if GOARCH == "amd64" {`, Count: 5},
	{File: "runtime/proc.go", Old: `const haveSysmon = GOARCH != "wasm"`, New: `const haveSysmon = false`, Count: 1},
	{File: "runtime/debug.go", Old: `if GOARCH == "wasm" && n > 1 {`, New: `if n > 1 {`, Count: 1},

	// A device poll once a tick, however full the run queue is.
	{File: "runtime/proc.go", Count: 1,
		Old: "\tnow, pollUntil, _ := pp.timers.check(0, nil)\n\n\t// Try to schedule the trace reader.",
		New: "\tampPollTick()\n\tnow, pollUntil, _ := pp.timers.check(0, nil)\n\n\t// Try to schedule the trace reader."},

	// The poller is there from the start and always worth asking, so the only
	// M blocks in it and never on a futex.
	{File: "runtime/netpoll.go", Old: `return netpollInited.Load() != 0`, New: `return true`, Count: 1},
	{File: "runtime/netpoll.go", Old: `return netpollWaiters.Load() > 0`, New: `return true`, Count: 1},

	// A note slept on by a goroutine (os/signal, the profile reader) is looked
	// at by timer: entersyscallblock would want a second M.
	{File: "runtime/lock_futex.go", Count: 1,
		Old: "\tentersyscallblock()\n\tok := notetsleep_internal(n, ns)\n\texitsyscall()\n\treturn ok\n",
		New: "\tdeadline, nap := nanotime()+ns, int64(1e6)\n\tfor atomic.Load(key32(&n.key)) == 0 {\n" +
			"\t\tif ns >= 0 && nanotime() >= deadline {\n\t\t\treturn false\n\t\t}\n" +
			"\t\ttimeSleep(nap)\n\t\tnap = min(nap*2, 100e6)\n\t}\n\treturn true\n"},

	// No files say what the local time zone is: it is UTC, as where they are
	// missing, and what reads them is not linked.
	{File: "time/zoneinfo_unix.go", Old: "func initLocal() {\n", New: "func initLocal() {\n\tlocalLoc.name = \"UTC\"\n\treturn\n", Count: 1},

	// Addresses have 36 bits: the whole window, at a fraction of the metadata.
	{File: "runtime/malloc.go", Count: 1,
		Old: `heapAddrBits = (_64bit*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*48 +`,
		New: `heapAddrBits = (_64bit*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*36 +`},
	{File: "runtime/malloc.go", Count: 1,
		Old: `arenaBaseOffset = 0xffff800000000000*goarch.IsAmd64 +`,
		New: `ampNoOffset = 0*goarch.IsAmd64 +`},

	// They are counted from where boot put the heap, which may be anywhere: a
	// variable (amp_mem.go) in place of the constant.
	{File: "runtime/malloc.go", Count: 1,
		Old: `arenaBaseOffsetUintptr = uintptr(arenaBaseOffset)`, New: `arenaBaseOffsetUintptr = uintptr(ampNoOffset)`},
	// The heap begins within its first arena, where the window does.
	{File: "runtime/mheap.go", Count: 1,
		Old: "\t\t\tif firstGrow && randomizeHeapBase {\n\t\t\t\t// The top",
		New: "\t\t\th.curArena.base = max(h.curArena.base, ampBoot.Window)\n\t\t\tif firstGrow && randomizeHeapBase {\n\t\t\t\t// The top"},

	// Boot draws where the heap begins; the runtime's own draw would waste part of
	// a small window. GOEXPERIMENT can turn it off too, but then stands in the
	// version of Go that the image says it is of, which govulncheck does not
	// understand.
	{File: "runtime/malloc.go", Count: 1,
		Old: "randomizeHeapBase = goexperiment.RandomizedHeapBase64 &&", New: "randomizeHeapBase = false && goexperiment.RandomizedHeapBase64 &&"},

	// Memory that the runtime gives back stays as it is, since madvise has no
	// one to advise: it must be cleared before it is used again. Stock Linux
	// zeroes it with MADV_DONTNEED.
	{File: "runtime/mem_linux.go", Count: 1,
		Old: "return debug.madvdontneed == 0", New: "return true"},

	// Memory that the heap has not used yet is as the machine was started with it:
	// each span is cleared when it is taken. Linux hands out pages that are zero.
	{File: "runtime/mheap.go", Count: 1,
		Old: "needZero := h.allocNeedsZero(base, npages)\n", New: "needZero := true\n"},

	// When collections take half of the CPU for a second, the runtime would let
	// allocation run ahead of them; memory that cannot grow is then gone within
	// two ticks. A machine of fixed size is better slow than out of memory.
	{File: "runtime/mgclimit.go", Old: "return l.enabled.Load()", New: "return false", Count: 1},

	// Signals are handled on the guarded stack that boot set aside.
	{File: "runtime/os_linux.go", Count: 1,
		Old: "mp.gsignal = malg(32 * 1024) // Linux wants >= 2K", New: "mp.gsignal = ampSignalStack()"},

	// A goroutine may use an eighth of the window: runaway recursion ends with
	// a stack overflow, not by eating all memory first.
	{File: "runtime/proc.go", Count: 1,
		Old: "maxstacksize = 1000000000", New: "maxstacksize = (ampBoot.WindowEnd - ampBoot.Window) / 8"},

	// The message of a fatal error decides the exit code.
	{File: "runtime/panic.go", Count: 1,
		Old: "func throw(s string) {\n", New: "func throw(s string) {\n\tampFatal(s)\n"},
	{File: "runtime/panic.go", Count: 1,
		Old: "func fatal(s string) {\n", New: "func fatal(s string) {\n\tampFatal(s)\n"},

	// When all is said, it is kept (amp_last.go). What is said has no values of
	// arguments or registers: they may be parts of keys.
	{File: "runtime/panic.go", Count: 1,
		Old: "\tprintDebugLog()\n\n\treturn docrash\n", New: "\tprintDebugLog()\n\tampLast()\n\n\treturn docrash\n"},
	{File: "runtime/signal_unix.go", Count: 1, Old: "\t\tdumpregs(c)\n", New: "\t\tampLast()\n"},
	{File: "runtime/traceback.go", Count: 1,
		Old: "func printArgs(f funcInfo, argp unsafe.Pointer, pc uintptr) {\n",
		New: "func printArgs(f funcInfo, argp unsafe.Pointer, pc uintptr) {\n\treturn\n"},

	// The clock is read from the hypervisor's page without a change of stack.
	// The stock functions stay under names that nothing refers to.
	{File: "runtime/sys_linux_amd64.s", Count: 1,
		Old: "TEXT runtime·nanotime1(SB),NOSPLIT,$16-8\n", New: "TEXT runtime·ampStockNanotime(SB),NOSPLIT,$16-8\n"},
	{File: "runtime/time_linux_amd64.s", Count: 1,
		Old: "TEXT time·now<ABIInternal>(SB),NOSPLIT,$16-24\n", New: "TEXT runtime·ampStockNow<ABIInternal>(SB),NOSPLIT,$16-24\n"},

	// The execution tracer has no one to start it, and its hooks are all over
	// the scheduler and the collector: 150 KB of an image.
	{File: "runtime/traceruntime.go", Old: "\treturn trace.enabled\n", New: "\treturn false\n", Count: 1},
	{File: "runtime/traceruntime.go", Old: "\treturn trace.enabledWithAllocFree\n", New: "\treturn false\n", Count: 1},

	// There is no cgroup to ask for a number of CPUs, and no one who reads the
	// counters of GODEBUG settings by runtime/metrics.
	{File: "runtime/cgroup_linux.go", Count: 1,
		Old: "func defaultGOMAXPROCSInit() {\n", New: "func defaultGOMAXPROCSInit() {\n\treturn\n"},
	{File: "runtime/cgroup_linux.go", Count: 1,
		Old: "func adjustCgroupGOMAXPROCS(procs int32, cpu cgroup.CPU) int32 {\n",
		New: "func adjustCgroupGOMAXPROCS(procs int32, cpu cgroup.CPU) int32 {\n\treturn procs\n"},
	{File: "runtime/metrics.go", Count: 1,
		Old: "func godebug_registerMetric(name string, read func() uint64) {\n",
		New: "func godebug_registerMetric(name string, read func() uint64) {\n\treturn\n"},

	// Nobody searches an image for the call whose setting matters: 8 KB.
	{File: "internal/godebug/godebug.go", Old: "if v.bisect != nil && !v.bisect.Stack(&stderr) {", New: "if false {", Count: 1},
	{File: "internal/godebug/godebug.go", Old: "v.bisect, _ = bisect.New(arg[j+1:])", New: "", Count: 1},

	// The function tables are packed (amp_func.go, boot/image): a function's record
	// is unpacked when it is first asked for, an inlined call each time.
	{File: "runtime/symtab.go", Count: 1,
		Old: "\tfuncoff := datap.ftab[idx].funcoff\n", New: "\tampUnpack(datap, idx)\n\tfuncoff := datap.ftab[idx].funcoff\n"},
	{File: "runtime/symtabinl.go", Count: 1,
		Old: "u.inlTree[uf.index].parentPc", New: "u.ampCall(uf.index).parentPc"},
	{File: "runtime/symtabinl.go", Count: 1,
		Old: "\tt := &u.inlTree[uf.index]\n", New: "\tt := u.ampCall(uf.index)\n"},

	// A panic's floating-point value is printed with seven digits; the shortest
	// text that is exact takes 50 KB of code and tables.
	{File: "runtime/print.go", Count: 1,
		Old: "gwrite(strconv.AppendFloat(buf[:0], v, 'g', -1, 64))", New: "gwrite(ampFormatFloat(buf[:], v))"},
	{File: "runtime/print.go", Count: 1,
		Old: "gwrite(strconv.AppendFloat(buf[:0], float64(v), 'g', -1, 32))", New: "gwrite(ampFormatFloat(buf[:], float64(v)))"},
	{File: "runtime/print.go", Count: 1,
		Old: "gwrite(strconv.AppendComplex(buf[:0], c, 'g', -1, 128))", New: "_ = buf\n\tprint(\"(\", real(c), imag(c), \"i)\")"},
	{File: "runtime/print.go", Count: 1,
		Old: "gwrite(strconv.AppendComplex(buf[:0], complex128(c), 'g', -1, 64))", New: "_ = buf\n\tprint(\"(\", real(c), imag(c), \"i)\")"},

	// A connection of crypto/tls keeps the buffers of its largest record and of its
	// handshake for life. One that has nothing to read gives them back: thousands wait.
	{File: "crypto/tls/conn.go", Count: 1,
		Old: "\t\t\tc.in.setErrorLocked(err)\n\t\t}\n\t\treturn err\n\t}\n\thdr := ",
		New: "\t\t\tc.in.setErrorLocked(err)\n\t\t} else if handshakeComplete {\n\t\t\tc.ampRelease()\n\t\t}\n\t\treturn err\n\t}\n\thdr := "},
	// It also says whether it has nothing, which spares who reads the read that finds out.
	{File: "crypto/tls/conn.go", Count: 1,
		Old: "// Read reads data from the connection.\n",
		New: "// AmpDrained says whether nothing is held that came from the connection, after a Read\n" +
			"// by the same goroutine.\n" +
			"func (c *Conn) AmpDrained() bool {\n" +
			"\tif c.rawInput.Len() != 0 || c.input.Len() != 0 || c.hand.Len() != 0 {\n\t\treturn false\n\t}\n" +
			"\tc.ampRelease()\n\treturn true\n}\n\n" +
			"func (c *Conn) ampRelease() {\n" +
			"\tif c.rawInput.Len() == 0 {\n\t\tc.rawInput = bytes.Buffer{}\n" +
			"\t\tif c.hand.Len() == 0 {\n\t\t\tc.hand = bytes.Buffer{}\n\t\t}\n\t}\n}\n\n" +
			"// Read reads data from the connection.\n"},

	// Who renegotiates is a client, and has the client's handshake for its own: called by
	// name it would be in images that only serve.
	{File: "crypto/tls/conn.go", Count: 1,
		Old: "if c.handshakeErr = c.clientHandshake(context.Background()); c.handshakeErr == nil {",
		New: "if c.handshakeErr = c.handshakeFn(context.Background()); c.handshakeErr == nil {"},

	// X25519 in half the instructions, where the CPU has MULX: _ecdh.
	{File: "crypto/ecdh/x25519.go", Count: 1,
		Old: "\tx25519Basepoint := [32]byte{9}\n\tx25519ScalarMult(publicKey, key, x25519Basepoint[:])\n",
		New: "\tampX25519Public(publicKey, key)\n"},
	{File: "crypto/ecdh/x25519.go", Count: 1,
		Old: "func x25519ScalarMult(dst, scalar, point []byte) {\n",
		New: "func x25519ScalarMult(dst, scalar, point []byte) {\n\tif ampFast() {\n\t\tampX25519(dst, scalar, point)\n\t\treturn\n\t}\n"},

	// Of some 25 HMACs in a handshake each makes its pads, byte by byte: _hmac.
	{File: "crypto/internal/fips140/hmac/hmac.go", Count: 1,
		Old: "\thm.ipad = make([]byte, blocksize)\n\thm.opad = make([]byte, blocksize)\n",
		New: "\tpads := make([]byte, 2*blocksize)\n\thm.ipad, hm.opad = pads[:blocksize:blocksize], pads[blocksize:]\n"},
	{File: "crypto/internal/fips140/hmac/hmac.go", Count: 1,
		Old: "\tcopy(hm.ipad, key)\n\tcopy(hm.opad, key)\n\tfor i := range hm.ipad {\n\t\thm.ipad[i] ^= 0x36\n\t}\n\tfor i := range hm.opad {\n\t\thm.opad[i] ^= 0x5c\n\t}\n",
		New: "\tampPads(hm.ipad, hm.opad, key)\n"},
}

// Folders maps folders of Files to the package of GOROOT that they are added to.
var Folders = map[string]string{
	"_runtime": "runtime",
	"_ecdh":    "crypto/ecdh",
	"_hmac":    "crypto/internal/fips140/hmac",
}

// Replacements maps files of GOROOT/src to the overlay file that takes their
// place.
var Replacements = map[string]string{
	"runtime/netpoll_epoll.go": "amp_poll.go",
}

// Copies maps files of GOROOT/src to another file there that takes their
// place, less the build constraint given. FIPS mode's 32 MiB entropy buffer
// would otherwise be in the BSS of every image that hashes.
var Copies = []Copy{
	{
		File: "crypto/internal/fips140/drbg/entropy_fips140.go",
		From: "crypto/internal/fips140/drbg/entropy_wasm.go",
		Drop: "//go:build wasm\n",
	},
}

// Copy is an entry of Copies.
type Copy struct{ File, From, Drop string }
