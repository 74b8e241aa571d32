package probe

import "ampoule/libos/rt/rtabi"

// Region is a range of device memory: physical address and bytes.
type Region struct {
	Addr, Len uint64
}

// Regions of a Found. A virtio-mmio device has only the first and the fourth.
const (
	regionCommon = iota
	regionNotify
	regionISR
	regionConfig
	regionMSIX
	regions
)

// Found is a wanted device that Scan found. Start touches its Regions; those
// with Len 0 do not exist.
type Found struct {
	Kind      uint32 // virtio device ID
	Transport uint32 // rtabi.Transport*
	Bus       uint64 // as in rtabi.Device
	Regions   [regions]Region

	gsi       uint32 // MMIO
	notifyMul uint32 // PCI: bytes between notification addresses
	msixCap   uint8  // PCI: offset of the MSI-X capability
	msixSize  uint16 // PCI: entries of the MSI-X table
}

func (f *Found) pci() bool { return f.Transport == rtabi.TransportPCI }

// common is the address of the register block.
func (f *Found) common() uint64 { return f.Regions[regionCommon].Addr }

func (f *Found) status(bus *Bus) uint8 {
	if f.pci() {
		return bus.Read8(f.common() + pciStatus)
	}
	return uint8(bus.Read32(f.common() + mmioStatus))
}

func (f *Found) setStatus(bus *Bus, v uint8) {
	if f.pci() {
		bus.Write8(f.common()+pciStatus, v)
		return
	}
	bus.Write32(f.common()+mmioStatus, uint32(v))
}

// offered reads the device's feature bits.
func (f *Found) offered(bus *Bus) uint64 {
	sel, val := uint64(mmioDeviceFeaturesSel), uint64(mmioDeviceFeatures)
	if f.pci() {
		sel, val = pciDeviceFeatureSel, pciDeviceFeature
	}
	bus.Write32(f.common()+sel, 0)
	low := bus.Read32(f.common() + val)
	bus.Write32(f.common()+sel, 1)
	return uint64(bus.Read32(f.common()+val))<<32 | uint64(low)
}

// accept writes the driver's feature bits.
func (f *Found) accept(bus *Bus, features uint64) {
	sel, val := uint64(mmioDriverFeaturesSel), uint64(mmioDriverFeatures)
	if f.pci() {
		sel, val = pciDriverFeatureSel, pciDriverFeature
	}
	bus.Write32(f.common()+sel, 0)
	bus.Write32(f.common()+val, uint32(features))
	bus.Write32(f.common()+sel, 1)
	bus.Write32(f.common()+val, uint32(features>>32))
}

// generation changes whenever the configuration space does.
func (f *Found) generation(bus *Bus) uint32 {
	if f.pci() {
		return uint32(bus.Read8(f.common() + pciGeneration))
	}
	return bus.Read32(f.common() + mmioGeneration)
}

// selectQueue makes q the queue that the other queue methods are about. It
// gives the largest size that the device allows, 0 when q does not exist.
func (f *Found) selectQueue(bus *Bus, q uint32) uint32 {
	if !f.pci() {
		bus.Write32(f.common()+mmioQueueSel, q)
		return bus.Read32(f.common() + mmioQueueSizeMax)
	}
	if q >= uint32(bus.Read16(f.common()+pciNumQueues)) {
		return 0
	}
	bus.Write16(f.common()+pciQueueSel, uint16(q))
	return uint32(bus.Read16(f.common() + pciQueueSize))
}

func (f *Found) queueReady(bus *Bus) bool {
	if f.pci() {
		return bus.Read16(f.common()+pciQueueEnable) != 0
	}
	return bus.Read32(f.common()+mmioQueueReady) != 0
}

// setQueue tells the device where the selected queue is.
func (f *Found) setQueue(bus *Bus, size uint32, desc, ring uint64) {
	dp, ap, up := uint64(mmioQueueDesc), uint64(mmioQueueDriver), uint64(mmioQueueDevice)
	if f.pci() {
		dp, ap, up = pciQueueDesc, pciQueueDriver, pciQueueDevice
		bus.Write16(f.common()+pciQueueSize, uint16(size))
	} else {
		bus.Write32(f.common()+mmioQueueSize, size)
	}
	f.writeAddr(bus, dp, desc)
	f.writeAddr(bus, ap, ring+rtabi.QueueAvailOff)
	f.writeAddr(bus, up, ring+rtabi.QueueUsedOff)
}

// writeAddr writes a 64-bit register as two halves, which both transports ask
// for (virtio 1.2, sections 4.1.3.1 and 4.2.2).
func (f *Found) writeAddr(bus *Bus, reg, v uint64) {
	bus.Write32(f.common()+reg, uint32(v))
	bus.Write32(f.common()+reg+4, uint32(v>>32))
}

func (f *Found) enableQueue(bus *Bus) {
	if f.pci() {
		bus.Write16(f.common()+pciQueueEnable, 1)
		return
	}
	bus.Write32(f.common()+mmioQueueReady, 1)
}

// notifyAddr gives the notification address of the selected queue.
func (f *Found) notifyAddr(bus *Bus) (uint64, Code) {
	if !f.pci() {
		return f.common() + mmioQueueNotify, OK
	}
	r := &f.Regions[regionNotify]
	off := uint64(bus.Read16(f.common()+pciQueueNotifyOff)) * uint64(f.notifyMul)
	if r.Len < 2 || off > r.Len-2 || off%2 != 0 {
		return 0, NotifyRange
	}
	return r.Addr + off, OK
}
