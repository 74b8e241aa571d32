package xenbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

var (
	// ErrLeft says that the backend closed the device, or is gone.
	ErrLeft = errors.New("xenbus: the backend left")
	// ErrSuspended says that the VM is about to be saved.
	ErrSuspended = errors.New("xenbus: suspended")
	// ErrClosed says that the device was closed on this side.
	ErrClosed = errors.New("xenbus: closed")
	// ErrBusy says that a device still has its backend.
	ErrBusy = errors.New("xenbus: not removed yet")
)

// Driver is the part of a device's driver that a Device calls, from its one
// goroutine. Only Connect may block, and only within its context.
type Driver interface {
	// Connect makes rings and ports ready, and says what to write to the
	// frontend's directory. An error leaves nothing behind.
	Connect(context.Context, *Peer) ([]Key, error)
	// Up says that the backend has taken the rings, or that a save was
	// cancelled: the device is in use.
	Up()
	// Down says that rings and ports must not be touched until Up, and why.
	// The backend may still have pages.
	Down(cause error)
	// Free says, after Down, that the backend is done with the rings and
	// their pages: ports are to be closed, pages are free.
	Free()
	// Lost says, after Down, that the VM was restored: as Free, but ports are
	// gone and must not be closed.
	Lost()
}

// Key is an entry of the frontend's directory; Remove says that it must not be
// there.
type Key struct {
	Name, Value string
	Remove      bool
}

// Times bounds the waits of a Device. The zero value of a field asks for the
// default that is stated.
type Times struct {
	Step     time.Duration // for one look at the store and what follows; 5 s
	Connect  time.Duration // for a backend to take the rings; 10 s
	Retry    time.Duration // pause after the first attempt that failed; 100 ms
	RetryMax time.Duration // the longest pause; 10 s
	Close    time.Duration // for a backend to be done after Close; 10 s
}

func (t Times) fill() Times {
	for _, f := range []struct {
		p *time.Duration
		d time.Duration
	}{
		{&t.Step, 5 * time.Second}, {&t.Connect, 10 * time.Second}, {&t.Retry, 100 * time.Millisecond},
		{&t.RetryMax, 10 * time.Second}, {&t.Close, 10 * time.Second},
	} {
		if *f.p == 0 {
			*f.p = f.d
		}
	}
	return t
}

// pace is the shortest time from one look at the store to the next.
const pace = time.Millisecond

// Config is what a Device needs of the machine.
type Config struct {
	Store *xenstore.Client
	// Domain is the backend domain for which boot has made the grants.
	Domain uint16
	Times  Times
}

// Device keeps one device connected. All methods may be called from any
// goroutine.
type Device struct {
	conf Config
	drv  Driver // nil: never to be connected, see Park

	frontWatch *xenstore.Watch // the goroutine's
	orders     chan order
	kick       chan struct{}
	done       chan struct{}
	machine    machine // the goroutine's

	mu     sync.Mutex
	path   string // of the frontend
	up     bool
	ended  bool
	err    error         // why it is not up, if that is known
	note   chan struct{} // closed at the next change
	breach error         // what Broken was told and the goroutine has not seen
}

// order is what the goroutine is asked to do between two steps.
type order struct {
	do   func()
	done chan struct{}
}

// Start looks after the device with the given frontend directory, until Close.
func Start(ctx context.Context, conf Config, path string, drv Driver) (*Device, error) {
	conf.Times = conf.Times.fill()
	w, err := conf.Store.Watch(ctx, path)
	if err != nil {
		return nil, format.Errorf("xenbus: %w", err)
	}
	d := &Device{
		conf: conf, path: path, drv: drv, frontWatch: w,
		orders: make(chan order), kick: make(chan struct{}, 1), done: make(chan struct{}), note: make(chan struct{}),
	}
	d.machine.d = d
	go d.run()
	return d, nil
}

// Park looks after a device that nobody uses, until Stop: it is never connected,
// but when the toolstack removes it, the backend is answered.
func Park(ctx context.Context, conf Config, path string) (*Device, error) {
	return Start(ctx, conf, path, nil)
}

// Path is the frontend's directory.
func (d *Device) Path() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.path
}

// Move has a device that the toolstack has removed for good go on with another
// frontend directory. It answers ErrBusy while the former backend is there or
// has not given everything back.
func (d *Device) Move(ctx context.Context, path string) error {
	err := ErrClosed
	if oerr := d.order(ctx, func() { err = d.machine.move(ctx, path) }); oerr != nil {
		return oerr
	}
	if err != nil {
		return format.Errorf("xenbus: move %s to %s: %w", d.Path(), path, err)
	}
	return nil
}

// Wait waits until the device is up. When the context ends first, the error says
// why it is not, as far as that is known.
func (d *Device) Wait(ctx context.Context) error {
	for {
		d.mu.Lock()
		up, ended, err, note := d.up, d.ended, d.err, d.note
		d.mu.Unlock()
		switch {
		case up:
			return nil
		case ended:
			return format.Errorf("xenbus: %s: %w", d.Path(), ErrClosed)
		}
		select {
		case <-note:
		case <-ctx.Done():
			return format.Errorf("xenbus: %s: not connected: %w", d.Path(), errors.Join(context.Cause(ctx), err))
		}
	}
}

// Err says why the device is not up, or is nil.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// tell publishes the machine's state.
func (d *Device) tell(up bool, err error) {
	d.mu.Lock()
	if d.up != up || err != nil {
		d.up, d.err = up, err
		close(d.note)
		d.note = make(chan struct{})
	}
	d.mu.Unlock()
}

// Broken says that the backend broke the protocol. The first cause counts; the
// driver must not use the rings any more. It does not block.
func (d *Device) Broken(cause error) {
	d.mu.Lock()
	if d.breach == nil {
		d.breach = cause
	}
	d.mu.Unlock()
	d.wake()
}

func (d *Device) takeBreach() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err, d.breach = d.breach, nil
	return err
}

func (d *Device) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// order has the goroutine do something between two steps, and waits for it.
func (d *Device) order(ctx context.Context, f func()) error {
	o := order{do: f, done: make(chan struct{})}
	select {
	case d.orders <- o:
		<-o.done
		return nil
	case <-d.done:
		return nil
	case <-ctx.Done():
		return format.Errorf("xenbus: %s: busy: %w", d.Path(), context.Cause(ctx))
	}
}

// Suspend puts the device down and leaves store and ports alone until Resume.
func (d *Device) Suspend(ctx context.Context) error {
	return d.order(ctx, d.machine.suspend)
}

// Resume ends a Suspend. After a restore the handshake begins anew, else the
// device goes on as it was. It does not wait until the device is up.
func (d *Device) Resume(ctx context.Context, restored bool) error {
	return d.order(ctx, func() { d.machine.resume(restored) })
}

// Stop closes the device: Down at once, Free when the backend is done with it,
// at the latest after Times.Close if the backend is gone by then. It does not
// wait; see Done.
func (d *Device) Stop() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.wake()
}

// Done is closed when Stop has ended all that the Device did.
func (d *Device) Done() <-chan struct{} { return d.done }

func (d *Device) stopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}
