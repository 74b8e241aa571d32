package virtioblk

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// Feature bits (virtio 1.2, section 5.2.3).
const (
	featureReadOnly  = 1 << 5
	featureBlockSize = 1 << 6
	featureFlush     = 1 << 9
)

// Features is all that this driver can use.
const Features = featureReadOnly | featureBlockSize | featureFlush | virtio.FeatureEventIndex | virtio.FeatureVersion1

// Depth is the number of requests that are with the device at most.
const Depth = 8

// unit is what the device counts in, whatever its block size (section 5.2.4).
const unit = 512

// Config of a Disk. The zero value is usable.
type Config struct {
	// Timeout is how long a request may take before the device counts as gone;
	// 0 means 60 s.
	Timeout time.Duration
}

// Disk is one device: a device.Block.
type Disk struct {
	name    string
	info    device.BlockInfo
	flush   bool // the device has a cache
	timeout time.Duration
	pool    *iopage.Pool

	closed atomic.Bool
	src    event.Source // waited on by who holds mu

	mu     sync.Mutex // guards all below
	q      *virtio.Queue
	ctl    *iopage.Buf // headers and status bytes
	data   [Depth]*iopage.Buf
	slots  int         // of Depth, as many as the queue has room for
	giving bool        // requests are being handed over
	last   *iopage.Buf // nil: LastPage was not called
	err    error

	status [Depth]uint8 // of the requests of this turn that came back
}

var _ device.Block = (*Disk)(nil)

// New takes over a block device as boot left it, keeps up to Depth+1 pages of
// pool, and registers its event source. A device can be taken over once.
func New(name string, t virtio.Transport, pool *iopage.Pool, c Config) (*Disk, error) {
	d := &Disk{name: name, timeout: c.Timeout, pool: pool}
	if d.timeout == 0 {
		d.timeout = time.Minute
	}
	if err := d.open(t); err != nil {
		d.release()
		return nil, format.Errorf("virtioblk: %s: %w", name, err)
	}
	return d, nil
}

func (d *Disk) open(t virtio.Transport) (err error) {
	if id := t.DeviceID(); id != virtio.BlockDevice {
		return format.Errorf("device of kind %d is no disk", id)
	}
	if d.info, err = readInfo(t); err != nil {
		return err
	}
	d.flush = t.Features()&featureFlush != 0
	if d.q, err = virtio.NewQueue(t, 0); err != nil {
		return err
	}
	if d.slots = min(Depth, d.q.Size()/chain); d.slots == 0 {
		return format.Errorf("a queue of %d has no room for a request", d.q.Size())
	}
	if d.ctl, err = d.pool.Get(); err != nil {
		return err
	}
	for i := range d.slots {
		if d.data[i], err = d.pool.Get(); err != nil {
			return err
		}
	}
	d.src.Counter = d.q.Ring().UsedIndex()
	if d.q.EventIndex() {
		d.src.Arm = d.q.Ring().UsedEvent()
	}
	return event.Register(&d.src)
}

// release gives pages back that the device never had.
func (d *Disk) release() {
	if d.ctl != nil {
		d.ctl.Release()
	}
	for _, b := range d.data {
		if b != nil {
			b.Release()
		}
	}
}

// readInfo reads struct virtio_blk_config (section 5.2.4).
func readInfo(t virtio.Transport) (i device.BlockInfo, err error) {
	var capacity [8]byte
	if err := t.Config(0, capacity[:]); err != nil {
		return i, err
	}
	i.SectorSize = unit
	i.ReadOnly = t.Features()&featureReadOnly != 0
	if t.Features()&featureBlockSize != 0 {
		var size [4]byte
		if err := t.Config(20, size[:]); err != nil {
			return i, err
		}
		n := binary.LittleEndian.Uint32(size[:])
		if n < unit || n > iopage.Size || n&(n-1) != 0 {
			return i, format.Errorf("blocks of %d bytes: must be a power of two from %d to %d", n, unit, iopage.Size)
		}
		i.SectorSize = int(n)
	}
	i.Sectors = binary.LittleEndian.Uint64(capacity[:]) / uint64(i.SectorSize/unit)
	return i, nil
}

// Name implements device.Device.
func (d *Disk) Name() string { return d.name }

// Info implements device.Block.
func (d *Disk) Info() device.BlockInfo { return d.info }

// Cause says what put the device out of use, or is nil.
func (d *Disk) Cause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Close puts the device out of use, and ends a call that is under way. What the
// device still holds stays with it. It does not block.
func (d *Disk) Close() error {
	d.closed.Store(true)
	d.src.Wake()
	return nil
}

// ReadAt implements device.Block.
func (d *Disk) ReadAt(p []byte, sector uint64) error { return d.transfer(typeIn, p, sector) }

// WriteAt implements device.Block.
func (d *Disk) WriteAt(p []byte, sector uint64) error {
	if d.info.ReadOnly {
		return format.Errorf("%s: %w", d.name, device.ErrReadOnly)
	}
	return d.transfer(typeOut, p, sector)
}

// Flush implements device.Block.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil || !d.flush {
		return err
	}
	return d.named(d.turn(typeFlush, []part{{}}))
}

// transfer moves p in turns of up to one page for each slot.
func (d *Disk) transfer(kind uint32, p []byte, sector uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.info.Check(len(p), sector); err != nil {
		return d.named(err)
	}
	at := sector * uint64(d.info.SectorSize/unit)
	for len(p) > 0 {
		var parts [Depth]part
		n := 0
		for ; n < d.slots && len(p) > 0; n++ {
			k := min(len(p), iopage.Size)
			parts[n] = part{p[:k], at}
			p, at = p[k:], at+uint64(k/unit)
		}
		if err := d.turn(kind, parts[:n]); err != nil {
			return d.named(err)
		}
	}
	return nil
}

// usable answers why the device is out of use, if it is.
func (d *Disk) usable() error {
	if d.err == nil && d.closed.Load() {
		d.err = errors.New("closed")
	}
	if d.err != nil {
		return format.Errorf("%s: %w: %w", d.name, device.ErrGone, d.err)
	}
	return nil
}

func (d *Disk) named(err error) error {
	if err != nil {
		err = format.Errorf("%s: %w", d.name, err)
	}
	return err
}
