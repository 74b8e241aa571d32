// Package cpu gives the boot code the instructions that Go has no words for.
//
// All of it is privileged or nearly so: it works in ring 0 before sealing and
// faults anywhere else. Nothing here allocates or needs the Go runtime.
package cpu

// In8 reads an I/O port.
func In8(port uint16) uint8

// Out8 writes an I/O port.
func Out8(port uint16, v uint8)

// TSC reads the time stamp counter.
func TSC() uint64

// ID executes CPUID.
func ID(leaf, sub uint32) (a, b, c, d uint32)

// ReadMSR reads a model-specific register.
func ReadMSR(reg uint32) uint64

// WriteMSR writes a model-specific register.
func WriteMSR(reg uint32, v uint64)

// RDRAND returns 64 random bits; ok is the carry flag after at most ten tries.
func RDRAND() (v uint64, ok bool)

// RDSEED returns 64 random bits; ok is the carry flag after at most a hundred
// tries.
func RDSEED() (v uint64, ok bool)

// Pause tells the CPU, and the hypervisor, that this is a waiting loop.
func Pause()

// Halt stops until an interrupt, for ever when they are off.
func Halt()

// Hypercall makes one to Xen: number nr, arguments a, b and c. intel chooses
// VMCALL instead of VMMCALL.
func Hypercall(nr, a, b, c uintptr, intel bool) int64

// Call calls code at an address, with no arguments, and returns its AX.
func Call(addr uintptr) int64

// Flush forgets cached translations.
func Flush()

// Seal goes over to the final address space and does not return. It loads the
// task register by way of the descriptor table at gdtBoot (LTR writes to the
// table, which is read-only afterwards), then the page tables cr3, the
// descriptor tables at gdtr and idtr, which only those map, and jumps to entry
// with arguments a and b. gdtBoot, gdtr and idtr are addresses of
// pseudo-descriptors.
func Seal(gdtBoot, tss, cr3, gdtr, idtr, entry, a, b uintptr)
