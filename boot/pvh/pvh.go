// Package pvh is the start of an appliance: from the PVH entry point in ring 0
// to the Go runtime in ring 3 of a sealed address space.
//
// Everything here runs once, before the Go runtime is initialised: on a boot
// stack, in ring 0, with all memory mapped at layout.Direct. So nothing may
// allocate, spawn, panic or touch a map; state is in one static structure.
// What the machine lacks ends the VM with one line on the console.
//
// Specifications: Xen's PVH boot ABI (public/arch-x86/hvm/start_info.h), Intel
// SDM volume 3, AMD APM volume 2.
package pvh

import (
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// Start info (start_info.h), version 1.
const (
	startMagic   = 0x336ec578
	infoVersion  = 4
	infoCommand  = 24
	infoRSDP     = 32
	infoMap      = 40
	infoMapCount = 48
	mapEntrySize = 24
	mapRAM       = 1
	infoSize     = 56
	maxEntries   = 1024
)

// span is a range of physical addresses.
type span struct{ start, end uint64 }

const maxSpans = 64

// Errors of the boot, each with its line for the console.
type failure uint8

const (
	failNone failure = iota
	failStartInfo
	failNoMap
	failLowMemory
	failSmall
	failCPU
	failEntropy
	failClock
	failTimer
	failGate
	failTables
	failPlace
	failRuntime
	failXen
	failNotXen
	failOtherXen
	failDevice
	failures
)

// String is the console's line. It does not allocate.
func (f failure) String() string {
	switch f {
	case failStartInfo:
		return "not started by the PVH boot protocol"
	case failNoMap:
		return "the boot protocol gave no memory map"
	case failLowMemory:
		return "the image does not lie in RAM"
	case failSmall:
		return "too little memory: give the VM more RAM"
	case failCPU:
		return "the CPU lacks NX, SYSCALL or a local APIC"
	case failEntropy:
		return "no source of randomness: the VM needs RDRAND, RDSEED or a virtio-rng device"
	case failClock:
		return "no clock to calibrate the TSC by: neither a paravirtual clock nor a PIT"
	case failTimer:
		return "the local APIC timer does not run"
	case failGate:
		return "the gate's code is damaged"
	case failTables:
		return "too much memory or too many devices for the boot page tables"
	case failPlace:
		return "the memory map has no place for so much memory"
	case failRuntime:
		return "image and runtime overlay do not belong together"
	case failXen:
		return "Xen refused a hypercall of the set-up"
	case failNotXen:
		return "this image is for Xen: build the virtio target for other hypervisors"
	case failDevice:
		return "a device claims an address where RAM is"
	case failOtherXen:
		return "this image is for virtio: build the xen target for Xen"
	}
	return "unknown failure"
}

// machine is all that boot learns and builds.
type machine struct {
	info                          *rtabi.BootInfo
	start                         uint64 // start info
	rsdp                          uint64
	ram                           [maxSpans]span
	nram                          int
	imageEnd                      uint64
	pages                         pageAlloc
	tables                        mapper
	at                            layout.Drawn // where all is that boot places
	window                        uint64       // bytes mapped at at.Window
	ioPhys                        uint64
	ioSize                        uint64
	constVA, constPhys, constSize uint64 // the image's read-only data
	tscKHz                        uint64 // what a hypervisor says, or calibrated
	apicKHz                       uint64
	smap                          bool
	cr4                           uint64

	dataPhys, gdtPhys, idtPhys uint64  // the gate's pages
	mainTop, mainPhys          uintptr // top of the g0 stack: for ring 3, physical
	tickCount                  uint64
	gdtBoot                    [16]byte
	descPhys, ringPhys         uint64 // descriptor tables, ring pages
	descSize, sharedSize       uint64 // bytes of the regions Descriptors and Shared
	clockPhys                  uint64 // the clock page
	powerReg                   uint64 // ring 0's address of the power-off register
	codePhys                   uint64 // the gate's code

	// On Xen.
	intel                              bool   // hypercalls by VMCALL
	argPhys                            uint64 // page for their arguments
	sharedPhys, consolePhys, grantPhys uint64
	storePhys, grantPages              uint64
}
