// Package rt holds the runtime overlay: what turns the stock Go runtime into
// the kernel of an appliance.
//
// Edits lists every change to files of GOROOT, with its reason; Files are the
// files that are added to package runtime, and to some of crypto; rtabi is the contract with the boot
// code and the gate. tools/mkoverlay applies them with `go build -overlay`. No
// fork of the toolchain is involved, and nothing here runs on the host.
//
// Hooks, by file of _runtime:
//
//	amp_amd64.s    entry of former system calls, gate call, upcall, clock
//	amp_os.go      start, exit codes, console for panics
//	amp_mem.go     mmap: the RAM window
//	amp_syscall.go the library OS behind former system calls
//	amp_trap.go    CPU exceptions as signals, the tick
//	amp_poll.go    domainpoll: netpoll, sleeping, waiting for devices
//	amp_rand.go    getrandom
//	amp_func.go    packed function tables
//	amp_last.go    what a panic says, for the crash record
//	amp_xen.go     save and restore on Xen
package rt

import "embed"

// Files is the source text of what is added to packages of GOROOT (Folders), with tests
// that run there.
//
//go:embed all:_runtime all:_ecdh all:_hmac
var Files embed.FS

// ABI is the source text of package rtabi, of which package runtime gets a
// copy with other names.
//
//go:embed rtabi/rtabi.go
var ABI []byte

// Tag is the build tag of everything that is compiled for the appliance.
const Tag = "ampoule"
