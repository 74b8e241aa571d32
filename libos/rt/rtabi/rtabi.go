// Package rtabi is the contract between the boot code, the runtime overlay and
// the gate: layouts and constants only, no code that runs.
//
// tools/mkoverlay copies this file into package runtime (each identifier gets
// the prefix "amp"), so both sides are compiled from the same text and cannot
// drift apart. It must therefore import nothing but unsafe.
package rtabi

import "unsafe"

// Magic is the first word of BootInfo; its low byte is the version of the
// layout.
const Magic = 0x656c756f706d4107

// Operations of the gate (register AX of the SYSCALL instruction). The gate
// answers in AX; an argument outside its bounds is a violation and ends the VM
// with ExitViolation.
const (
	GateConsole = 0  // DI: up to 8 bytes, SI: how many; answers how many were taken
	GateSleep   = 1  // DI: TSC (on Xen: system time in ns) at which to end at the latest, 0 for no limit; returns at the next event
	GateExit    = 2  // DI: exit code, SI: 1 to restart the VM instead of powering off
	GatePost    = 3  // DI: queue, SI: number of Descs in the queue's Submit area
	GateNotify  = 4  // DI: queue; on Xen a port of this VM: the store's, the console's or one from GateAlloc
	GateGive    = 11 // DI: queue, SI: see GiveIndex; answers 1 if the device was notified
	GateResume  = 9  // ends an upcall: goes on as the runtime's ucontext says

	// On Xen only.
	GateAlloc   = 5  // answers a new event channel that the backend may bind, or a negated error
	GateClose   = 6  // DI: port from GateAlloc
	GateSuspend = 7  // gives the VM up for a save; answers 0 in the restored VM, 1 if cancelled
	GatePort    = 8  // DI: 0 for the store's, 1 for the console's port
	GateInUse   = 10 // DI: a grant reference that boot has made; answers 0, or not 0 while the backend reads, writes or maps its page
)

// SI of GateGive, which is GatePost, the store of an available index, and GateNotify in
// one, for a queue with event index: the number of Descs, and from these bits on the
// index to store, and that from which on the device has not been asked whether it wants
// to be notified. Higher bits are 0.
const (
	GiveIndex = 16
	GiveFrom  = 32
)

// Exit codes of a VM. Codes below ExitBoot that are not named here are the
// program's own, from os.Exit.
const (
	ExitOK        = 0
	ExitPanic     = 2  // a Go panic that nothing recovered (Go's own convention)
	ExitFatal     = 40 // the runtime's fatal error: throw, concurrent map writes
	ExitMemory    = 41 // out of memory
	ExitStack     = 42 // a goroutine's stack outgrew its limit
	ExitDeadlock  = 43 // every goroutine is blocked and nothing can wake one
	ExitFault     = 44 // a fault where no handler can run: ring 0, nested, double fault
	ExitViolation = 45 // ring 3 called the gate with an argument it refuses
	ExitBoot      = 46 // the machine lacks what an image needs; the console says what
	ExitEntropy   = 47 // no trustworthy source of randomness
	ExitOSFault   = 48 // a fault or an impossible request inside the library OS

	ExitMax = 127 // the largest there is; a program's own above it becomes it
)

// PageSize is the granule of the I/O region and of protection.
const PageSize = 4096

// Limits of the boot contract.
const (
	MaxDevices    = 8
	MaxQueues     = 4 // per device
	MaxQueueSize  = 256
	MaxSubmit     = 40 // descriptors per GatePost
	MaxConfig     = 64 // bytes of a device's configuration space that are kept
	MaxCommand    = 1024
	MaxExtents    = 8
	MaxSources    = 32 // event sources known to the poller
	QueueAvailOff = 0
	QueueUsedOff  = 1024
	QueueSubOff   = 3328 // after the used ring: 1024 + 6 + 8*256 rounded up
)

// Kinds of Device.Transport.
const (
	TransportMMIO = 1
	TransportPCI  = 2
)

// Desc asks the gate for one virtqueue descriptor. The gate reads each field
// once, and refuses an ID or Next outside the queue, a Flags bit other than
// DescNext and DescWrite, a range outside the I/O region, and a Len above
// PageSize. In a queue that a device only reads (a network card's second) it refuses
// DescWrite too, and takes ranges within the constants of BootInfo.
type Desc struct {
	ID     uint16 // index in the descriptor table
	Next   uint16 // next descriptor of the chain, when Flags has DescNext
	Flags  uint16
	_      uint16
	Offset uint32 // of the first byte, from the start of the I/O region; or ConstOffset more than from that of the constants
	Len    uint32 // bytes
}

// Flags of a Desc; the values are virtio's (virtio 1.2, section 2.7.5).
const (
	DescNext  = 1
	DescWrite = 2
)

// ConstOffset is the bit of a Desc's Offset that says that it counts from the start of
// the image's constants.
const ConstOffset = 1 << 31

// Queue is one virtqueue as ring 3 sees it. Ring is one page that both ring 3
// and the device may touch: the available ring (driver area) at QueueAvailOff,
// the used ring (device area) at QueueUsedOff, and the Descs for the gate at
// QueueSubOff. The descriptor table is out of ring 3's reach.
type Queue struct {
	ID   uint32 // what GatePost and GateNotify take
	Size uint32 // entries, a power of two; 0: this queue does not exist
	Ring uintptr
}

// Device is one device that boot found, negotiated and started.
type Device struct {
	Kind      uint32 // virtio device ID: 1 net, 4 rng, ...
	Transport uint32
	Features  uint64 // negotiated
	Bus       uint64 // MMIO base address, or PCI bus/device/function
	ConfigLen uint32
	NQueues   uint32
	Queues    [MaxQueues]Queue
	Config    [MaxConfig]byte // device-specific configuration as read at boot
}

// Clock is the layout that KVM and Xen both use for a guest's clock
// (pvclock_vcpu_time_info). Where neither offers one, boot fills one in from a
// calibrated TSC, so that there is a single way to tell the time.
type Clock struct {
	Version uint32 // odd while the hypervisor writes
	_       uint32
	TSC     uint64 // counter value at which System was true
	System  uint64 // ns
	Mul     uint32 // ns = ((tsc << Shift) * Mul) >> 32
	Shift   int8
	Flags   uint8
	_       [2]uint8
}

// Xen is what boot found on Xen. Ring pages and I/O pages are granted to the
// backend domain with neighbouring references.
type Xen struct {
	Store   uintptr // the store's ring page
	Console uintptr // the console's
	Rings   uintptr // NRings pages for the drivers' rings
	NRings  uint32
	RingRef uint32  // grant reference of the first ring page
	IORef   uint32  // of the first I/O page
	Shared  uintptr // the shared info page
}

// Places are the regions of the memory map (boot/layout) that have no entry of
// their own in BootInfo. Ring 3 cannot touch the first three; knowing where they
// are gains nothing, and tests attack them.
type Places struct {
	Gate        uintptr
	Registers   uintptr
	Descriptors uintptr
	Shared      uintptr
	Stacks      uintptr
}

// BootInfo is filled by the boot code before the first instruction of the Go
// runtime runs and never changed by it afterwards.
type BootInfo struct {
	Magic      uint64
	Window     uintptr // start of the RAM window: heap up from here
	WindowEnd  uintptr // end of it: runtime metadata down from here
	IO         uintptr // start of the I/O region
	IOSize     uintptr // bytes that may be named to a device
	Const      uintptr // start of the image's read-only data
	ConstSize  uintptr // bytes of it that may be named to a device that only reads; 0 on Xen
	Signal     uintptr // top of the guarded signal stack
	SignalSize uintptr
	System     uintptr // top of the guarded stack on which "system calls" run
	Clock      *Clock
	Epoch      int64  // clock reading at monotonic time 0, ns
	Wall       int64  // ns since 1970 at monotonic time 0
	RAM        uint64 // bytes of RAM that the machine has
	BootTSC    uint64 // TSC at entry
	TSCPerNS   uint64 // TSC ticks per ns, 32.32 fixed point; not on Xen
	Features   uint64 // Feature* bits
	Random     [64]byte
	Xen        Xen
	Places     Places
	NDevices   uint64
	Devices    [MaxDevices]Device
	CommandLen uint64
	Command    [MaxCommand]byte
}

// Bits of BootInfo.Features.
const (
	FeatureXSave    = 1 << 0
	FeatureRDRAND   = 1 << 1
	FeatureRDSEED   = 1 << 2
	FeatureKVMClock = 1 << 3
	FeatureXen      = 1 << 4
	FeatureSMEP     = 1 << 5
	FeatureSMAP     = 1 << 6
	FeatureUMIP     = 1 << 7
)

// Source is the poller's view of one place where work is announced: a
// free-running 16-bit counter that a device advances. The source is ready when
// *Counter differs from Seen, or when Woken is set. Before the VM sleeps the
// poller stores Seen to *Arm, which asks a virtio device with event index for
// an interrupt at the next entry (virtio 1.2, section 2.7.10). Xen's rings have
// 32-bit indexes: there Counter points to the low half of the producer's, and
// the poller stores Event to *Arm32 (req_event or rsp_event of
// public/io/ring.h).
type Source struct {
	Counter *uint16 // may be nil: ready only through Woken
	Arm     *uint16 // may be nil
	Arm32   *uint32 // may be nil
	Event   uint32
	Seen    uint16
	_       uint16
	Woken   uint32
	_       uint32
	Waiter  uintptr // the parked goroutine; the runtime's
}

var (
	_ [16]byte = [unsafe.Sizeof(Desc{})]byte{}
	_ [32]byte = [unsafe.Sizeof(Clock{})]byte{}
	_ [48]byte = [unsafe.Sizeof(Source{})]byte{}
)
