package netfront

import (
	"context"
	"errors"
	"strconv"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenbus"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// Offsets that the event sources name.
const (
	rspProd  = abi.RingRspProd
	rspEvent = abi.RingRspEvent
)

// wire is what the bus's goroutine keeps of a connection.
type wire struct {
	txPage, rxPage xen.Page
	txRef, rxRef   xen.Ref
	txPort, rxPort xen.Port
	ports          bool // the ports are allocated, and the rings the backend's
	fresh          bool // the backend has not taken these rings yet
	told           bool // what Config.Link was told last
	known          bool // info is set
	started        chan struct{}
}

// open takes the ring pages.
func (w *wire) open(p *xen.Pages) (err error) {
	w.started = make(chan struct{})
	if w.txPage, w.txRef, err = p.Take(); err != nil {
		return err
	}
	if w.rxPage, w.rxRef, err = p.Take(); err != nil {
		p.Give(w.txRef)
		return err
	}
	return nil
}

// give gives them back.
func (w *wire) give(p *xen.Pages) {
	p.Give(w.txRef)
	p.Give(w.rxRef)
}

// start lets the bus's goroutine use the Device: bus is set.
func (w *wire) start() { close(w.started) }

// Connect implements xenbus.Driver: it negotiates, makes empty rings, and offers
// pages.
func (d *Device) Connect(ctx context.Context, p *xenbus.Peer) ([]xenbus.Key, error) {
	<-d.wire.started
	o, err := d.negotiate(ctx, p)
	if err != nil {
		return nil, err
	}
	w := &d.wire
	if g := d.conf.Gate; g.InUse(w.txRef) || g.InUse(w.rxRef) {
		return nil, errors.New("the former backend still has the rings")
	}
	if w.rxPort, err = d.conf.Gate.Alloc(); err != nil {
		return nil, format.Errorf("event channel: %w", err)
	}
	w.txPort = w.rxPort
	if o.split {
		if w.txPort, err = d.conf.Gate.Alloc(); err != nil {
			d.conf.Gate.Close(w.rxPort)
			return nil, format.Errorf("event channel: %w", err)
		}
	}
	w.ports, w.fresh = true, true
	d.startRings(o.sg)
	return d.keys(o), nil
}

// startRings makes empty rings and offers pages.
func (d *Device) startRings(sg bool) {
	d.rx.mu.Lock()
	defer d.rx.mu.Unlock()
	d.sweep(false)
	d.tx.mu.Lock()
	d.tx.start(d.wire.txPage, d.wire.txPort, sg)
	d.tx.mu.Unlock()
	d.rx.start(d.wire.rxPage)
	d.rx.port = d.wire.rxPort
	d.refill()
}

// keys is what the backend must know.
func (d *Device) keys(o offer) []xenbus.Key {
	flag := func(name string, on bool) xenbus.Key {
		if on {
			return xenbus.Key{Name: name, Value: "1"}
		}
		return xenbus.Key{Name: name, Value: "0"}
	}
	number := func(name string, v uint32) xenbus.Key {
		return xenbus.Key{Name: name, Value: strconv.FormatUint(uint64(v), 10)}
	}
	w, has := &d.wire, d.info.Offload
	keys := []xenbus.Key{
		number("tx-ring-ref", uint32(w.txRef)), number("rx-ring-ref", uint32(w.rxRef)),
		flag("request-rx-copy", true), flag("feature-rx-notify", true), flag("feature-sg", true),
		flag("feature-no-csum-offload", has&device.RxChecksum == 0),
		flag("feature-ipv6-csum-offload", has&device.RxChecksum != 0),
		flag("feature-gso-tcpv4", has&device.LRO4 != 0), flag("feature-gso-tcpv6", has&device.LRO6 != 0),
	}
	if !o.split {
		return append(keys, number("event-channel", uint32(w.rxPort)),
			xenbus.Key{Name: "event-channel-tx", Remove: true}, xenbus.Key{Name: "event-channel-rx", Remove: true})
	}
	return append(keys, number("event-channel-tx", uint32(w.txPort)), number("event-channel-rx", uint32(w.rxPort)),
		xenbus.Key{Name: "event-channel", Remove: true})
}

// Up implements xenbus.Driver.
func (d *Device) Up() {
	d.mu.Lock()
	first := d.connects == 0
	if d.wire.fresh {
		d.wire.fresh = false
		d.connects++
	}
	d.mu.Unlock()
	d.enable()
	if !first {
		d.rx.src.Wake() // whoever waits was told that it is gone
	}
	d.tell(true)
}

// tell calls Config.Link when there is something new.
func (d *Device) tell(up bool) {
	if d.conf.Link != nil && d.wire.told != up {
		d.conf.Link(up)
	}
	d.wire.told = up
}

// enable puts the device in use. The backend is notified whatever it asked for:
// pages were offered before it was there.
func (d *Device) enable() {
	d.rx.mu.Lock()
	d.tx.mu.Lock()
	d.mu.Lock()
	if !d.closed.Load() {
		d.gone.Store(false)
	}
	d.mu.Unlock()
	d.rx.live, d.tx.live = true, true
	d.conf.Gate.Notify(d.rx.port)
	if d.tx.port != d.rx.port {
		d.conf.Gate.Notify(d.tx.port)
	}
	d.tx.mu.Unlock()
	d.rx.mu.Unlock()
}

// Down implements xenbus.Driver. When it returns, nobody uses the rings.
func (d *Device) Down(cause error) {
	d.out(cause)
	// This waits for whoever is in the midst of a burst and may still notify.
	d.rx.mu.Lock()
	d.tx.mu.Lock()
	d.rx.live, d.tx.live = false, false
	d.tx.mu.Unlock()
	d.rx.mu.Unlock()
	d.tell(false)
}

// Free implements xenbus.Driver.
func (d *Device) Free() {
	d.reclaim(false)
	if d.wire.ports {
		d.conf.Gate.Close(d.wire.rxPort)
		if d.wire.txPort != d.wire.rxPort {
			d.conf.Gate.Close(d.wire.txPort)
		}
		d.wire.ports = false
	}
}

// Lost implements xenbus.Driver.
func (d *Device) Lost() {
	d.reclaim(true)
	d.wire.ports = false
}

// reclaim takes back all pages of both rings. Unless the VM was restored, those
// that a backend still has are kept aside.
func (d *Device) reclaim(restored bool) {
	r, t := &d.rx, &d.tx
	r.mu.Lock()
	defer r.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, bufs := range [...]*[ringSize]*iopage.Buf{&r.bufs, &t.bufs} {
		for i, b := range bufs {
			if b != nil {
				b.SetNext(nil)
				r.held = append(r.held, b)
				bufs[i] = nil
			}
		}
	}
	d.sweep(restored)
	t.stop()
}

// sweep releases the pages kept aside that no backend has any more. rx.mu is
// held.
func (d *Device) sweep(restored bool) {
	r := &d.rx
	left := r.held[:0]
	for _, b := range r.held {
		if !restored && d.conf.Gate.InUse(d.conf.Pages.IORef(b.Offset())) {
			left = append(left, b)
			continue
		}
		b.Release()
	}
	clear(r.held[len(left):])
	r.held = left
	d.sweepLater()
}

// Pauses between two looks at the pages kept aside: each one is twice the one
// before.
const (
	sweepFirst = 10 * time.Millisecond
	sweepLast  = 10 * time.Second
)

// sweepLater has another look made while there are pages aside: nothing tells
// when a backend unmaps one. rx.mu is held.
func (d *Device) sweepLater() {
	r := &d.rx
	if len(r.held) == 0 {
		r.sweepPause = 0
		return
	}
	r.sweepPause = min(max(2*r.sweepPause, sweepFirst), sweepLast)
	if r.sweeper != nil {
		r.sweeper.Reset(r.sweepPause)
		return
	}
	r.sweeper = time.AfterFunc(r.sweepPause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		d.sweep(false)
	})
}
