package netfront

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/xenbus"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// batch is a good number of frames for one call: more saves little.
const batch = 32

var (
	errClosed = errors.New("closed")
	errStart  = errors.New("not connected yet")
)

// Config says what a device is made of, and its bounds in pages. The zero value
// of a bound asks for the default that is stated.
type Config struct {
	Bus   xenbus.Config
	Path  string // the frontend's directory: "device/vif/0"
	Gate  xen.Gate
	Pages *xen.Pages
	Pool  *iopage.Pool // of the whole I/O region

	// Without are offloads not to use, whatever the backend offers.
	Without device.Feature
	// Link, if not nil, is told when the device comes and goes, from the
	// first time on that it comes. It must not block or call the device's
	// Close, Suspend or Resume.
	Link func(up bool)

	RxBuffers int // pages kept in the receive ring; 128, at most a quarter of the pool
	RxLow     int // pages that stay in the ring when there are no others; a quarter of RxBuffers, but one large frame
	TxReserve int // free pages of the pool that the refill leaves alone; an eighth of the pool
}

// Stats counts since Open. Drops are frames that arrived and were not handed
// out; what a backend drops for want of pages it does not tell.
type Stats struct {
	RxFrames, RxBytes uint64
	RxNoPage          uint64 // dropped: the pool had no page to replace theirs
	RxMalformed       uint64 // dropped: impossible metadata or length
	RxErrors          uint64 // dropped: the backend could not copy
	RxKicks           uint64 // notifications
	TxFrames, TxBytes uint64
	TxFull            uint64 // Send answered ErrAgain
	TxMalformed       uint64 // frames that Send refused
	TxErrors          uint64 // pages that the backend did not send
	TxKicks           uint64 // notifications
	Connects          uint64 // times that the backend took the rings
	Breaches          uint64 // of the protocol
	Quarantine        uint64 // pages out of use because a backend that is gone still has them
}

// Device is one network interface. All methods may be called from any goroutine;
// none blocks but Suspend and Resume.
type Device struct {
	name string
	conf Config
	bus  *xenbus.Device
	info device.NetInfo // set by the first Connect, before Wait returns; see Info for the MAC
	mac  atomic.Uint64  // of the vif, set by each Connect

	gone   atomic.Bool // checked by every method; set again and again, cleared by Up
	closed atomic.Bool

	mu       sync.Mutex // guards cause and the counts
	cause    error
	connects uint64
	breaches uint64

	rx   receiver
	tx   transmitter
	wire wire // of the bus's goroutine
}

var (
	_ device.Net     = (*Device)(nil)
	_ device.TxReady = (*Device)(nil)
	_ device.Chainer = (*Device)(nil)
	_ xenbus.Driver  = (*Device)(nil)
)

// Open takes over a network interface and waits until it is connected, no longer
// than the context allows.
func Open(ctx context.Context, name string, c Config) (*Device, error) {
	d, err := Start(ctx, name, c)
	if err != nil {
		return nil, err
	}
	if err := d.Wait(ctx); err != nil {
		d.Close()
		go d.discard()
		return nil, err
	}
	return d, nil
}

// Start takes over a network interface and does not wait until it is connected.
// Until the first Wait that succeeds, only Wait, Path, Move, Suspend, Resume,
// Cause, Stats and Close may be called.
func Start(ctx context.Context, name string, c Config) (*Device, error) {
	d, err := newDevice(name, c)
	if err != nil {
		return nil, format.Errorf("netfront: %s: %w", name, err)
	}
	if d.bus, err = xenbus.Start(ctx, c.Bus, c.Path, d); err != nil {
		event.Unregister(&d.rx.src)
		event.Unregister(&d.tx.src)
		d.wire.give(d.conf.Pages)
		return nil, format.Errorf("netfront: %s: %w", name, err)
	}
	d.wire.start()
	return d, nil
}

// Wait waits until the device is connected. The error says why it is not when
// the context ends.
func (d *Device) Wait(ctx context.Context) error {
	if err := d.bus.Wait(ctx); err != nil {
		return format.Errorf("netfront: %s: %w", d.name, err)
	}
	return nil
}

// Path is the frontend's directory: "device/vif/0".
func (d *Device) Path() string { return d.bus.Path() }

// Move has a device whose vif was removed for good go on with another one; see
// xenbus.Device.Move.
func (d *Device) Move(ctx context.Context, path string) error { return d.bus.Move(ctx, path) }

// discard gives back what a device that nobody has seen holds, once the backend
// is done with it.
func (d *Device) discard() {
	<-d.bus.Done()
	if !d.wire.ports {
		for g, w := d.conf.Gate, &d.wire; g.InUse(w.txRef) || g.InUse(w.rxRef); {
			time.Sleep(sweepLast)
		}
		event.Unregister(&d.rx.src)
		event.Unregister(&d.tx.src)
		d.wire.give(d.conf.Pages)
	}
}

// newDevice makes a device that is not connected.
func newDevice(name string, c Config) (*Device, error) {
	if n := c.Pool.Len(); n > c.Pages.IOPages() {
		return nil, format.Errorf("pool of %d pages, %d are granted", n, c.Pages.IOPages())
	}
	d := &Device{name: name, conf: c, cause: errStart}
	d.gone.Store(true)
	if err := d.rx.init(c); err != nil {
		return nil, err
	}
	if err := d.wire.open(c.Pages); err != nil {
		return nil, err
	}
	d.rx.src.Counter = d.wire.rxPage.Half(rspProd)
	d.rx.src.Arm32 = d.wire.rxPage.Word(rspEvent)
	d.rx.src.Event = 1
	err := event.Register(&d.rx.src)
	if err == nil {
		if err = event.Register(&d.tx.src); err != nil {
			event.Unregister(&d.rx.src)
		}
	}
	if err != nil {
		d.wire.give(c.Pages)
		return nil, err
	}
	return d, nil
}

// Name implements device.Device.
func (d *Device) Name() string { return d.name }

// Info implements device.Net.
func (d *Device) Info() device.NetInfo {
	i, m := d.info, d.mac.Load()
	for k := range i.MAC {
		i.MAC[k] = byte(m >> (8 * k))
	}
	return i
}

// setMAC is what Info tells from now on.
func (d *Device) setMAC(mac [6]byte) {
	var m uint64
	for k, b := range mac {
		m |= uint64(b) << (8 * k)
	}
	d.mac.Store(m)
}

// Ready implements device.Net. It is also ready, once, when the device goes and
// when it is back.
func (d *Device) Ready() *event.Source { return &d.rx.src }

// TxReady implements device.TxReady.
func (d *Device) TxReady() *event.Source { return &d.tx.src }

// Close puts the device out of use and wakes whoever waits for it; all methods
// answer device.ErrGone from then on. Pages that the backend has come back to
// the pool when it is done with them. The two ring pages, and the two places that
// the event sources take, stay taken: someone may still be waiting.
func (d *Device) Close() error {
	if !d.closed.Swap(true) {
		d.out(errClosed)
		if d.bus != nil {
			d.bus.Stop()
		}
	}
	return nil
}

// Suspend makes the device leave ports and rings alone until Resume; its methods
// answer device.ErrGone.
func (d *Device) Suspend(ctx context.Context) error { return d.bus.Suspend(ctx) }

// Resume ends a Suspend: after a restore the device connects anew, else it goes
// on at once. It does not wait for the backend.
func (d *Device) Resume(ctx context.Context, restored bool) error {
	return d.bus.Resume(ctx, restored)
}

// Cause says why methods answer device.ErrGone, or is nil when they don't.
func (d *Device) Cause() error {
	if !d.gone.Load() {
		return nil
	}
	d.mu.Lock()
	err := d.cause
	d.mu.Unlock()
	if d.bus != nil {
		if why := d.bus.Err(); why != nil && !errors.Is(err, why) && !errors.Is(err, errClosed) {
			err = format.Errorf("%w; then: %w", err, why)
		}
	}
	return format.Errorf("netfront: %s: %w", d.name, err)
}

// Stats is a snapshot of the counters.
func (d *Device) Stats() Stats {
	d.rx.mu.Lock()
	s := d.rx.stats
	s.Quarantine = uint64(len(d.rx.held))
	d.rx.mu.Unlock()

	t := &d.tx
	t.mu.Lock()
	s.TxFrames, s.TxBytes, s.TxFull, s.TxMalformed = t.frames, t.bytes, t.full, t.malformed
	s.TxErrors, s.TxKicks = t.errors, t.kicks
	t.mu.Unlock()

	d.mu.Lock()
	s.Connects, s.Breaches = d.connects, d.breaches
	d.mu.Unlock()
	return s
}

// out puts the device out of use and wakes whoever waits. The first cause since
// it was in use stays.
func (d *Device) out(err error) {
	d.mu.Lock()
	if !d.gone.Load() {
		d.cause = err
		d.gone.Store(true)
	}
	if err == errClosed {
		d.cause = err
	}
	d.mu.Unlock()
	d.rx.src.Wake()
	d.tx.src.Wake()
}

// fail is out for a backend that broke the protocol.
func (d *Device) fail(err error) {
	d.mu.Lock()
	d.breaches++
	d.mu.Unlock()
	d.out(err)
	if d.bus != nil {
		d.bus.Broken(err)
	}
}
