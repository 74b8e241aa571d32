// Package gate is the only code that runs in ring 0 once the appliance is
// sealed: interrupt and exception entry, and the operations of rtabi.Gate*.
// There is one for machines with virtio devices and one for guests of Xen.
//
// It is one block of position-independent assembly (blob in gate_amd64.s, xenBlob
// in xen_amd64.s) that boot copies to supervisor pages; the copy in the image's
// text is readable in ring 3, but the instructions fault there. It trusts nothing
// that ring 3 can write: not registers, not the submission areas, each of whose
// words it reads once. It holds no instruction that could make a page executable, write a
// page table, or reach memory that a caller names. A refused argument is a
// violation and ends the VM: correct code never makes one.
package gate

import (
	"unsafe"

	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// MaxQueues is the number of virtqueues that the gate serves.
const MaxQueues = rtabi.MaxDevices * rtabi.MaxQueues

// Numbers that the assembly needs (go_asm.h gives it the constants of this
// package only).
const (
	dataAddr   = layout.GateLink + layout.GateData - 1<<64 // signed, as the assembler wants them
	stackTop   = layout.GateLink + layout.GateStackTop - 1<<64
	maxSubmit  = rtabi.MaxSubmit
	opConsole  = rtabi.GateConsole
	opSleep    = rtabi.GateSleep
	opExit     = rtabi.GateExit
	opPost     = rtabi.GatePost
	opNotify   = rtabi.GateNotify
	opGive     = rtabi.GateGive
	opAlloc    = rtabi.GateAlloc
	opClose    = rtabi.GateClose
	opSuspend  = rtabi.GateSuspend
	opPort     = rtabi.GatePort
	opInUse    = rtabi.GateInUse
	opResume   = rtabi.GateResume
	vecTick    = layout.VectorTick
	vecDevice  = layout.VectorDevice
	vecEnd     = layout.VectorDevice + rtabi.MaxDevices
	exitFault  = rtabi.ExitFault
	exitViol   = rtabi.ExitViolation
	exitOS     = rtabi.ExitOSFault
	selUserSS  = layout.UserData
	selUserCS  = layout.UserCode
	flagsUser  = 0x240cd5 // CF PF AF ZF SF DF OF AC ID (Intel SDM volume 1, section 3.4.3)
	descWrite  = rtabi.DescWrite
	constBit   = 31                  // of rtabi.ConstOffset
	entryOff   = layout.Vectors * 16 // SYSCALL target within the blob
	enterOff   = entryOff + 16       // way to ring 3
	setupOff   = enterOff + 16       // on Xen: set-up of event channels and grants
	maxLen     = layout.Page
	availWord  = rtabi.QueueAvailOff - rtabi.QueueSubOff    // flags and index, from the submission area
	availEvent = rtabi.QueueUsedOff + 4 - rtabi.QueueSubOff // and 8 bytes for each entry
	ackAll     = 3                                          // used buffer, configuration change (virtio 1.2, section 4.2.2)
	uart       = 0x3f8
	debugExit  = 0x501
	maxCount   = 0xffffffff
	lapicEOI   = 0xb0
	lapicCount = 0x380
)

// Queue is what the gate knows of a virtqueue.
type Queue struct {
	Desc        uint64 // descriptor table, ring 0 only
	Submit      uint64 // submission area in the ring page, which ring 3 writes
	Notify      uint64 // notification register
	NotifyValue uint32
	NotifyWidth uint32 // bytes: 2 (PCI) or 4 (MMIO)
	Size        uint32 // entries of the table
	Refused     uint32 // bits of rtabi.Desc.Flags: RefuseFlags or RefuseWrite
	_           [24]byte
}

// Values of Queue.Refused. Where a device may not write, the image's constants may be
// named to it.
const (
	RefuseFlags = 0xffff &^ (rtabi.DescNext | rtabi.DescWrite)
	RefuseWrite = RefuseFlags | rtabi.DescWrite
)

// Data is the gate's state, one supervisor page. Boot fills it before sealing.
type Data struct {
	Pending    uint64 // a device interrupt came since the last sleep
	Expiry     uint64 // TSC at which the timer fires; 0: not armed
	UserSP     uint64
	Tick       uint64 // TSC ticks between preemption ticks
	TickCount  uint64 // the same in timer counts
	CountScale uint64 // timer counts per TSC tick, 32.32 fixed point
	LAPIC      uint64
	Context    uint64 // the runtime's ucontext
	InSignal   uint64 // address of its flag
	InOS       uint64 // address of its depth counter
	Upcall     uint64 // entry for faults and ticks
	IOPhys     uint64 // physical address of the I/O region
	IOSize     uint64 // bytes of it that may be named: not the last page
	ConstPhys  uint64 // physical address of the image's read-only data
	ConstSize  uint64 // as IOSize
	NQueues    uint64
	CR4        uint64 // protection bits to turn on
	PowerPort  uint64 // I/O port that powers off, 16 bits wide; 0: none
	PowerValue uint64
	PowerReg   uint64 // register that powers off, 8 bits wide; 0: none
	PowerByte  uint64
	GDTR       [16]byte // operands of LGDT and LIDT
	IDTR       [16]byte
	Xen        Xen
	FaultText  [40]byte
	OSText     [40]byte
	ViolText   [40]byte
	// Ports are the registers at which virtio-mmio devices take acknowledgements;
	// 0 for MSI-X. All is acknowledged without asking what there is: were
	// something left, the line would stay high and its edge never come again.
	Ports  [rtabi.MaxDevices]uint64
	Queues [MaxQueues]Queue
}

var (
	_ [64]byte = [unsafe.Sizeof(Queue{})]byte{}
	_ [0]byte  = [unsafe.Sizeof(Data{}) / (layout.Page + 1)]byte{} // fits a page
	_ [0]byte  = [rtabi.ConstOffset>>constBit - 1]byte{}
)

// SetText fills the gate's messages.
func (d *Data) SetText() {
	put(&d.FaultText, "ampoule: fault in ring 0 or nested:")
	put(&d.OSText, "ampoule: fault in the library OS:")
	put(&d.ViolText, "ampoule: gate violation, op and args:")
}

func put(to *[40]byte, s string) {
	for i := 0; i < len(s) && i < len(to)-1; i++ {
		to[i] = s[i]
	}
}

// Offsets of entry points within the blob.
const (
	EntryOffset = entryOff
	EnterOffset = enterOff
	SetupOffset = setupOff // on Xen; ends with RET
)
