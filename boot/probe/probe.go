package probe

import "ampoule/libos/rt/rtabi"

// Limits of a probe.
const (
	MaxWanted   = 8
	MaxFaults   = 16
	MaxIOAPIC   = 4
	MaxOverride = 16
	MaxPages    = rtabi.MaxDevices * rtabi.MaxQueues
)

// Wanted asks for every device of one kind. The kinds known here are net,
// block, console and entropy; others are never started.
type Wanted struct {
	ID       uint32 // virtio device ID (virtio 1.2, section 5); 0 ends the list
	Features uint64 // taken where offered; transport features are filtered
}

// PageAlloc hands out 4 KiB pages of mapped RAM from Next, which must
// be page aligned, up to End. Both are physical addresses.
type PageAlloc struct {
	Next, End uint64
}

// page takes a page and clears it; false when none is left.
func (a *PageAlloc) page(bus *Bus) (uint64, bool) {
	p := a.Next
	if p%rtabi.PageSize != 0 || p > a.End || a.End-p < rtabi.PageSize {
		return 0, false
	}
	bus.ClearPage(p)
	a.Next = p + rtabi.PageSize
	return p, true
}

// Request is what the caller wants and gives. It holds no pointers, so it may
// be a static variable.
type Request struct {
	Wanted  [MaxWanted]Wanted
	Vector  uint8     // first interrupt vector for MSI-X
	Vectors uint8     // how many there are; the last one is shared when they run out
	Desc    PageAlloc // descriptor tables: ring 3 must not reach these pages
	Ring    PageAlloc // Queue.Ring pages: ring 3 and the device share them
}

// features gives the wanted features of a device kind, false when the kind is
// not wanted.
func (r *Request) features(id uint32) (uint64, bool) {
	for i := range r.Wanted {
		if r.Wanted[i].ID == 0 {
			return 0, false
		}
		if r.Wanted[i].ID == id {
			return r.Wanted[i].Features, queueCount(id) != 0
		}
	}
	return 0, false
}

// Port is what the gate needs of a started device, and ring 3 must not have.
// All addresses are physical.
type Port struct {
	Desc        [rtabi.MaxQueues]uint64 // descriptor table page
	Notify      [rtabi.MaxQueues]uint64 // where to write NotifyValue
	NotifyValue [rtabi.MaxQueues]uint32
	NotifyWidth uint32                 // bytes of that write: 2 (PCI) or 4 (MMIO)
	Vector      [rtabi.MaxQueues]uint8 // MSI-X vector; 0 with MMIO
	GSI         uint32                 // interrupt input of an MMIO device
	ISR         uint64                 // MMIO: 32-bit interrupt status; 0 with MSI-X
	ISRAck      uint64                 // MMIO: write back the bits of ISR; 0 with MSI-X
}

// Kinds of Action.
const (
	ActNone   = 0 // not available
	ActMemory = 1
	ActPort   = 2
)

// Action is one write that makes the machine do something.
type Action struct {
	Space uint8 // ActNone, ActMemory, ActPort
	Width uint8 // bytes: 1, 2 or 4
	Value uint16
	Addr  uint64
}

// IOAPIC is an I/O interrupt controller whose pins are the GSIs from GSI on.
type IOAPIC struct {
	Addr uint64
	GSI  uint32
}

// Override says that ISA interrupt Source arrives at GSI. Flags are those of
// ACPI 6.4, table 5.26: bits 0-1 polarity (3 active low), bits 2-3 trigger
// mode (3 level).
type Override struct {
	GSI    uint32
	Flags  uint16
	Source uint8
}

// Platform is what ACPI says, or what is usual where there is no ACPI.
type Platform struct {
	ACPI      bool // the machine has usable root tables
	LAPIC     uint64
	NIOAPIC   uint32
	NOverride uint32
	IOAPIC    [MaxIOAPIC]IOAPIC
	Override  [MaxOverride]Override
	PowerOff  Action
	Reset     Action
}

// Result is filled by Find. It holds no pointers; it must be zero before.
//
// Devices[i].Queues[q].Ring is the physical address of the ring page and
// Queue.ID is i*rtabi.MaxQueues+q; the caller turns Ring into ring 3's address.
type Result struct {
	NDevices uint32
	NPages   uint32
	NFaults  uint32
	NFound   uint32

	Devices  [rtabi.MaxDevices]rtabi.Device
	Ports    [rtabi.MaxDevices]Port
	Pages    [MaxPages]uint64 // of Ports: ring 0 must map them, uncached; Platform is not in them
	Faults   [MaxFaults]Fault
	Found    [rtabi.MaxDevices]Found
	Platform Platform

	from    [rtabi.MaxDevices]uint32 // index in Found of a started device
	vectors uint32                   // MSI-X vectors in use
	windows [maxWindows]window
	nwindow uint32
}

func (r *Result) fault(c Code, p Place, at uint64) {
	if r.NFaults >= MaxFaults {
		r.Faults[MaxFaults-1] = Fault{Code: TooManyFaults}
		return
	}
	r.Faults[r.NFaults] = Fault{c, p, at}
	r.NFaults++
}

// addPage notes the page of addr for ring 0. There is room for each queue's
// notification page.
func (r *Result) addPage(addr uint64) {
	addr &^= rtabi.PageSize - 1
	for i := range r.Pages {
		if uint32(i) == r.NPages {
			r.Pages[i] = addr
			r.NPages++
			return
		}
		if r.Pages[i] == addr {
			return
		}
	}
}

// find returns a free place for a wanted device, nil when all are in use.
func (r *Result) find(p Place, at uint64) *Found {
	if r.NFound >= rtabi.MaxDevices {
		r.fault(TooManyDevices, p, at)
		return nil
	}
	f := &r.Found[r.NFound]
	r.NFound++
	return f
}

// Find reads ACPI from the root pointer at physical address rsdp (0: there is
// none), looks for devices on the command line, on PCI and where QEMU's microvm
// has them, and starts those that req wants. It answers with the code of the
// first fault in out.Faults, OK when there is none; devices that started are in
// out either way. It is Scan and Start in one.
func Find(bus *Bus, cmdline []byte, rsdp uint64, req *Request, out *Result) Code {
	Scan(bus, cmdline, rsdp, req, out)
	return Start(bus, req, out)
}

// Scan fills out.Platform and out.Found. Of PCI devices it touches only the
// configuration space, so that the caller can map the Regions of out.Found
// that lie above 4 GiB before it calls Start.
//
// Devices that are not wanted are stopped from accessing memory: the firmware
// may have left them running, and nothing of theirs is sealed.
func Scan(bus *Bus, cmdline []byte, rsdp uint64, req *Request, out *Result) Code {
	readACPI(bus, rsdp, out)
	named := scanCommand(bus, cmdline, req, out)
	if havePCI(bus) {
		scanPCI(bus, req, out)
	} else if !named {
		scanSlots(bus, req, out)
	}
	return out.first()
}

// Start starts the devices of out.Found.
func Start(bus *Bus, req *Request, out *Result) Code {
	for i := range out.Found {
		if uint32(i) >= out.NFound {
			break
		}
		f, n := &out.Found[i], out.NDevices
		c := f.start(bus, req, out)
		if c != OK {
			out.drop(bus, f, n, c)
		} else if n < rtabi.MaxDevices {
			out.from[n] = uint32(i)
		}
	}
	return out.first()
}

// drop gives up device n, which is f, because of c.
func (r *Result) drop(bus *Bus, f *Found, n uint32, c Code) {
	f.stop(bus)
	if n < rtabi.MaxDevices {
		r.Devices[n], r.Ports[n] = rtabi.Device{}, Port{}
	}
	p := InMMIO
	if f.pci() {
		p = InPCI
	}
	r.fault(c, p, f.Bus)
}

func (r *Result) first() Code {
	if r.NFaults == 0 {
		return OK
	}
	return r.Faults[0].Code
}
