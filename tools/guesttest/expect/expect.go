// Package expect says what the guests of the runtime and attack suites
// (boot/guests) must show, whatever machine they run on: tools/guesttest boots
// them in QEMU, tools/xentest on Xen.
package expect

import (
	"strings"

	"ampoule/libos/rt/rtabi"
)

// The programs of the suites.
const (
	Suite  = "ampoule/boot/guests/suite"
	Ending = "ampoule/boot/guests/ending"
	Attack = "ampoule/boot/guests/attack"
)

// Checks is what the runtime suite must have run: a check that is lost on the
// way fails the test too.
func Checks() []string {
	return []string{
		"goroutines", "channels", "select", "mutex", "cond", "once-pool-map", "context", "goexit", "lockosthread", "gomaxprocs",
		"sleep", "timers", "ticker", "timer-stop-reset",
		"gc-2gib", "maps", "finalizer", "cleanup", "big-stack", "many-stacks", "forced-gc", "make-too-large", "room",
		"panics", "panics-in-handlers", "panic-nesting",
		"spinner-ticker", "spinner-gc", "spinner-fair", "vector-integrity", "register-integrity", "stack-floor",
		"wall-clock", "monotonic", "random", "refusals", "signal-notify", "cpu-profile",
	}
}

// End is one way in which a guest can end.
type End struct {
	Name string // on its command line: end=NAME or attack=NAME
	Code int    // exit code
	Want string // a regular expression for a line of the console; "": it is silent
}

// Endings is every way in which a program can end.
func Endings() []End {
	return []End{
		{"return", rtabi.ExitOK, ""},
		{"exit0", 0, ""},
		{"exit7", 7, "^ampoule: exit 7$"},
		{"exit128", rtabi.ExitMax, "^ampoule: exit 128$"},
		{"exit-in-go", 9, "^ampoule: exit 9$"},
		{"spin-exit", 13, "^ampoule: exit 13$"},
		{"panic", rtabi.ExitPanic, "^panic: on purpose$"},
		{"panic-error", rtabi.ExitPanic, "^panic: .*wrapped: inner"},
		{"panic-in-go", rtabi.ExitPanic, "^panic: elsewhere$"},
		{"panic-defer", rtabi.ExitPanic, "panic: second"},
		{"init-panic", rtabi.ExitPanic, "^panic: in init$"},
		{"nil", rtabi.ExitPanic, "nil pointer dereference"},
		{"index", rtabi.ExitPanic, `index out of range \[2\]`},
		{"divide", rtabi.ExitPanic, "integer divide by zero"},
		{"goexit", rtabi.ExitDeadlock, "^fatal error: .*deadlock!$"},
		{"deadlock", rtabi.ExitDeadlock, "^fatal error: all goroutines are asleep - deadlock!$"},
		{"select", rtabi.ExitDeadlock, "^fatal error: all goroutines are asleep - deadlock!$"},
		{"mutexes", rtabi.ExitDeadlock, "^fatal error: all goroutines are asleep - deadlock!$"},
		{"map-write", rtabi.ExitFatal, "^fatal error: concurrent map writes$"},
		{"unlock", rtabi.ExitFatal, "^fatal error: sync: unlock of unlocked mutex$"},
		{"wild", rtabi.ExitFatal, "^unexpected fault address 0xdead000$"},
		{"oom-large", rtabi.ExitMemory, "^fatal error: .*out of memory"},
		{"oom-slices", rtabi.ExitMemory, "^fatal error: .*out of memory"},
		{"oom-small", rtabi.ExitMemory, "^fatal error: .*out of memory"},
		{"oom-stacks", rtabi.ExitMemory, "^fatal error: .*out of memory"},
		{"stack", rtabi.ExitStack, "^fatal error: stack overflow$"},
		{"stack-go", rtabi.ExitStack, "^fatal error: stack overflow$"},
	}
}

// Recovered is what must be among the attacks that end in a fault which Go code
// recovers from; the guest knows many more.
func Recovered() []string {
	return strings.Fields(`
		write-text write-text-own write-text-end write-text-gate-copy write-rodata write-elf-header
		read-null write-null read-null-page-end
		read-gate-code write-gate-code read-gate-data write-gate-data read-gate-gdt write-gate-gdt write-gate-tss
		read-gate-idt write-gate-idt read-gate-stack write-gate-stack read-gate-stack-guard read-fault-stack
		read-fault-stack-guard read-lapic write-lapic write-lapic-eoi write-registers read-descriptors write-descriptors
		write-main-stack-guard write-signal-stack-guard write-system-stack-guard write-behind-io write-behind-window
		scan-low scan-gigabytes
		execute-data execute-bss execute-heap execute-large-heap execute-stack execute-main-stack execute-rodata
		execute-io execute-clock execute-null execute-gate-code execute-gate-entry execute-metadata
		cli sti hlt rdmsr wrmsr read-cr3 write-cr0 write-cr3 write-cr4 in out ins outs iopl-out lgdt lidt ltr lldt lmsw
		swapgs sysret iret far-call far-jump far-return mov-ss int-8 int-14 int-32 int-48 int-64 int-128`)
}

// Final are attacks that end the VM.
func Final() []End {
	return []End{
		{"unrecovered-text-write", rtabi.ExitFatal, `^unexpected fault address 0x[0-9a-f]{7,8}$`}, // where it is linked
		{"execute-gate-copy", rtabi.ExitFatal, `^unexpected fault address 0xffffffffa5a5`},        // layout.GateLink
		{"execute-gate-enter-copy", rtabi.ExitFatal, `^unexpected fault address 0x0$`},
		{"int-3", rtabi.ExitFatal, "^SIGTRAP"},
		{"ud2", rtabi.ExitFatal, "^SIGILL"},
		{"stac", rtabi.ExitFatal, "^SIGILL"},
		{"clac", rtabi.ExitFatal, "^SIGILL"},
		{"vmcall", rtabi.ExitFatal, "^SIGILL"},
		{"monitor", rtabi.ExitFatal, "^SIGILL"},
		{"sysexit", rtabi.ExitFatal, "^SIGILL"},
		{"trap-flag", rtabi.ExitFatal, "^unexpected fault address"},
		{"fault-in-handler", rtabi.ExitFault, FaultText + `0{15}e [0-9a-f]{16} [0-9a-f]{16} 0{13}153 `},
		{"write-bad-pointer", rtabi.ExitOSFault, OSText + `0{15}e [0-9a-f]{16} [0-9a-f]{16} 0{9}dead000 `},
		{"write-gate-pointer", rtabi.ExitOSFault, OSText + `0{15}e [0-9a-f]{16} [0-9a-f]{16} f{8}[0-9a-f]{5}000 `},
		{"random-into-text", rtabi.ExitOSFault, OSText + `0{15}e 0{15}7 `},
	}
}

// What the gate says when it ends the VM, as regular expressions; six words in
// hexadecimal follow: for a fault vector, error code, RIP, CR2, RFLAGS, RSP.
const (
	FaultText = `^ampoule: fault in ring 0 or nested: `
	OSText    = `^ampoule: fault in the library OS: `
	Violation = `^ampoule: gate violation, op and args: `
)
