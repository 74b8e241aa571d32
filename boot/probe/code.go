package probe

// Code says what went wrong; zero is success.
type Code uint8

// What can go wrong. Code.String has the sentence for the console.
const (
	OK Code = iota

	CommandSize
	CommandBase
	CommandIRQ
	CommandTail
	CommandOverlap
	TooManyDevices
	TooManyFaults

	NoDevice
	LegacyMMIO
	LegacyPCI

	CapLoop
	CapRange
	CapMissing
	BARPort
	BARUnassigned
	BARRange
	BridgeRange
	NoMSIX
	NoVector
	VectorRefused

	ResetStuck
	NoVersion1
	FeaturesRefused
	ConfigUnstable
	QueueMissing
	QueueBusy
	QueueRefused
	NotifyRange
	NoPages
	NotLive

	RootPointer
	RootTable
	TableRange
	TableChecksum
	FADTShort
	DSDTSleep
	MADTEntry
	MADTFull

	codes
)

var sentences = [codes]string{
	OK: "ok",

	CommandSize:    "virtio_mmio.device: bad size; the form is <size>[K|M|G]@<base>:<irq>[:<id>], size at least 256",
	CommandBase:    "virtio_mmio.device: bad base address; it must be a multiple of 256 below 4 GiB",
	CommandIRQ:     "virtio_mmio.device: bad interrupt; it must be a number from 0 to 1023",
	CommandTail:    "virtio_mmio.device: unexpected text after the interrupt",
	CommandOverlap: "virtio_mmio.device: overlaps a device named before",
	TooManyDevices: "more devices than an image can use; this one is left out",
	TooManyFaults:  "further faults are not listed",

	NoDevice:   "no virtio-mmio device at this address",
	LegacyMMIO: "legacy virtio-mmio device; version 2 is needed (QEMU: -global virtio-mmio.force-legacy=false)",
	LegacyPCI:  "legacy virtio device without virtio 1.x capabilities (QEMU: disable-modern=off)",

	CapLoop:       "the list of PCI capabilities has a loop",
	CapRange:      "a PCI capability lies outside the configuration space or is too short",
	CapMissing:    "the virtio common or notification capability is missing",
	BARPort:       "a needed virtio structure lies in an I/O port BAR",
	BARUnassigned: "a needed BAR has no address; the firmware has to assign it",
	BARRange:      "a virtio structure does not fit in its BAR",
	BridgeRange:   "a PCI bridge has impossible bus numbers, or there are too many buses",
	NoMSIX:        "the device has no MSI-X capability",
	NoVector:      "no interrupt vector was given for PCI devices",
	VectorRefused: "the device refuses its MSI-X vector",

	ResetStuck:      "the device does not answer a reset",
	NoVersion1:      "the device does not offer VIRTIO_F_VERSION_1",
	FeaturesRefused: "the device refuses the features; it may insist on an IOMMU (iommu_platform)",
	ConfigUnstable:  "the device's configuration never stops changing",
	QueueMissing:    "the device lacks a queue that its kind must have",
	QueueBusy:       "a queue is enabled after a reset",
	QueueRefused:    "the device does not enable a queue",
	NotifyRange:     "a queue's notification address lies outside its structure",
	NoPages:         "no page is left for a queue",
	NotLive:         "the device reports failure at the end of its start",

	RootPointer:   "ACPI: the root pointer (RSDP) is damaged",
	RootTable:     "ACPI: the root table (RSDT, XSDT) is damaged or too long",
	TableRange:    "ACPI: a table has an impossible address or length",
	TableChecksum: "ACPI: a table has a bad checksum",
	FADTShort:     "ACPI: the FADT is too short or describes unusable registers",
	DSDTSleep:     "ACPI: no usable \\_S5_ package; power off is not available",
	MADTEntry:     "ACPI: the MADT has a malformed entry",
	MADTFull:      "ACPI: the MADT lists more interrupt controllers or overrides than fit",
}

// String gives one line for the console, without a full stop.
func (c Code) String() string {
	if c >= codes {
		return "unknown fault"
	}
	return sentences[c]
}

// Place says what Fault.At is.
type Place uint8

// Places of a Fault.
const (
	InMachine Place = iota // At means nothing
	InCommand              // offset in the command line, bytes
	InMMIO                 // base address of a virtio-mmio device
	InPCI                  // bus << 8 | device << 3 | function
	InACPI                 // physical address of a table
)

// Fault is one thing that was wrong, and where.
type Fault struct {
	Code  Code
	Place Place
	At    uint64
}

var places = [...]string{
	InMachine: "machine",
	InCommand: "command line, byte 0x",
	InMMIO:    "virtio-mmio 0x",
	InPCI:     "pci 0x",
	InACPI:    "acpi 0x",
}

// Put writes the fault as one line without line feed, "virtio-mmio 0xd0000000:
// the device does not answer a reset", and gives the number of bytes. 160 bytes
// hold every line; a line that does not fit is cut.
func (f *Fault) Put(dst []byte) int {
	n := 0
	if int(f.Place) < len(places) {
		n = put(dst, n, places[f.Place])
	}
	if f.Place != InMachine {
		n = putHex(dst, n, f.At)
	}
	n = put(dst, n, ": ")
	return put(dst, n, f.Code.String())
}

func put(dst []byte, n int, s string) int {
	for i := 0; i < len(s) && uint(n) < uint(len(dst)); i++ {
		dst[n] = s[i]
		n++
	}
	return n
}

func putHex(dst []byte, n int, v uint64) int {
	shift := 60
	for shift > 0 && v>>shift == 0 {
		shift -= 4
	}
	for ; shift >= 0; shift -= 4 {
		if uint(n) >= uint(len(dst)) {
			return n
		}
		dst[n] = "0123456789abcdef"[v>>shift&15]
		n++
	}
	return n
}
