// Package probe finds, negotiates and starts the virtio devices of a machine
// and reads from ACPI what the gate needs: interrupt controllers, power off and
// reset.
//
// Specifications: Virtual I/O Device (VIRTIO) 1.2; PCI Local Bus 3.0; ACPI 6.4.
//
// It runs once, in ring 0, before the Go runtime is up: on a small boot stack,
// without heap, scheduler or write barriers. So nothing here allocates, makes a
// closure, converts to an interface, defers or panics, no pointer is ever
// stored outside a stack frame, and TestNothingEscapes and
// TestNoRuntimeSupport hold it to that. The caller must have made SSE usable
// (with GOAMD64=v3 AVX too) and provide what compiled Go code relies on: R14
// and the TLS slot at FS base - 8 both holding a g whose stack guard lies below
// the boot stack, and X15 zero. The TLS slot counts because the compiler loads
// R14 from it after each call of an assembly function.
//
// All that a device, the firmware or the command line says is hostile: each
// loop has a bound, each offset is checked against what holds it, and a device
// that breaks the rules is reset, reported as a Fault and left out; the others
// start all the same.
//
// The low 4 GiB must be mapped at Bus.Base when the package runs, the MMIO hole
// uncached (or left to the MTRRs). PCI devices may lie above; see Scan.
package probe
