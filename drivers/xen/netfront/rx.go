package netfront

import (
	"sync"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/ring"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

const (
	// ringSize is the number of slots of either ring, which fill a page.
	ringSize = 256
	// maxRxPages is the largest number of pages of one frame: a backend may
	// leave the last page of each buffer of its own part full.
	maxRxPages = abi.MinSlots
	// maxExtras is the largest number of extra infos of one frame: one of
	// each kind.
	maxExtras = abi.ExtraMax - 1
	// maxBad is how many malformed frames may come in a row.
	maxBad = 1024
)

// receiver is the receive direction. mu guards all of it but src, whose fields
// change only under mu and on behalf of the goroutine that receives.
//
// Invariant: bufs[s] is the page of slot s exactly while the slot's request is
// with the backend.
type receiver struct {
	mu    sync.Mutex
	ring  ring.Rx
	src   event.Source
	port  xen.Port
	live  bool // the port may be notified
	bufs  [ringSize]*iopage.Buf
	fill  int // pages wanted in the ring
	low   int // pages that never leave it
	lag   int // how many may be missing before a refill is worth its while
	spare int // pages of the pool to leave alone
	bad   int // malformed frames since the last good one
	stats Stats
	batch [batch]*iopage.Buf
	parts [maxRxPages]part // of the frame being received

	held       []*iopage.Buf // pages of former rings that a backend still has
	sweeper    *time.Timer   // looks whether it has given them back
	sweepPause time.Duration
}

// part is one page of a frame, as the backend's response states it, checked.
type part struct {
	slot, off, n uint16
}

// received is a frame as its responses state it.
type received struct {
	entries int // slots that it took
	parts   int
	extras  int
	total   int // bytes
	flags   uint16
	failed  bool // the backend could not copy
	hasGSO  bool
	gso     abi.Extra
}

func (r *receiver) init(c Config) error {
	const least = maxRxPages + maxExtras // or a backend would wait for ever with a large frame
	r.fill, r.low, r.spare = c.RxBuffers, c.RxLow, c.TxReserve
	if r.fill == 0 {
		r.fill = max(least, min(ringSize/2, c.Pool.Len()/4))
	}
	if r.low == 0 {
		r.low = max(least, r.fill/4)
	}
	if r.spare == 0 {
		r.spare = c.Pool.Len() / 8
	}
	switch now, _ := c.Pool.Free(); {
	case r.fill < 0 || r.fill > ringSize:
		return format.Errorf("RxBuffers %d with a ring of %d", r.fill, ringSize)
	case r.low < least || r.low > r.fill:
		return format.Errorf("RxLow %d is not within %d..%d", r.low, least, r.fill)
	case r.spare < 0 || now < r.fill+r.spare:
		return format.Errorf("RxBuffers %d and TxReserve %d with %d free pages", r.fill, r.spare, now)
	}
	// Below low a refill must be worth its while at any rate.
	r.lag = max(1, min(r.fill/8, r.fill-r.low))
	return nil
}

// start makes an empty ring on page.
func (r *receiver) start(page xen.Page) {
	r.ring.Start(page)
	r.bad = 0
}

// offer puts a page into the ring.
func (d *Device) offer(b *iopage.Buf) {
	r := &d.rx
	r.bufs[r.ring.Next()] = b
	r.ring.Offer(d.conf.Pages.IORef(b.Index() * iopage.Size))
}

// refill brings the ring back to its size as far as the pool allows, once enough
// is missing, and tells the backend if it wants to know. It is called with rx.mu
// held.
func (d *Device) refill() {
	r := &d.rx
	asked := false
	for want := r.fill - r.ring.InFlight(); want >= r.lag; want = r.fill - r.ring.InFlight() {
		n := d.conf.Pool.GetBatch(r.batch[:min(want, batch)], r.spare)
		if n == 0 {
			if asked || !d.tryReap() {
				break
			}
			asked = true
		}
		for _, b := range r.batch[:n] {
			d.offer(b)
		}
	}
	if r.ring.Flush() && r.live {
		r.stats.RxKicks++
		d.conf.Gate.Notify(r.port)
	}
}

// Recv implements device.Net.
func (d *Device) Recv(frames []device.Frame) (int, error) {
	r := &d.rx
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.gone.Load() {
		// Only a Wake is worth waiting for: the index is the former backend's,
		// or on its way to zero.
		r.src.Counter = nil
		return 0, device.ErrGone
	}
	// The backend's index is read once, so a backend that is always ahead gets
	// no more than one ring of work per call.
	n, left := 0, r.ring.Sync()
	all := r.ring.Taken() + uint32(left)
	for left > 0 && n < len(frames) {
		took, ok := d.take(&frames[n], left)
		if took == 0 {
			break
		}
		if ok {
			n++
		}
		left -= took
	}
	if err := r.ring.Err(); err != nil {
		d.fail(err)
		if n == 0 {
			return 0, device.ErrGone
		}
		return n, nil
	}
	d.refill()
	// A part of a frame that was left in the ring is nothing to wake up for.
	r.src.Counter, r.src.Seen, r.src.Event = r.ring.Counter(), uint16(r.ring.Taken()), all+1
	if n < len(frames) {
		r.src.Seen = uint16(all)
	}
	if n == 0 {
		return 0, device.ErrAgain
	}
	return n, nil
}

// take receives the next frame, of which left responses are there. It says how
// many of them it took, and whether f is a frame; if it took none, the frame is
// not whole yet or the ring is out of use.
func (d *Device) take(f *device.Frame, left int) (took int, ok bool) {
	r := &d.rx
	w, ok := r.parse(left)
	if !ok {
		return 0, false
	}
	head, spare := r.unhook(&w)
	r.ring.Take(w.entries)
	m, ok := device.Meta{}, w.total >= etherLen && w.total <= maxFrame && !w.failed
	if ok && (w.flags&^abi.RxMore != 0) {
		gso := &w.gso
		if !w.hasGSO {
			gso = nil
		}
		m, ok = decode(w.flags, gso, head.Bytes(), d.info.Offload)
	}
	d.putBack(spare)
	switch {
	case w.failed:
		r.stats.RxErrors++
	case !ok:
		r.stats.RxMalformed++
		if r.bad++; r.bad == maxBad {
			r.ring.Fail(format.Errorf("receive: %d malformed frames in a row", maxBad))
		}
	case r.ring.InFlight() < r.low && !d.more():
		r.stats.RxNoPage++
	default:
		r.bad = 0
		r.stats.RxFrames++
		r.stats.RxBytes += uint64(w.total)
		f.Buf, f.Meta = head, m
		return w.entries, true
	}
	d.putBack(head)
	return w.entries, false
}

// parse reads the responses of one frame, each once, and leaves them in the
// ring. ok is false when the frame is not whole yet, or breaks the protocol.
func (r *receiver) parse(left int) (w received, ok bool) {
	for more := true; more; {
		if w.entries == left {
			return w, false
		}
		e, slot := r.ring.Peek(w.entries)
		rsp := e.Response()
		w.entries++
		if rsp.ID != slot {
			r.ring.Fail(format.Errorf("receive: id %d in slot %d", rsp.ID, slot))
			return w, false
		}
		if !r.part(&w, rsp, slot) {
			return w, false
		}
		if rsp.Flags&abi.RxExtra != 0 && !r.extras(&w, left) {
			return w, false
		}
		more = rsp.Flags&abi.RxMore != 0
	}
	return w, true
}

// part checks one page of a frame.
func (r *receiver) part(w *received, rsp abi.RxResponse, slot uint16) bool {
	n := int(rsp.Status)
	switch {
	case w.parts == maxRxPages:
		r.ring.Fail(format.Errorf("receive: frame of more than %d pages", maxRxPages))
		return false
	case w.parts > 0 && rsp.Flags&abi.RxExtra != 0:
		r.ring.Fail(format.Errorf("receive: extra info in the midst of a frame"))
		return false
	case n < 0:
		w.failed = true
		rsp.Offset, n = 0, 0
	case int(rsp.Offset)+n > iopage.Size:
		r.ring.Fail(format.Errorf("receive: %d bytes at %d of a page", n, rsp.Offset))
		return false
	case n == 0:
		w.total = -maxFrame // malformed, whatever else there is
	}
	if w.parts == 0 {
		w.flags = rsp.Flags
	}
	r.parts[w.parts] = part{slot, rsp.Offset, uint16(n)}
	w.parts++
	w.total += n
	return true
}

// extras reads the extra infos after a frame's first response. Kinds that were
// not asked for are of no interest; one that does not exist makes the frame
// malformed.
func (r *receiver) extras(w *received, left int) bool {
	for {
		if w.entries == left {
			return false
		}
		if w.extras == maxExtras {
			r.ring.Fail(format.Errorf("receive: more than %d extra infos", maxExtras))
			return false
		}
		e, _ := r.ring.Peek(w.entries)
		x := e.Extra()
		w.entries++
		w.extras++
		switch {
		case x.Type == abi.ExtraGSO:
			w.gso, w.hasGSO = x, true
		case x.Type == 0 || x.Type >= abi.ExtraMax:
			w.total = -maxFrame
		}
		if x.Flags&abi.ExtraMore == 0 {
			return true
		}
	}
}

// unhook takes the pages of a frame out of the slots: head is the frame's chain,
// spare that of the pages whose slots extra info has taken. The ring still has
// the responses.
func (r *receiver) unhook(w *received) (head, spare *iopage.Buf) {
	var tail *iopage.Buf
	for _, p := range r.parts[:w.parts] {
		b := r.bufs[p.slot]
		r.bufs[p.slot] = nil
		b.SetWindow(int(p.off), int(p.n))
		if tail == nil {
			head = b
		} else {
			tail.SetNext(b)
		}
		tail = b
	}
	// Extra infos follow the first response.
	for i := range w.extras {
		_, slot := r.ring.Peek(1 + i)
		b := r.bufs[slot]
		r.bufs[slot] = nil
		b.SetNext(spare)
		spare = b
	}
	return head, spare
}

// putBack offers the pages of a chain again.
func (d *Device) putBack(b *iopage.Buf) {
	for b != nil {
		next := b.Next()
		b.SetNext(nil)
		if d.rx.ring.InFlight() < d.rx.fill {
			d.offer(b)
		} else {
			b.Release() // a refill in this burst has taken the place
		}
		b = next
	}
}

// more refills the ring in the midst of a burst and says whether enough is there
// to hand out a frame.
func (d *Device) more() bool {
	d.refill()
	return d.rx.ring.InFlight() >= d.rx.low
}
