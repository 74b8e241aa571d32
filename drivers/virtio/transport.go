package virtio

import (
	"errors"

	"ampoule/libos/format"
	"ampoule/libos/rt/rtabi"
)

// Device IDs (virtio 1.2, section 5).
const (
	NetworkCard   = 1
	BlockDevice   = 2
	EntropySource = 4
)

// Feature bits that all devices share (virtio 1.2, section 6).
const (
	FeatureEventIndex = 1 << 29
	FeatureVersion1   = 1 << 32
)

// ErrRange says that a caller asked for configuration that boot did not keep.
var ErrRange = errors.New("virtio: outside the device's configuration")

// Transport is one device as boot left it: found, negotiated, started. No
// method blocks, and none takes a physical address.
type Transport interface {
	// DeviceID says what kind of device it is: NetworkCard, EntropySource.
	DeviceID() uint32
	// Features is the set that boot negotiated.
	Features() uint64
	// Config copies len(p) bytes at off of the device's own configuration, as
	// it was at boot. ErrRange when the device has not that much.
	Config(off int, p []byte) error
	// Queue is the shared page of virtqueue i and its number at the gate.
	Queue(i int) (Ring, uint32, error)
	// Gate is the gate that the queues are served by.
	Gate() Gate
}

// Gate is the part of the gate that drivers call (rtabi.GatePost,
// rtabi.GateNotify and rtabi.GateGive).
type Gate interface {
	// Post asks the gate to write the first n Descs of the submission area of
	// a queue, named by its number at the gate. It reads each Desc once and is done
	// with the area when it returns. A Desc that the gate refuses ends the VM.
	Post(queue uint32, n int)
	// Notify tells the device that a queue has new available entries.
	Notify(queue uint32)
	// Give is Post, the store of index in the available ring, and Notify if the device
	// wants that for an entry from index from on, all in one. Only for queues with
	// event index. It says whether the device was notified.
	Give(queue uint32, n int, index, from uint16) (notified bool)
}

// Device is the Transport of a device in rtabi.BootInfo, over MMIO and PCI
// alike: what distinguishes them is boot's and the gate's business.
type Device struct {
	gate Gate
	boot *rtabi.Device
}

// NewDevice wraps what boot left of a device. It keeps boot and only reads it.
func NewDevice(boot *rtabi.Device, gate Gate) *Device {
	return &Device{gate: gate, boot: boot}
}

// Gate implements Transport.
func (d *Device) Gate() Gate { return d.gate }

// DeviceID implements Transport.
func (d *Device) DeviceID() uint32 { return d.boot.Kind }

// Features implements Transport.
func (d *Device) Features() uint64 { return d.boot.Features }

// Config implements Transport.
func (d *Device) Config(off int, p []byte) error {
	have := min(int(d.boot.ConfigLen), rtabi.MaxConfig)
	if off < 0 || off > have || len(p) > have-off {
		return format.Errorf("%w: %d bytes at %d of %d", ErrRange, len(p), off, have)
	}
	copy(p, d.boot.Config[off:])
	return nil
}

// Queue implements Transport.
func (d *Device) Queue(i int) (Ring, uint32, error) {
	if i < 0 || i >= min(int(d.boot.NQueues), rtabi.MaxQueues) {
		return Ring{}, 0, format.Errorf("virtio: queue %d of %d", i, d.boot.NQueues)
	}
	q := &d.boot.Queues[i]
	if q.Ring == 0 || q.Ring%rtabi.PageSize != 0 {
		return Ring{}, 0, format.Errorf("virtio: queue %d: no ring page at %#x", i, q.Ring)
	}
	if q.Size == 0 || q.Size > rtabi.MaxQueueSize || q.Size&(q.Size-1) != 0 {
		return Ring{}, 0, format.Errorf("virtio: queue %d: size %d is no power of two up to %d", i, q.Size, rtabi.MaxQueueSize)
	}
	return ringAt(q.Ring, int(q.Size)), q.ID, nil
}
