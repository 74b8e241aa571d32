package probe

import "ampoule/libos/rt/rtabi"

// The common configuration structure (virtio 1.2, section 4.1.4.3).
const (
	pciDeviceFeatureSel = 0x00
	pciDeviceFeature    = 0x04
	pciDriverFeatureSel = 0x08
	pciDriverFeature    = 0x0c
	pciConfigVector     = 0x10
	pciNumQueues        = 0x12
	pciStatus           = 0x14
	pciGeneration       = 0x15
	pciQueueSel         = 0x16
	pciQueueSize        = 0x18
	pciQueueVector      = 0x1a
	pciQueueEnable      = 0x1c
	pciQueueNotifyOff   = 0x1e
	pciQueueDesc        = 0x20
	pciQueueDriver      = 0x28
	pciQueueDevice      = 0x30
	pciCommonLen        = 0x38
	noVector            = 0xffff // VIRTIO_MSI_NO_VECTOR
)

// Fields of an MSI-X table entry (PCI Local Bus 3.0, section 6.8.2.6-9) and the
// message that raises a vector on the CPU with APIC ID 0 (Intel SDM volume 3,
// section 11.11).
const (
	entryAddr    = 0
	entryAddrTop = 4
	entryData    = 8
	entryControl = 12
	entryMasked  = 1
	messageAddr  = 0xfee00000
)

// decode lets the device answer at its memory BARs, and only there, without
// letting it access memory or raise an interrupt line.
func (f *Found) decode(bus *Bus) {
	fn := function(f.Bus)
	c := fn.read16(bus, cfgCommand) &^ (commandIO | commandMaster)
	fn.write16(bus, cfgCommand, c|commandMemory|commandNoINTx)
}

// master lets the device access memory.
func (f *Found) master(bus *Bus) {
	fn := function(f.Bus)
	fn.write16(bus, cfgCommand, fn.read16(bus, cfgCommand)|commandMaster)
}

// silence takes the device off the bus.
func (f *Found) silence(bus *Bus) {
	fn := function(f.Bus)
	fn.write16(bus, uint32(f.msixCap)+2, msixMaskAll)
	fn.quiet(bus)
	fn.write16(bus, cfgCommand, fn.read16(bus, cfgCommand)&^commandMemory)
}

// setVectors gives each of n queues an MSI-X entry and a vector; the last entry
// is shared when the table is shorter. All other entries stay masked.
func (f *Found) setVectors(bus *Bus, n uint32, req *Request, out *Result, p *Port) Code {
	if req.Vectors == 0 || uint32(req.Vector)+uint32(req.Vectors) > 256 {
		return NoVector
	}
	fn, table := function(f.Bus), f.Regions[regionMSIX].Addr
	fn.write16(bus, uint32(f.msixCap)+2, msixEnable|msixMaskAll)
	for i := uint64(0); i < uint64(f.msixSize); i++ {
		bus.Write32(table+i*msixEntry+entryControl, entryMasked)
	}
	for q := uint32(0); q < n && q < rtabi.MaxQueues; q++ {
		if q > 0 && q >= uint32(f.msixSize) {
			p.Vector[q] = p.Vector[q-1]
			continue
		}
		v := req.Vector + req.Vectors - 1
		if out.vectors < uint32(req.Vectors) {
			v = req.Vector + uint8(out.vectors)
			out.vectors++
		}
		p.Vector[q] = v
		e := table + uint64(q)*msixEntry
		bus.Write32(e+entryAddr, messageAddr)
		bus.Write32(e+entryAddrTop, 0)
		bus.Write32(e+entryData, uint32(v))
		bus.Write32(e+entryControl, 0)
	}
	fn.write16(bus, uint32(f.msixCap)+2, msixEnable)
	bus.Write16(f.common()+pciConfigVector, noVector)
	return OK
}

// setVector ties the selected queue q to its MSI-X entry. A device that has no
// room for the vector answers with noVector (virtio 1.2, section 4.1.5.1.2).
func (f *Found) setVector(bus *Bus, q uint32) bool {
	e := uint16(q)
	if e >= f.msixSize {
		e = f.msixSize - 1
	}
	bus.Write16(f.common()+pciQueueVector, e)
	return bus.Read16(f.common()+pciQueueVector) == e
}
