package probe

import "ampoule/libos/rt/rtabi"

// Bits of the device status (virtio 1.2, section 2.1).
const (
	statusAcknowledge = 1
	statusDriver      = 2
	statusDriverOK    = 4
	statusFeaturesOK  = 8
	statusNeedsReset  = 64
	statusFailed      = 128
)

// Features with a say in the transport (virtio 1.2, section 6).
const (
	featureEventIndex = 1 << 29 // VIRTIO_F_EVENT_IDX
	featureVersion1   = 1 << 32 // VIRTIO_F_VERSION_1
)

// transportFeatures are the bits that do not belong to a device kind, 24 to 49
// (section 2.2). Of them only VERSION_1 and EVENT_IDX are ever taken.
// INDIRECT_DESC would let ring 3 write descriptors behind the gate's back;
// RING_PACKED, IN_ORDER, ACCESS_PLATFORM, SR_IOV, NOTIFICATION_DATA, ADMIN_VQ
// and the rest change rules that the gate relies on.
const (
	transportFeatures = 1<<50 - 1<<24
	allowedTransport  = featureVersion1 | featureEventIndex
)

const (
	// A read of a device register leaves the VM and takes a microsecond or
	// more on hardware, so this waits for a second and over.
	resetPolls  = 1 << 20
	configTries = 64
)

// Device kinds (virtio 1.2, section 5).
const (
	kindNet     = 1
	kindBlock   = 2
	kindConsole = 3
	kindEntropy = 4
)

// queueCount is the number of queues that the drivers here use; 0 for a kind
// without a driver.
func queueCount(kind uint32) uint32 {
	switch kind {
	case kindNet: // receiveq1, transmitq1
		return 2
	case kindBlock: // requestq1
		return 1
	case kindConsole: // receiveq(port0), transmitq(port0)
		return 2
	case kindEntropy: // requestq
		return 1
	}
	return 0
}

// configFields gives the widths in bytes of the fields of a kind's
// configuration space, in order, as the device must be asked for each field
// with its own width (virtio 1.2, sections 4.1.3.1 and 4.2.2.2). A 64-bit field
// is read as two halves.
func configFields(kind uint32) string {
	switch kind {
	case kindNet: // section 5.1.4, up to supported_hash_types
		return "\x01\x01\x01\x01\x01\x01\x02\x02\x02\x04\x01\x01\x02\x04"
	case kindBlock: // section 5.2.4, up to max_secure_erase_sectors
		return "\x04\x04\x04\x04\x02\x01\x01\x04\x01\x01\x02\x04\x01\x01\x02" +
			"\x04\x04\x04\x04\x04\x01\x01\x01\x01\x04"
	case kindConsole: // section 5.3.4, without the write-only emerg_wr
		return "\x02\x02\x04"
	}
	return ""
}

// start brings a device from any state to DRIVER_OK (virtio 1.2, section
// 3.1.1) and enters it in out. After an error the caller must call stop, and
// the entry may be half filled.
func (f *Found) start(bus *Bus, req *Request, out *Result) Code {
	if out.NDevices >= rtabi.MaxDevices {
		return TooManyDevices
	}
	d, p := &out.Devices[out.NDevices], &out.Ports[out.NDevices]
	if c := f.open(bus); c != OK {
		return c
	}
	features, c := f.negotiate(bus, req)
	if c != OK {
		return c
	}
	if c := f.snapshot(bus, d); c != OK {
		return c
	}
	n := queueCount(f.Kind)
	if f.pci() {
		if c := f.setVectors(bus, n, req, out, p); c != OK {
			return c
		}
	} else {
		p.ISR, p.ISRAck = f.common()+mmioInterruptStatus, f.common()+mmioInterruptACK
		p.GSI = f.gsi
	}
	for q := uint32(0); q < n && q < rtabi.MaxQueues; q++ {
		if c := f.setUp(bus, q, req, d, p); c != OK {
			return c
		}
		d.Queues[q].ID = out.NDevices*rtabi.MaxQueues + q
	}
	if c := f.goLive(bus); c != OK {
		return c
	}
	d.Kind, d.Transport, d.Bus = f.Kind, f.Transport, f.Bus
	d.Features, d.NQueues = features, n
	for q := uint32(0); q < n && q < rtabi.MaxQueues; q++ {
		out.addPage(p.Notify[q])
	}
	out.NDevices++
	return OK
}

// goLive is step 8 of section 3.1.1.
func (f *Found) goLive(bus *Bus) Code {
	f.setStatus(bus, statusAcknowledge|statusDriver|statusFeaturesOK|statusDriverOK)
	if s := f.status(bus); s&statusDriverOK == 0 || s&(statusNeedsReset|statusFailed) != 0 {
		return NotLive
	}
	return OK
}

// open makes the device reachable and resets it, so that it no longer touches
// memory, before it may master the bus.
func (f *Found) open(bus *Bus) Code {
	if f.pci() {
		f.decode(bus)
	}
	if !f.reset(bus) {
		return ResetStuck
	}
	if f.pci() {
		f.master(bus)
	}
	return OK
}

func (f *Found) reset(bus *Bus) bool {
	f.setStatus(bus, 0)
	for i := 0; i < resetPolls; i++ {
		if f.status(bus) == 0 {
			return true
		}
	}
	return false
}

// stop gives the device up: it says so to the device and takes its access to
// memory away.
func (f *Found) stop(bus *Bus) {
	f.setStatus(bus, f.status(bus)|statusFailed)
	f.reset(bus)
	if f.pci() {
		f.silence(bus)
	}
}

// negotiate does steps 2 to 6 of section 3.1.1.
func (f *Found) negotiate(bus *Bus, req *Request) (uint64, Code) {
	f.setStatus(bus, statusAcknowledge)
	f.setStatus(bus, statusAcknowledge|statusDriver)
	want, _ := req.features(f.Kind)
	want &^= transportFeatures &^ allowedTransport
	features := Consistent(f.Kind, f.offered(bus)&(want|featureVersion1))
	if features&featureVersion1 == 0 {
		return 0, NoVersion1
	}
	f.accept(bus, features)
	f.setStatus(bus, statusAcknowledge|statusDriver|statusFeaturesOK)
	if f.status(bus)&statusFeaturesOK == 0 {
		return 0, FeaturesRefused
	}
	return features, OK
}

// Features of a network device that others need (virtio 1.2, section 5.1.3).
const (
	netChecksum      = 1 << 0
	netGuestChecksum = 1 << 1
	netGuestTSO      = 1<<7 | 1<<8
	netHostTSO       = 1<<11 | 1<<12
	netMergeable     = 1 << 15
)

// Consistent takes out of a set of features what makes no sense without one
// that is missing (virtio 1.2, section 5.1.3.1); what the device offers need
// not be a legal choice. Large receive without mergeable buffers goes too: it
// would take buffers of 64 KiB for every frame.
func Consistent(kind uint32, features uint64) uint64 {
	if kind != kindNet {
		return features
	}
	if features&netChecksum == 0 {
		features &^= netHostTSO
	}
	if features&netGuestChecksum == 0 || features&netMergeable == 0 {
		features &^= netGuestTSO
	}
	return features
}

// snapshot copies the configuration space, consistently. A field whose feature
// was not negotiated holds whatever the device answered.
func (f *Found) snapshot(bus *Bus, d *rtabi.Device) Code {
	for try := 0; try < configTries; try++ {
		before := f.generation(bus)
		n := f.readConfig(bus, &d.Config)
		if f.generation(bus) == before {
			d.ConfigLen = n
			return OK
		}
	}
	return ConfigUnstable
}

func (f *Found) readConfig(bus *Bus, p *[rtabi.MaxConfig]byte) uint32 {
	r := &f.Regions[regionConfig]
	fields := configFields(f.Kind)
	off := uint64(0)
	for i := 0; i < len(fields); i++ {
		w := uint64(fields[i])
		if off+w > r.Len || off+w > rtabi.MaxConfig {
			break
		}
		var v uint32
		switch w {
		case 1:
			v = uint32(bus.Read8(r.Addr + off))
		case 2:
			v = uint32(bus.Read16(r.Addr + off))
		case 4:
			v = bus.Read32(r.Addr + off)
		}
		for end := off + w; off < end && off < rtabi.MaxConfig; off++ {
			p[off] = byte(v)
			v >>= 8
		}
	}
	return uint32(off)
}

// setUp gives queue q its memory and enables it.
func (f *Found) setUp(bus *Bus, q uint32, req *Request, d *rtabi.Device, p *Port) Code {
	if q >= rtabi.MaxQueues {
		return QueueMissing
	}
	size := queueSize(f.selectQueue(bus, q))
	if size == 0 {
		return QueueMissing
	}
	if f.queueReady(bus) {
		return QueueBusy
	}
	desc, ok1 := req.Desc.page(bus)
	ring, ok2 := req.Ring.page(bus)
	if !ok1 || !ok2 {
		return NoPages
	}
	addr, c := f.notifyAddr(bus)
	if c != OK {
		return c
	}
	if c := f.attach(bus, q, size, desc, ring); c != OK {
		return c
	}
	d.Queues[q].Size, d.Queues[q].Ring = size, uintptr(ring)
	p.Desc[q], p.Notify[q], p.NotifyValue[q] = desc, addr, q
	p.NotifyWidth = 4
	if f.pci() {
		p.NotifyWidth = 2
	}
	return OK
}

// attach gives the selected queue q its pages, which are clear, and enables it.
func (f *Found) attach(bus *Bus, q, size uint32, desc, ring uint64) Code {
	f.setQueue(bus, size, desc, ring)
	if f.pci() && !f.setVector(bus, q) {
		return VectorRefused
	}
	f.enableQueue(bus)
	if !f.queueReady(bus) {
		return QueueRefused
	}
	return OK
}

// queueSize rounds down to a power of two that is at most MaxQueueSize.
func queueSize(limit uint32) uint32 {
	for size := uint32(rtabi.MaxQueueSize); size != 0; size >>= 1 {
		if size <= limit {
			return size
		}
	}
	return 0
}
