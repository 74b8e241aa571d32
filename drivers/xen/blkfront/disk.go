package blkfront

import (
	"context"
	"errors"
	"sync"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// Depth is the number of requests in flight at most.
const Depth = 8

// unit is the sector of the protocol in bytes, and the only one of a disk that is
// served here.
const unit = 512

var (
	errClosed = errors.New("closed")
	errStart  = errors.New("not connected yet")
	errGiven  = errors.New("the backend is not used")
)

// Config says what a disk is made of.
type Config struct {
	Bus   xenbus.Config
	Path  string // the frontend's directory: "device/vbd/51712"
	Gate  xen.Gate
	Pages *xen.Pages
	Pool  *iopage.Pool // of the whole I/O region
	// Timeout is how long a call waits for a backend to come, and for its
	// answers; 0 means 60 s.
	Timeout time.Duration
}

// Disk is one disk: a device.Block. After device.ErrGone a later call may work.
type Disk struct {
	name string
	conf Config
	bus  *xenbus.Device
	src  event.Source // waited on by who holds calls
	data [Depth]*iopage.Buf
	link link
	last *iopage.Buf // nil: LastPage was not called

	calls sync.Mutex // held by a call; guards all below
	ids   uint64     // made
	dirty bool       // there are writes since the last flush
	lost  uint64     // as link.lost was then

	asking bool // requests are being made
}

var (
	_ device.Block  = (*Disk)(nil)
	_ xenbus.Driver = (*Disk)(nil)
)

// Find answers the directory of the disk with the lowest number; "" if there is
// none. A drive for CDs, which some toolstacks give to every VM, is none.
func Find(ctx context.Context, store *xenstore.Client) (string, error) {
	paths, err := xenbus.Enumerate(ctx, store, "vbd")
	if err != nil {
		return "", format.Errorf("blkfront: %w", err)
	}
	for _, p := range paths {
		kind, err := store.Read(ctx, p+"/device-type")
		if err != nil && !errors.Is(err, xenstore.ErrNotExist) {
			return "", format.Errorf("blkfront: %w", err)
		}
		if kind != "cdrom" {
			return p, nil
		}
	}
	return "", nil
}

// Open takes over a disk and waits until it is connected, no longer than the
// context allows. It keeps Depth pages of the pool and a ring page, for ever.
func Open(ctx context.Context, name string, c Config) (*Disk, error) {
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	d := &Disk{name: name, conf: c}
	if err := d.open(ctx); err != nil {
		return nil, format.Errorf("blkfront: %s: %w", name, err)
	}
	if err := d.wait(ctx); err != nil {
		d.Close()
		return nil, format.Errorf("blkfront: %s: %w", name, errors.Join(err, d.Cause()))
	}
	return d, nil
}

func (d *Disk) open(ctx context.Context) (err error) {
	if n := d.conf.Pool.Len(); n > d.conf.Pages.IOPages() {
		return format.Errorf("pool of %d pages, %d are granted", n, d.conf.Pages.IOPages())
	}
	if now, _ := d.conf.Pool.Free(); now < Depth {
		return iopage.ErrExhausted
	}
	for i := range d.data {
		if d.data[i], err = d.conf.Pool.Get(); err != nil {
			return err
		}
	}
	l := &d.link
	l.cause, l.note, l.started = errStart, make(chan struct{}), make(chan struct{})
	if l.page, l.ref, err = d.conf.Pages.Take(); err != nil {
		return err
	}
	d.src.Counter, d.src.Arm32, d.src.Event = l.page.Half(abi.RingRspProd), l.page.Word(abi.RingRspEvent), 1
	if err := event.Register(&d.src); err != nil {
		return err
	}
	if d.bus, err = xenbus.Start(ctx, d.conf.Bus, d.conf.Path, d); err != nil {
		return err
	}
	close(l.started)
	return nil
}

// wait waits for the first connection.
func (d *Disk) wait(ctx context.Context) error {
	for {
		live, given, note := d.link.state()
		if live {
			return nil
		}
		if given {
			return errGiven
		}
		select {
		case <-note:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Name implements device.Device.
func (d *Disk) Name() string { return d.name }

// Info implements device.Block.
func (d *Disk) Info() device.BlockInfo {
	d.link.mu.Lock()
	defer d.link.mu.Unlock()
	return d.link.info
}

// Cause says why the disk is not connected, or is nil.
func (d *Disk) Cause() error {
	d.link.mu.Lock()
	defer d.link.mu.Unlock()
	if d.link.live {
		return nil
	}
	err := d.link.cause
	if d.bus != nil {
		if why := d.bus.Err(); why != nil && !errors.Is(err, why) {
			err = errors.Join(err, why)
		}
	}
	return err
}

// Close puts the disk out of use for good, and ends a call that is under way. It
// does not block.
func (d *Disk) Close() error {
	d.link.mu.Lock()
	again := d.link.closed
	d.link.closed, d.link.live, d.link.cause = true, false, errClosed
	d.link.changed()
	d.link.mu.Unlock()
	d.src.Wake()
	if !again {
		d.bus.Stop()
	}
	return nil
}

// Suspend leaves ring and port alone until Resume; calls wait.
func (d *Disk) Suspend(ctx context.Context) error { return d.bus.Suspend(ctx) }

// Resume ends a Suspend: after a restore the disk connects anew, and what was
// under way is asked for again.
func (d *Disk) Resume(ctx context.Context, restored bool) error { return d.bus.Resume(ctx, restored) }

// ReadAt implements device.Block.
func (d *Disk) ReadAt(p []byte, sector uint64) error { return d.transfer(abi.BlkRead, p, sector) }

// WriteAt implements device.Block.
func (d *Disk) WriteAt(p []byte, sector uint64) error {
	if d.Info().ReadOnly {
		return format.Errorf("%s: %w", d.name, device.ErrReadOnly)
	}
	return d.transfer(abi.BlkWrite, p, sector)
}

// Flush implements device.Block.
func (d *Disk) Flush() error {
	d.calls.Lock()
	defer d.calls.Unlock()
	err := d.turn(abi.BlkFlush, []part{{}})
	_, lost := d.link.flushes()
	if err == nil && d.dirty && lost != d.lost {
		d.dirty = false // now that it is told
		err = format.Errorf("%w: the backend left with writes that were not flushed", device.ErrIO)
	}
	if err != nil {
		return format.Errorf("%s: %w", d.name, err)
	}
	d.dirty = false
	return nil
}

// transfer moves p in turns of up to Depth pages.
func (d *Disk) transfer(op uint8, p []byte, sector uint64) error {
	d.calls.Lock()
	defer d.calls.Unlock()
	if err := d.link.over(); err != nil {
		return format.Errorf("%s: %w", d.name, err)
	}
	if err := d.Info().Check(len(p), sector); err != nil {
		return format.Errorf("%s: %w", d.name, err)
	}
	if op == abi.BlkWrite && !d.dirty {
		d.dirty = true
		_, d.lost = d.link.flushes()
	}
	for len(p) > 0 {
		var parts [Depth]part
		n := 0
		for ; n < Depth && len(p) > 0; n++ {
			k := min(len(p), iopage.Size)
			parts[n] = part{p: p[:k], at: sector}
			p, sector = p[k:], sector+uint64(k/unit)
		}
		if err := d.turn(op, parts[:n]); err != nil {
			return format.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}
