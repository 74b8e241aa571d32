package virtionet

import (
	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// maxRxPages is the largest number of buffers of one frame.
const maxRxPages = (headerLen + maxFrame + iopage.Size - 1) / iopage.Size

// receiver is the receive direction. Device.io guards all of it but src.
//
// Each descriptor names one whole page. Invariant: idOf[p] == id+1 exactly if
// bufs[id] has index p, and then the gate has been asked to point descriptor id
// at page p. A page that is not in the ring has, if any, an id that is not in
// flight.
type receiver struct {
	q       *virtio.Queue
	src     event.Source
	bufs    [rtabi.MaxQueueSize]*iopage.Buf
	idOf    []uint16 // by page
	hand    uint8    // where the search for a free id goes on
	partial uint64   // flagNeedsChecksum if the offload was negotiated
	fill    int      // pages wanted in the ring
	low     int      // pages that never leave it
	lag     int      // how many may be missing before a refill is worth its while
	spare   int      // pages of the pool to leave alone
	batch   [batch]*iopage.Buf

	frames, bytes, malformed, noPage uint64
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
		return format.Errorf("RxBuffers %d with a queue of %d", r.fill, n)
	case r.low < least || r.low > r.fill:
		return format.Errorf("RxLow %d is not within %d..%d", r.low, least, r.fill)
	case r.spare < 0 || now < r.fill+r.spare:
		return format.Errorf("RxBuffers %d and TxReserve %d with %d free pages", r.fill, r.spare, now)
	}
	// Below low a refill must be worth its while at any rate.
	r.lag = max(1, min(r.fill/8, r.fill-r.low))
	r.idOf = make([]uint16, pool.Len())
	r.src.Counter = q.Ring().UsedIndex()
	if q.EventIndex() {
		r.src.Arm = q.Ring().UsedEvent()
	}
	return nil
}

// takeFree takes the free id that the hand comes to next: about the one that
// was freed longest ago, whose page is the least likely to come back soon. There
// is one, since the ring never holds more than fill pages and the caller is
// about to add one of them.
func (r *receiver) takeFree() uint8 {
	last := uint8(r.q.Size() - 1)
	for range r.q.Size() {
		id := r.hand & last
		r.hand++
		if !r.q.Busy(id) {
			return id
		}
	}
	panic("virtionet: more pages in the receive ring than it has entries")
}

// offer puts a page into the ring. If a descriptor still names the page, the
// gate has nothing to do.
func (r *receiver) offer(b *iopage.Buf) {
	if at := r.idOf[b.Index()]; at != 0 {
		r.q.Push(uint8(at - 1))
	} else {
		r.bind(b)
	}
}

// bind is offer for a page that no descriptor names.
func (r *receiver) bind(b *iopage.Buf) {
	id, p := r.takeFree(), b.Index()
	if old := r.bufs[id]; old != nil {
		r.idOf[old.Index()] = 0
	}
	r.bufs[id], r.idOf[p] = b, uint16(id)+1
	r.q.Stage(id, 0, rtabi.DescWrite, p*iopage.Size, iopage.Size)
	r.q.Push(id)
}

// refill brings the ring back to its size as far as the pool allows, once
// enough is missing. It is called with io held, or before the device is
// known to anyone.
func (d *Device) refill() {
	r := &d.rx
	q := r.q
	asked := false
	for want := r.fill - q.InFlight(); want >= r.lag; want = r.fill - q.InFlight() {
		n := d.pool.GetBatch(r.batch[:min(want, batch)], r.spare)
		if n == 0 {
			if asked || !d.reap() {
				break
			}
			asked = true
		}
		for _, b := range r.batch[:n] {
			r.offer(b)
		}
	}
	q.Flush()
}

// Recv implements device.Net.
func (d *Device) Recv(frames []device.Frame) (int, error) {
	if d.gone.Load() {
		return 0, device.ErrGone
	}
	r := &d.rx
	d.io.Lock()
	n, seen := d.recv(frames)
	if err := r.q.Err(); err != nil {
		d.io.Unlock()
		d.fail(err, 1)
		if n == 0 {
			return 0, device.ErrGone
		}
		return n, nil
	}
	if seen {
		d.refill()
		r.src.Seen = r.q.Taken()
	}
	d.io.Unlock()
	if n == 0 {
		return 0, device.ErrAgain
	}
	return n, nil
}

// recv takes frames until there are no more, or the device breaks the protocol.
// It says how many there are, and whether any buffer came back.
//
// The device's index is read once, so a device that is always ahead gets no more
// than one ring of work per call.
func (d *Device) recv(frames []device.Frame) (n int, seen bool) {
	r := &d.rx
	q := r.q
	left := q.Sync()
	if left == 0 {
		return 0, false
	}
	for left > 0 && n < len(frames) {
		if r.plain(&frames[n]) {
			n, left = n+1, left-1
			continue
		}
		took, ok := d.next(&frames[n], left)
		if left -= took; took == 0 {
			break
		}
		if ok {
			n++
		}
	}
	r.frames += uint64(n)
	return n, true
}

// next goes on with the next of left used buffers, and says how many it took and
// whether f is a frame now. If it took none, the device is out of use.
func (d *Device) next(f *device.Frame, left int) (took int, ok bool) {
	r := &d.rx
	id, size, ok := r.q.Next()
	if !ok {
		r.q.FailEntry(id)
		return 0, false
	}
	b := r.bufs[uint8(id)]
	h := loadHeader((*[headerLen]byte)(b.Page()))
	return d.take(f, b, h, size, left)
}

// plain takes the next used buffer if it is a frame as nearly all are: alone, not
// segmented, with at most a partial checksum, and not the last that there are. It
// calls nothing, so that all it works with stays in registers.
//
//go:nosplit
func (r *receiver) plain(f *device.Frame) bool {
	q := r.q
	id, size, ok := q.Peek()
	if !ok || size-minSize > iopage.Size-minSize || q.InFlight() <= r.low {
		return false
	}
	b := r.bufs[uint8(id)]
	h := loadHeader((*[headerLen]byte)(b.Page()))
	kind, start, offset := h.lo&0xffff, uint16(h.lo>>48), uint16(h.hi)
	if kind == 0 {
		start, offset = 0, 0
	} else if kind != r.partial || start < etherLen || uint32(start)+uint32(offset)+2+headerLen > size {
		return false
	}
	if h.buffers() != 1 {
		return false
	}
	q.Take(uint8(id))
	b.SetWindow(headerLen, int(size)-headerLen)
	f.Buf = b
	f.State, f.GSO, f.CsumStart, f.CsumOffset = device.ChecksumState(kind), device.GSONone, start, offset
	f.HeaderLen, f.SegmentSize = 0, 0
	r.bytes += uint64(size) - headerLen
	return true
}

// A partial checksum has the same number in a header and in a Frame.
var _ [flagNeedsChecksum - device.ChecksumPartial]struct{} = [0]struct{}{}

// minSize is the used length of the smallest frame.
const minSize = headerLen + etherLen

// take goes on with a frame of which the first of left used buffers, b with size
// bytes, was taken: one that is large, has metadata, or is not to be handed out.
// It says how many of the buffers the frame has, and whether f is it; if they
// are 0, the device is out of use.
func (d *Device) take(f *device.Frame, b *iopage.Buf, h header, size uint32, left int) (took int, ok bool) {
	r := &d.rx
	if size < headerLen || size > iopage.Size {
		r.q.Fail(format.Errorf("receive: used length %d of a buffer of %d", size, iopage.Size))
		return 0, false
	}
	b.SetWindow(headerLen, int(size)-headerLen)
	total, pages := int(size)-headerLen, 1
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
		r.q.Fail(format.Errorf("receive: num_buffers %d with %d used", pages, left))
		return 0, false
	}
	for range pages - 1 {
		id, n, ok := r.q.Next()
		if !ok {
			r.q.FailEntry(id)
			return 0, false
		}
		if n == 0 || n > iopage.Size {
			r.q.Fail(format.Errorf("receive: used length %d of a further buffer of %d", n, iopage.Size))
			return 0, false
		}
		next := r.bufs[uint8(id)]
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
		r.malformed++
	case r.q.InFlight() < r.low && !d.more():
		r.noPage++
	default:
		r.bytes += uint64(total)
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
