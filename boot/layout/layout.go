// Package layout draws the memory map of an appliance. There is one map, fixed
// when ring 3 starts and never changed afterwards.
//
//	place       what                            ring 3   ring 0   drawn
//	0           nothing: nil dereferences       -        -        never
//	image       the ELF image: text             R X      R        by the seed, at
//	              rodata, function tables       R        R          build time
//	              data, bss                     R W      R W
//	Gate        gate code                       -        R X      at boot
//	  + GateData    gate data                   -        R W
//	  + GateGDT...  GDT and TSS, IDT            -        R
//	  + GateStack.. its stacks, each over a guard -      R W
//	Registers   LAPIC, IOAPIC, device registers -        R W      at boot; uncached
//	Descriptors virtqueue descriptor tables     -        R W      at boot
//	Shared      virtqueue rings                 R W      R W      at boot
//	Stacks      ring 3's fixed stacks, each
//	              over a guard                  R W      R W      at boot
//	IO          I/O pages: all that a device
//	              may touch beside its rings    R W      R W      at boot
//	Window      RAM: heap up, runtime
//	              metadata down                 R W      R W      at boot
//
// Draw says where the regions are that boot places. Ring 0's lie in the topmost
// 2 GiB, which the gate's code reaches with 32-bit addresses; ring 3's anywhere
// in the lower half.
//
// Everything but Image's text and the gate's code is NX. No physical page is
// mapped twice. The page tables themselves, and the low memory that held the
// boot code's, are not mapped at all.
package layout

const (
	Page  = 4096
	Large = 2 << 20

	// Low is the physical memory that boot builds its structures in; the
	// image is loaded right behind it, at Image.
	Low    = 0x100000
	LowEnd = Image
	Image  = 0x200000

	// An image is linked for a page in [ImageLow, ImageHigh), and all of it for
	// addresses below ImageEnd: the linker knows 31 bits only. Boot's own page
	// tables have memory below ImageLow one to one.
	ImageLow  = 0x08000000
	ImageHigh = 0x78000000
	ImageEnd  = 0x80000000

	// Direct is where boot's own page tables have all physical memory: in the
	// upper half, out of the way of all that is drawn.
	Direct = 0xffff800000000000

	// Offsets in the gate's region.
	GateCode     = 0
	GateCodeSize = 2 * Page
	GateData     = 0x2000
	GateGDT      = 0x4000
	GateIDT      = 0x5000
	GateStack    = 0x7000 // guard at 0x7000, stack at 0x8000
	GateStackTop = 0x9000
	FaultStack   = 0xa000 // guard at 0xa000: double fault, NMI, machine check
	FaultTop     = 0xc000
	GateSize     = 0xd000

	// GateLink is the place that the gate's code is assembled for; its copy is
	// moved to where boot puts it.
	GateLink = 0xffffffffa5a50000

	// MaxWindow bounds the RAM that an appliance uses.
	MaxWindow = 32 << 30
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
