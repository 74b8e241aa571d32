// Package layout draws the memory map of an appliance. There is one map, fixed
// when ring 3 starts and never changed afterwards.
//
//	virtual address           what                            ring 3   ring 0
//	0                         nothing: nil dereferences       -        -
//	Image                     the ELF image: text             R X      R
//	                            rodata, function tables       R        R
//	                            data, bss                     R W      R W
//	Gate                      gate code                       -        R X
//	  + GateData              gate data                       -        R W
//	  + GateTables            GDT and TSS, IDT                -        R
//	  + GateStack...          its stacks, each over a guard   -        R W
//	Registers                 LAPIC, IOAPIC, device registers -        R W uncached
//	Descriptors               virtqueue descriptor tables     -        R W
//	Shared                    virtqueue rings                 R W      R W
//	Stacks                    ring 3's fixed stacks, each
//	                            over a guard                  R W      R W
//	IO                        I/O pages: all that a device
//	                            may touch beside its rings    R W      R W
//	Window                    RAM: heap up, runtime
//	                            metadata down                 R W      R W
//
// Everything but Image's text and the gate's code is NX. No physical page is
// mapped twice. The page tables themselves, and the low memory that held the
// boot code's, are not mapped at all.
package layout

const (
	Page  = 4096
	Large = 2 << 20

	// Low is the physical memory that boot builds its structures in; the
	// image is linked right behind it.
	Low    = 0x100000
	LowEnd = Image
	Image  = 0x200000

	Gate         = 0x40000000
	GateCode     = Gate
	GateCodeSize = 2 * Page
	GateData     = Gate + 0x2000
	GateGDT      = Gate + 0x4000
	GateIDT      = Gate + 0x5000
	GateStack    = Gate + 0x7000 // guard at 0x7000, stack at 0x8000
	GateStackTop = Gate + 0x9000
	FaultStack   = Gate + 0xa000 // guard at 0xa000: double fault, NMI, machine check
	FaultTop     = Gate + 0xc000
	Registers    = 0x48000000
	Descriptors  = 0x50000000
	Shared       = 0x58000000
	Stacks       = 0x60000000

	IO     = 0x400000000
	Window = 0x800000000
	Limit  = 0x1000000000 // the runtime uses 36-bit addresses
)

// Fixed stacks of ring 3, in bytes.
const (
	MainStack   = 80 << 10 // g0: the scheduler and the collector; rt0_go takes 64 KiB for granted
	SignalStack = 32 << 10
	SystemStack = 16 << 10
)

// Selectors of the descriptor table.
const (
	KernelCode = 0x08
	KernelData = 0x10
	UserBase   = 0x18 // SYSRET derives UserData and UserCode from it
	UserData   = 0x20 | 3
	UserCode   = 0x28 | 3
	TSS        = 0x30
)

// Interrupt vectors.
const (
	VectorTick     = 0x20
	VectorDevice   = 0x30 // + device number
	VectorSpurious = 0x3f
	Vectors        = 0x40
)

// TickHz is the rate of preemption ticks while Go code runs.
const TickHz = 100
