package virtionet

import (
	"fmt"
	"math/bits"
	"sync"

	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// maxRxPages is the largest number of buffers of one frame.
const maxRxPages = (headerLen + maxFrame + iopage.Size - 1) / iopage.Size

// receiver is the receive direction. mu guards all of it but src.
//
// Each descriptor names one whole page. Invariant: idOf[p] == id+1 exactly if
// bufs[id] has index p, and then the gate has been asked to point descriptor id
// at page p. An id is either in free or in flight; a page that is not in the
// ring has, if any, an id that is free.
type receiver struct {
	mu    sync.Mutex
	q     *virtio.Queue
	src   event.Source
	bufs  [rtabi.MaxQueueSize]*iopage.Buf
	idOf  []uint16 // by page
	free  [rtabi.MaxQueueSize / 64]uint64
	hand  uint8 // where the search for a free id goes on
	fill  int   // pages wanted in the ring
	low   int   // pages that never leave it
	lag   int   // how many may be missing before a refill is worth its while
	spare int   // pages of the pool to leave alone
	stats Stats // the Rx fields
	batch [batch]*iopage.Buf
}

func (r *receiver) init(q *virtio.Queue, pool *iopage.Pool, c Config, large bool) error {
	n := q.Size()
	r.q, r.fill, r.low, r.spare = q, c.RxBuffers, c.RxLow, c.TxReserve
	least := 1
	if large {
		least = maxRxPages // or a device would wait for ever with a large frame
	}
	if r.fill == 0 {
		r.fill = max(least, min(n/2, pool.Len()/4))
	}
	if r.low == 0 {
		r.low = max(least, r.fill/4)
	}
	if r.spare == 0 {
		r.spare = pool.Len() / 8
	}
	switch now, _ := pool.Free(); {
	case r.fill < 0 || r.fill > n:
		return fmt.Errorf("RxBuffers %d with a queue of %d", r.fill, n)
	case r.low < least || r.low > r.fill:
		return fmt.Errorf("RxLow %d is not within %d..%d", r.low, least, r.fill)
	case r.spare < 0 || now < r.fill+r.spare:
		return fmt.Errorf("RxBuffers %d and TxReserve %d with %d free pages", r.fill, r.spare, now)
	}
	// Below low a refill must be worth its while at any rate.
	r.lag = max(1, min(r.fill/8, r.fill-r.low))
	r.idOf = make([]uint16, pool.Len())
	for id := range n {
		r.setFree(uint8(id))
	}
	r.src.Counter = q.Ring().UsedIndex()
	if q.EventIndex() {
		r.src.Arm = q.Ring().UsedEvent()
	}
	return nil
}

func (r *receiver) setFree(id uint8)   { r.free[id>>6] |= 1 << (id & 63) }
func (r *receiver) clearFree(id uint8) { r.free[id>>6] &^= 1 << (id & 63) }

// takeFree takes the free id that the hand comes to next: about the one that
// was freed longest ago, whose page is the least likely to come back soon. There
// is one, since the ring never holds more than fill pages and the caller is
// about to add one of them.
func (r *receiver) takeFree() uint8 {
	w := r.hand >> 6
	m := r.free[w] &^ (1<<(r.hand&63) - 1)
	for range len(r.free) {
		if m != 0 {
			break
		}
		w = (w + 1) % uint8(len(r.free))
		m = r.free[w]
	}
	id := w<<6 | uint8(bits.TrailingZeros64(m))
	r.hand = id + 1
	r.clearFree(id)
	return id
}

// offer puts a page into the ring. If a descriptor still names the page, the
// gate has nothing to do.
func (r *receiver) offer(b *iopage.Buf) {
	p := b.Index()
	if at := r.idOf[p]; at != 0 {
		id := uint8(at - 1)
		r.clearFree(id)
		r.q.Push(id)
		return
	}
	id := r.takeFree()
	if old := r.bufs[id]; old != nil {
		r.idOf[old.Index()] = 0
	}
	r.bufs[id], r.idOf[p] = b, uint16(id)+1
	r.q.Stage(rtabi.Desc{ID: uint16(id), Flags: rtabi.DescWrite, Offset: p * iopage.Size, Len: iopage.Size})
	r.q.Push(id)
}

// refill brings the ring back to its size as far as the pool allows, once
// enough is missing. It is called with rx.mu held, or before the device is
// known to anyone.
func (d *Device) refill() {
	r := &d.rx
	asked := false
	for want := r.fill - r.q.InFlight(); want >= r.lag; want = r.fill - r.q.InFlight() {
		n := d.pool.GetBatch(r.batch[:min(want, batch)], r.spare)
		if n == 0 {
			if asked || !d.tryReap() {
				break
			}
			asked = true
		}
		for _, b := range r.batch[:n] {
			r.offer(b)
		}
	}
	r.q.Flush()
}

// Recv implements device.Net.
func (d *Device) Recv(frames []device.Frame) (int, error) {
	if d.gone.Load() {
		return 0, device.ErrGone
	}
	r := &d.rx
	r.mu.Lock()
	defer r.mu.Unlock()
	// The device's index is read once, so a device that is always ahead gets no
	// more than one ring of work per call.
	n := 0
	for left := r.q.Sync(); left > 0 && n < len(frames); {
		took, ok := d.take(&frames[n], left)
		if ok {
			n++
		}
		if left -= took; took == 0 {
			break
		}
	}
	if err := r.q.Err(); err != nil {
		d.fail(err, 1)
		if n == 0 {
			return 0, device.ErrGone
		}
		return n, nil
	}
	d.refill()
	r.src.Seen = r.q.Taken()
	if n == 0 {
		return 0, device.ErrAgain
	}
	return n, nil
}

// take receives the next frame, of which left used entries are there. It says
// how many of them it took, and whether f is a frame; if it took none, the
// device is out of use.
func (d *Device) take(f *device.Frame, left int) (took int, ok bool) {
	r := &d.rx
	id, n, ok := r.q.Next()
	if !ok {
		return 0, false
	}
	r.setFree(id)
	b := r.bufs[id]
	if n < headerLen || n > iopage.Size {
		r.q.Fail(fmt.Errorf("receive: used length %d of a buffer of %d", n, iopage.Size))
		return 0, false
	}
	h := loadHeader((*[headerLen]byte)(b.Page()))
	b.SetWindow(headerLen, int(n)-headerLen)
	total, pages := int(n)-headerLen, 1
	if d.large && h.buffers() != 1 {
		pages = int(h.buffers())
		rest, ok := r.takeRest(b, pages, left)
		if !ok {
			return 0, false
		}
		total += rest
	}
	return pages, d.accept(f, b, h, total, pages)
}

// takeRest chains the further pages of a frame of the given number to b, and
// says how many bytes they hold. The device must have used them all before it
// moved its index past the first (virtio 1.2, section 5.1.6.4).
func (r *receiver) takeRest(b *iopage.Buf, pages, left int) (total int, ok bool) {
	if pages == 0 || pages > maxRxPages || pages > left {
		r.q.Fail(fmt.Errorf("receive: num_buffers %d with %d used", pages, left))
		return 0, false
	}
	for range pages - 1 {
		id, n, ok := r.q.Next()
		if !ok {
			return 0, false
		}
		r.setFree(id)
		if n == 0 || n > iopage.Size {
			r.q.Fail(fmt.Errorf("receive: used length %d of a further buffer of %d", n, iopage.Size))
			return 0, false
		}
		next := r.bufs[id]
		next.SetWindow(0, int(n))
		b.SetNext(next)
		b = next
		total += int(n)
	}
	return total, true
}

// accept fills in f, or gives the pages back to the ring and counts why: the
// frame is malformed, or there is no page to replace its own.
func (d *Device) accept(f *device.Frame, b *iopage.Buf, h header, total, pages int) bool {
	r := &d.rx
	var m device.Meta
	ok := total >= etherLen && total <= maxFrame
	if ok && !h.plain() {
		m, ok = h.decode(total, d.info.Offload)
	}
	switch {
	case !ok:
		r.stats.RxMalformed++
	case r.q.InFlight() < r.low && !d.more():
		r.stats.RxNoPage++
	default:
		r.stats.RxFrames++
		r.stats.RxBytes += uint64(total)
		f.Buf, f.Meta = b, m
		return true
	}
	for range pages {
		next := b.Next()
		b.SetNext(nil)
		if r.q.InFlight() < r.fill {
			r.offer(b)
		} else {
			b.Release() // a refill in this burst has taken the place
		}
		b = next
	}
	return false
}

// more refills the ring in the midst of a burst and says whether enough is
// there to hand out a frame.
func (d *Device) more() bool {
	d.refill()
	return d.rx.q.InFlight() >= d.rx.low
}
