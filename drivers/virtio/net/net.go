package virtionet

import (
	"errors"
	"sync"
	"sync/atomic"

	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// HeadRoom is the number of bytes that Send needs before a frame's first byte.
const HeadRoom = headerLen

// batch is a good number of frames for one call: more saves little.
const batch = 32

// minMTU is the least that IPv4 allows (RFC 791); a device that states less is
// lying.
const minMTU = 68

var errClosed = errors.New("closed")

// Config sets the bounds of a device, in pages. The zero value of a field asks
// for the default that is stated.
type Config struct {
	RxBuffers int // pages kept in the receive ring; half the queue, at most a quarter of the pool
	RxLow     int // pages that stay in the ring when there are no others; a quarter of RxBuffers, but one large frame
	TxReserve int // free pages of the pool that the refill leaves alone; an eighth of the pool
	// MAC is used when the device states none.
	MAC [6]byte
	// Constants are what the gate lets descriptors of the transmit queue name besides
	// I/O pages, at offsets from rtabi.ConstOffset on.
	Constants string
}

// Stats counts since New. Drops are frames that arrived and were not handed
// out; what a device drops for want of buffers it does not tell.
type Stats struct {
	RxFrames, RxBytes uint64
	RxNoPage          uint64 // dropped: the pool had no page to replace theirs
	RxMalformed       uint64 // dropped: impossible metadata or length
	RxPosts, RxKicks  uint64 // gate calls
	TxFrames, TxBytes uint64
	TxFull            uint64 // Send answered ErrAgain
	TxMalformed       uint64 // frames that Send refused
	TxPosts, TxKicks  uint64 // gate calls
	BadCompletions    uint64 // protocol violations; the first puts the device out of use
}

// Device is one network device. All methods may be called from any goroutine;
// none blocks.
type Device struct {
	name  string
	pool  *iopage.Pool
	info  device.NetInfo
	large bool // received frames may take several buffers

	gone  atomic.Bool // checked first by every method
	mu    sync.Mutex  // guards cause and bad
	cause error
	bad   uint64

	io sync.Mutex // guards what follows, but event sources
	rx receiver
	tx transmitter
	// Of a Turn.
	inTurn  bool
	turning device.Frame // what the fast path is shown
	end     uint16       // the used entry that it ends before
	count   device.Turned
}

var (
	_ device.Net     = (*Device)(nil)
	_ device.TxReady = (*Device)(nil)
	_ device.Chainer = (*Device)(nil)
)

// New takes over a network device as boot left it, gives it receive buffers of
// pool, and registers its event sources. The pool must start where the I/O
// region starts. A device can be taken over once.
func New(name string, t virtio.Transport, pool *iopage.Pool, c Config) (*Device, error) {
	d := &Device{name: name, pool: pool}
	if err := d.open(t, c); err != nil {
		return nil, format.Errorf("virtionet: %s: %w", name, err)
	}
	return d, nil
}

func (d *Device) open(t virtio.Transport, c Config) error {
	if id := t.DeviceID(); id != virtio.NetworkCard {
		return format.Errorf("device of kind %d is no network card", id)
	}
	f := t.Features()
	if err := checkFeatures(f); err != nil {
		return err
	}
	d.large = f&FeatureMergeable != 0
	d.info = device.NetInfo{MAC: c.MAC, MTU: 1500, HeadRoom: HeadRoom, Offload: offloads(f), Batch: batch, Constants: c.Constants}
	if err := d.readConfig(t, f); err != nil {
		return err
	}
	rxq, err := virtio.NewQueue(t, 0)
	if err != nil {
		return err
	}
	txq, err := virtio.NewQueue(t, 1)
	if err != nil {
		return err
	}
	if err := d.rx.init(rxq, d.pool, c, f&(FeatureGuestTSO4|FeatureGuestTSO6) != 0); err != nil {
		return err
	}
	d.tx.init(txq, d.info.MTU)
	d.tx.partial = d.info.Offload&device.TxChecksum != 0
	if d.info.Offload&device.RxChecksum != 0 {
		d.rx.partial = flagNeedsChecksum
	}
	if err := event.Register(&d.rx.src); err != nil {
		return format.Errorf("receive source: %w", err)
	}
	if err := event.Register(&d.tx.src); err != nil {
		event.Unregister(&d.rx.src)
		return format.Errorf("transmit source: %w", err)
	}
	d.refill()
	return nil
}

// readConfig takes MAC and MTU (virtio 1.2, section 5.1.4: mac at 0, mtu at 10).
func (d *Device) readConfig(t virtio.Transport, f uint64) error {
	if f&FeatureMAC != 0 {
		if err := t.Config(0, d.info.MAC[:]); err != nil {
			return format.Errorf("read MAC: %w", err)
		}
	}
	if mac := d.info.MAC; mac == [6]byte{} || mac[0]&1 != 0 {
		return format.Errorf("MAC %x is not an address of one station", mac)
	}
	if f&FeatureMTU != 0 {
		var b [2]byte
		if err := t.Config(10, b[:]); err != nil {
			return format.Errorf("read MTU: %w", err)
		}
		if d.info.MTU = int(b[0]) | int(b[1])<<8; d.info.MTU < minMTU {
			return format.Errorf("MTU %d is below %d", d.info.MTU, minMTU)
		}
	}
	if !d.large {
		// A frame has one page then.
		d.info.MTU = min(d.info.MTU, iopage.Size-headerLen-etherLen-vlanLen)
	}
	return nil
}

// Name implements device.Device.
func (d *Device) Name() string { return d.name }

// Info implements device.Net.
func (d *Device) Info() device.NetInfo { return d.info }

// Ready implements device.Net.
func (d *Device) Ready() *event.Source { return &d.rx.src }

// TxReady implements device.TxReady.
func (d *Device) TxReady() *event.Source { return &d.tx.src }

// Close puts the device out of use and wakes whoever waits for it; all methods
// answer device.ErrGone from then on. Pages that the device has stay with it:
// ring 3 can't make it stop, so they are not safe to use again. So do the two
// places that the event sources take, since someone may still be waiting.
func (d *Device) Close() error {
	d.fail(errClosed, 0)
	return nil
}

// Cause says why methods answer device.ErrGone, or is nil when they don't.
func (d *Device) Cause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cause
}

// Stats is a snapshot of the counters.
func (d *Device) Stats() Stats {
	d.io.Lock()
	s := Stats{RxFrames: d.rx.frames, RxBytes: d.rx.bytes, RxNoPage: d.rx.noPage, RxMalformed: d.rx.malformed}
	s.RxPosts, s.RxKicks = d.rx.q.Counters()
	s.TxFrames, s.TxBytes, s.TxFull, s.TxMalformed = d.tx.frames, d.tx.bytes, d.tx.full, d.tx.malformed
	s.TxPosts, s.TxKicks = d.tx.q.Counters()
	d.io.Unlock()

	d.mu.Lock()
	s.BadCompletions = d.bad
	d.mu.Unlock()
	return s
}

// fail puts the device out of use; bad is 1 when the device broke the protocol.
// The first cause stays.
func (d *Device) fail(err error, bad uint64) {
	d.mu.Lock()
	if d.cause == nil {
		d.cause = format.Errorf("virtionet: %s: %w", d.name, err)
		d.bad += bad
	}
	d.mu.Unlock()
	d.gone.Store(true)
	d.rx.src.Wake()
	d.tx.src.Wake()
}
