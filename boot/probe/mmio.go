package probe

import "ampoule/libos/rt/rtabi"

// Registers of a virtio-mmio device, version 2 (virtio 1.2, section 4.2.2). All
// are 32 bits wide.
const (
	mmioMagic             = 0x000
	mmioVersion           = 0x004
	mmioDeviceID          = 0x008
	mmioDeviceFeatures    = 0x010
	mmioDeviceFeaturesSel = 0x014
	mmioDriverFeatures    = 0x020
	mmioDriverFeaturesSel = 0x024
	mmioQueueSel          = 0x030
	mmioQueueSizeMax      = 0x034
	mmioQueueSize         = 0x038
	mmioQueueReady        = 0x044
	mmioQueueNotify       = 0x050
	mmioInterruptStatus   = 0x060
	mmioInterruptACK      = 0x064
	mmioStatus            = 0x070
	mmioQueueDesc         = 0x080
	mmioQueueDriver       = 0x090
	mmioQueueDevice       = 0x0a0
	mmioGeneration        = 0x0fc
	mmioConfig            = 0x100
)

const (
	magicValue  = 0x74726976 // "virt"
	mmioModern  = 2
	mmioLegacy  = 1
	noVirtioDev = 0
)

// QEMU's microvm has its virtio-mmio slots at fixed places. It names them on
// the command line only without ACPI and with auto-kernel-cmdline on (the
// default); with ACPI they are in the DSDT. The interrupts depend on the
// machine's set-up: 5-12 without ACPI, 16-23 with ACPI and a single IOAPIC,
// 24-47 with the second IOAPIC, which is the default (QEMU 5.2 and later,
// microvm_devices_init).
const (
	slotBase    = 0xfeb00000
	slotStride  = 512
	slotsFew    = 8
	slotsMany   = 24
	slotGSI     = 5
	slotGSIACPI = 16
	slotGSIMany = 24
)

// scanSlots looks at the fixed slots of QEMU's microvm.
func scanSlots(bus *Bus, req *Request, out *Result) {
	n, gsi := uint32(slotsFew), uint32(slotGSI)
	if out.Platform.ACPI {
		gsi = slotGSIACPI
		for i := range out.Platform.IOAPIC {
			if uint32(i) < out.Platform.NIOAPIC && out.Platform.IOAPIC[i].GSI == slotGSIMany {
				n, gsi = slotsMany, slotGSIMany
			}
		}
	}
	for i := uint32(0); i < n; i++ {
		w := window{slotBase + uint64(i)*slotStride, slotStride, gsi + i}
		scanMMIO(bus, w, req, out, true)
	}
}

// scanMMIO looks at one place where a virtio-mmio device is, or, when guess is
// set, may be.
func scanMMIO(bus *Bus, w window, req *Request, out *Result, guess bool) {
	if bus.Read32(w.base+mmioMagic) != magicValue {
		if !guess {
			out.fault(NoDevice, InMMIO, w.base)
		}
		return
	}
	version := bus.Read32(w.base + mmioVersion)
	id := bus.Read32(w.base + mmioDeviceID)
	if id == noVirtioDev { // an empty slot (section 4.2.3.1.1)
		return
	}
	if version != mmioModern && version != mmioLegacy {
		out.fault(NoDevice, InMMIO, w.base)
		return
	}
	if _, ok := req.features(id); !ok {
		bus.Write32(w.base+mmioStatus, 0)
		return
	}
	if version == mmioLegacy {
		bus.Write32(w.base+mmioStatus, 0)
		out.fault(LegacyMMIO, InMMIO, w.base)
		return
	}
	f := out.find(InMMIO, w.base)
	if f == nil {
		bus.Write32(w.base+mmioStatus, 0)
		return
	}
	f.Kind, f.Transport, f.Bus, f.gsi = id, rtabi.TransportMMIO, w.base, w.gsi
	f.Regions[regionCommon] = Region{w.base, mmioConfig}
	f.Regions[regionConfig] = Region{w.base + mmioConfig, w.size - mmioConfig}
}
