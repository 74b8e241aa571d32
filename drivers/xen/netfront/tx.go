package netfront

import (
	"sync"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/ring"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// maxTxPages is the largest number of pages of one frame: what every backend
// takes. Netback shuts a vif down for a frame of a few more.
const maxTxPages = abi.MinSlots

// reapAt is the number of slots in flight that makes a look worth its while.
const reapAt = ringSize / 8

// transmitter is the transmit direction. mu guards all of it but src, whose
// fields change only under mu and only on behalf of the goroutine that sends.
//
// Invariant: an id is in free or has a page in bufs, which the backend then has.
// Extra info has a slot but no id.
type transmitter struct {
	mu     sync.Mutex
	ring   ring.Tx
	src    event.Source
	port   xen.Port
	live   bool // the port may be notified
	sg     bool
	bufs   [ringSize]*iopage.Buf // by id
	free   [ringSize]uint8       // a stack: the id freed last is used first
	nFree  int
	extras int // extra infos in flight

	frames, bytes, full, malformed, errors, kicks uint64
}

// start makes an empty ring on page.
func (t *transmitter) start(page xen.Page, port xen.Port, sg bool) {
	t.ring.Start(page)
	t.port, t.sg, t.extras = port, sg, 0
	t.nFree = ringSize
	for i := range t.free {
		t.free[i] = uint8(ringSize - 1 - i)
	}
}

// stop forgets the ring; bufs is empty.
func (t *transmitter) stop() { t.nFree, t.extras = 0, 0 }

// Alloc implements device.Net.
func (d *Device) Alloc() (*iopage.Buf, error) {
	if d.gone.Load() {
		return nil, device.ErrGone
	}
	b, err := d.conf.Pool.Get()
	if err != nil {
		return d.allocLate(0)
	}
	return b, nil
}

// AllocChain implements device.Chainer.
func (d *Device) AllocChain(n int) (*iopage.Buf, error) {
	if d.gone.Load() {
		return nil, device.ErrGone
	}
	b, err := d.conf.Pool.GetChain(0, n)
	if err != nil {
		return d.allocLate(n)
	}
	return b, nil
}

// allocLate looks for pages that the backend is done with.
func (d *Device) allocLate(n int) (*iopage.Buf, error) {
	t := &d.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.gone.Load() || !d.reap() {
		return nil, device.ErrGone
	}
	b, err := d.conf.Pool.GetChain(0, n)
	if err != nil {
		t.arm()
		return nil, device.ErrAgain
	}
	return b, nil
}

// Send implements device.Net.
func (d *Device) Send(frames []device.Frame) (n int, err error) {
	t := &d.tx
	t.mu.Lock()
	defer t.mu.Unlock()
	t.src.Counter, t.src.Arm32 = nil, nil
	if d.gone.Load() {
		return 0, device.ErrGone
	}
	if t.ring.InFlight() >= reapAt && !d.reap() {
		return 0, device.ErrGone
	}
	for n < len(frames) && err == nil {
		if err = d.put(&frames[n]); err == nil {
			n++
		}
	}
	d.flush()
	switch err {
	case device.ErrAgain:
		t.full++
		t.arm()
	case nil, device.ErrGone:
	default:
		t.malformed++
		err = format.Errorf("netfront: %s: frame %d: %w", d.name, n, err)
	}
	return n, err
}

// flush shows the backend what was put. tx.mu is held.
func (d *Device) flush() {
	if d.tx.ring.Flush() && d.tx.live {
		d.tx.kicks++
		d.conf.Gate.Notify(d.tx.port)
	}
}

// put checks a frame and makes its requests.
func (d *Device) put(f *device.Frame) error {
	t := &d.tx
	b := f.Buf
	total, pages, err := measure(b)
	if err != nil {
		return err
	}
	var flags uint16
	var gso abi.Extra
	if f.Meta != (device.Meta{}) {
		var why string
		if flags, gso, why = encode(f.Meta, total, b.Bytes(), d.info.Offload); why != "" {
			return malformed(why)
		}
	}
	if f.GSO == device.GSONone && total > d.info.MTU+etherLen+vlanLen {
		return malformed("larger than the MTU")
	}
	slots := pages + int(flags&abi.TxExtra/abi.TxExtra)
	if t.ring.Room() < slots {
		if err := d.makeRoom(slots); err != nil {
			return err
		}
	}
	if pages > 1 && !t.sg {
		if b, err = d.flatten(b, total); err != nil {
			return err
		}
	}
	d.push(b, total, flags, gso)
	t.frames++
	t.bytes += uint64(total)
	return nil
}

// malformed is what is wrong with a frame to send.
type malformed string

func (m malformed) Error() string { return string(m) }

// measure walks a chain: its bytes and pages.
func measure(b *iopage.Buf) (total, pages int, err error) {
	if b == nil {
		return 0, 0, malformed("no page")
	}
	for ; b != nil; b = b.Next() {
		if pages++; pages > maxTxPages {
			return 0, 0, malformed("too many pages")
		}
		if b.Len() == 0 {
			return 0, 0, malformed("empty page")
		}
		total += b.Len()
	}
	if total < etherLen || total > abi.MaxTxSize {
		return 0, 0, malformed("impossible length")
	}
	return total, pages, nil
}

// push makes a request for each page of a frame; the first one tells the whole
// frame's size. The chain is taken apart, since pages come back one by one.
func (d *Device) push(b *iopage.Buf, total int, flags uint16, gso abi.Extra) {
	t := &d.tx
	size := total
	for b != nil {
		next := b.Next()
		b.SetNext(nil)
		t.nFree--
		id := t.free[t.nFree]
		t.bufs[id] = b
		if next != nil {
			flags |= abi.TxMore
		}
		t.ring.Put(abi.TxRequest{
			Ref:    uint32(d.conf.Pages.IORef(b.Offset())),
			Offset: uint16(b.HeadRoom()),
			Flags:  flags,
			ID:     uint16(id),
			Size:   uint16(size),
		})
		if flags&abi.TxExtra != 0 {
			t.ring.PutExtra(gso)
			t.extras++
		}
		if b, flags = next, 0; b != nil {
			size = b.Len()
		}
	}
}

// flatten copies a chain into one page, for a backend without scatter-gather,
// and releases the chain.
func (d *Device) flatten(b *iopage.Buf, total int) (*iopage.Buf, error) {
	if total > iopage.Size {
		return nil, malformed("larger than a page without scatter-gather")
	}
	flat, err := d.conf.Pool.Get()
	if err != nil {
		d.flush()
		if !d.reap() {
			return nil, device.ErrGone
		}
		if flat, err = d.conf.Pool.Get(); err != nil {
			return nil, device.ErrAgain
		}
	}
	flat.SetWindow(0, total)
	to := flat.Bytes()
	for p := b; p != nil; p = p.Next() {
		to = to[copy(to, p.Bytes()):]
	}
	b.Release()
	return flat, nil
}

// makeRoom looks for slots that the backend is done with, showing it first what
// it has not seen yet.
func (d *Device) makeRoom(slots int) error {
	d.flush()
	if !d.reap() {
		return device.ErrGone
	}
	if d.tx.ring.Room() < slots {
		return device.ErrAgain
	}
	return nil
}

// reap gives the pages of answered requests back to the pool, all at once. It
// answers false when the backend broke the protocol. tx.mu is held.
func (d *Device) reap() bool {
	t := &d.tx
	var done *iopage.Buf
	for range t.ring.Sync() {
		r := t.ring.Next()
		if r.Status == abi.RspNull {
			if t.extras--; t.extras < 0 {
				t.ring.Fail(format.Errorf("transmit: answer to extra info that is not in flight"))
				break
			}
			continue
		}
		if r.ID >= ringSize || t.bufs[r.ID] == nil {
			t.ring.Fail(format.Errorf("transmit: id %d is not in flight", r.ID))
			break
		}
		if r.Status != abi.RspOK {
			t.errors++
		}
		b := t.bufs[r.ID]
		t.bufs[r.ID] = nil
		t.free[t.nFree] = uint8(r.ID)
		t.nFree++
		b.SetNext(done)
		done = b
	}
	if done != nil {
		done.Release()
	}
	if err := t.ring.Err(); err != nil {
		d.fail(err)
		return false
	}
	return true
}

// tryReap is reap on behalf of the receive direction, which must not wait for a
// sender. It says whether it looked.
func (d *Device) tryReap() bool {
	if d.gone.Load() || !d.tx.mu.TryLock() {
		return false
	}
	defer d.tx.mu.Unlock()
	return d.reap()
}

// arm makes src ready at the next response; until then the source is inert, and
// a frame that was sent neither wakes anyone nor raises an event. With nothing
// in flight there is no response to wait for, and pages are someone else's to
// release: src is ready at once then.
func (t *transmitter) arm() {
	t.src.Seen, t.src.Event = uint16(t.ring.Taken()), t.ring.Taken()+1
	t.src.Counter, t.src.Arm32 = t.ring.Counter(), t.ring.Arm()
	if t.ring.InFlight() == 0 {
		t.src.Wake()
	}
}
