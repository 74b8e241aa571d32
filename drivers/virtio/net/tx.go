package virtionet

import (
	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/event"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
	"ampoule/libos/rt/rtabi"
)

// maxTxPages is the largest number of pages of one frame. It bounds the walk
// along a chain, should that have become a circle.
const maxTxPages = rtabi.MaxSubmit

// transmitter is the transmit direction. Device.io guards all of it but src, whose
// fields change only under it and only on behalf of the goroutine that sends.
type transmitter struct {
	q       *virtio.Queue
	src     event.Source
	ids     virtio.Chains
	bufs    [rtabi.MaxQueueSize]*iopage.Buf // by head id
	heads   [rtabi.MaxQueueSize]uint8       // recycle's
	reapAt  int                             // frames in flight that make a look worth its while
	largest int                             // bytes of a frame that is not segmented
	partial bool                            // the device completes partial checksums

	frames, bytes, full, malformed uint64
}

func (t *transmitter) init(q *virtio.Queue, mtu int) {
	t.q, t.largest = q, mtu+etherLen+vlanLen
	t.ids.Init(q.Size())
	t.reapAt = max(1, q.Size()/8)
}

// Alloc implements device.Net.
func (d *Device) Alloc() (*iopage.Buf, error) {
	if d.gone.Load() {
		return nil, device.ErrGone
	}
	b, err := d.pool.Get()
	if err != nil {
		if b, err = d.allocLate(0); err != nil {
			return nil, err
		}
	}
	b.SetWindow(HeadRoom, 0)
	return b, nil
}

// AllocChain implements device.Chainer.
func (d *Device) AllocChain(n int) (*iopage.Buf, error) {
	if d.gone.Load() {
		return nil, device.ErrGone
	}
	b, err := d.pool.GetChain(HeadRoom, n)
	if err != nil {
		return d.allocLate(n)
	}
	return b, nil
}

// allocLate looks for pages that the device is done with.
func (d *Device) allocLate(n int) (*iopage.Buf, error) {
	t := &d.tx
	d.io.Lock()
	defer d.io.Unlock()
	if !d.reap() {
		return nil, device.ErrGone
	}
	b, err := d.pool.GetChain(HeadRoom, n)
	if err != nil {
		t.arm()
		return nil, device.ErrAgain
	}
	return b, nil
}

// Send implements device.Net.
func (d *Device) Send(frames []device.Frame) (int, error) {
	if d.gone.Load() {
		return 0, device.ErrGone
	}
	d.io.Lock()
	n, err := d.send(frames)
	d.io.Unlock()
	if m, ok := err.(malformed); ok {
		err = format.Errorf("virtionet: %s: frame %d: %w", d.name, n, m)
	}
	return n, err
}

// send is Send with io held.
func (d *Device) send(frames []device.Frame) (n int, err error) {
	t := &d.tx
	q := t.q
	if t.src.Counter != nil {
		t.src.Counter, t.src.Arm = nil, nil
	}
	if q.InFlight() >= t.reapAt && !d.reap() {
		return 0, device.ErrGone
	}
	for ; n < len(frames); n++ {
		if t.plain(&frames[n]) {
			continue
		}
		if err = d.put(&frames[n]); err != nil {
			break
		}
	}
	q.Flush()
	t.frames += uint64(n)
	t.count(err)
	return n, err
}

// plain pushes a frame if it is as nearly all are: of one page, where Alloc and Recv
// put it, with at most a partial checksum, and if there is room. It calls nothing, so
// that all it works with stays in registers.
//
//go:nosplit
func (t *transmitter) plain(f *device.Frame) bool {
	q, b := t.q, f.Buf
	if b == nil || b.Next() != nil || b.Tailed() || b.HeadRoom() != headerLen || uint(b.Len()-etherLen) > uint(t.largest-etherLen) ||
		f.GSO != device.GSONone || t.ids.Free() == 0 || q.Full() {
		return false
	}
	h := header{}
	if f.State == device.ChecksumPartial {
		start, offset := uint(f.CsumStart), uint(f.CsumOffset)
		if !t.partial || start-etherLen > uint(b.Len()) || start+offset+2 > uint(b.Len()) {
			return false // put says why not
		}
		h = header{lo: flagNeedsChecksum | uint64(start)<<48, hi: uint32(offset)}
	}
	h.put((*[headerLen]byte)(b.Page()))
	id := t.ids.Take()
	t.bufs[id] = b
	q.StageRoom(id, 0, 0, b.Index()*iopage.Size, uint32(b.Len())+headerLen)
	q.Push(id)
	t.bytes += uint64(b.Len())
	return true
}

// count notes why a Send ended early, and makes src wait if it was for room.
func (t *transmitter) count(err error) {
	switch err {
	case nil, device.ErrGone:
	case device.ErrAgain:
		t.full++
		t.arm()
	default:
		t.malformed++
	}
}

// put checks a frame and pushes it.
func (d *Device) put(f *device.Frame) error {
	t := &d.tx
	b := f.Buf
	total, pages, err := measure(b, len(d.info.Constants))
	if err != nil {
		return err
	}
	var h header
	if f.Meta != (device.Meta{}) {
		var why string
		if h, why = encode(f.Meta, total, d.info.Offload); why != "" {
			return malformed(why)
		}
	}
	if f.GSO == device.GSONone && total > t.largest {
		return malformed("larger than the MTU")
	}
	if t.ids.Free() < pages {
		if err := d.makeRoom(pages); err != nil {
			return err
		}
	}
	h.put((*[headerLen]byte)(b.Page()[b.HeadRoom()-headerLen:]))
	t.push(b, pages)
	t.bytes += uint64(total)
	return nil
}

// malformed is what is wrong with a frame to send.
type malformed string

func (m malformed) Error() string { return string(m) }

// measure walks a chain: its bytes, and the descriptors that they take. There are
// constants bytes that its tail may be of.
func measure(b *iopage.Buf, constants int) (total, pages int, err error) {
	if b == nil || b.HeadRoom() < headerLen {
		return 0, 0, malformed("no head room")
	}
	if off, n := b.Tail(); n > 0 {
		if n > constants || int(off) > constants-n {
			return 0, 0, malformed("tail outside the constants")
		}
		total, pages = n, (n+iopage.Size-1)/iopage.Size
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
	if total < etherLen || total > maxFrame {
		return 0, 0, malformed("impossible length")
	}
	return total, pages, nil
}

// push asks for the descriptors of a frame and makes it available. The first
// one covers the header before the window as well; together they cover what the
// sender wrote and no other byte of the pages, and the tail, in pieces as long as the
// gate allows. There are at most maxTxPages, so that one submission has room for them.
func (t *transmitter) push(b *iopage.Buf, pages int) {
	if t.q.SubmitRoom() < pages {
		t.q.Submit()
	}
	head := t.ids.Take()
	t.bufs[head] = b
	id, off, n := head, b.Offset()-headerLen, uint32(b.Len())+headerLen
	at, left := b.Tail()
	for b = b.Next(); b != nil; b = b.Next() {
		next := t.ids.Extend(head, id)
		t.q.StageRoom(id, next, rtabi.DescNext, off, n)
		id, off, n = next, b.Offset(), uint32(b.Len())
	}
	for at += rtabi.ConstOffset; left > 0; left -= iopage.Size {
		next := t.ids.Extend(head, id)
		t.q.StageRoom(id, next, rtabi.DescNext, off, n)
		id, off, n = next, at, uint32(min(left, iopage.Size))
		at += n
	}
	t.q.StageRoom(id, 0, 0, off, n)
	t.q.Push(head)
}

// makeRoom looks for descriptors that the device is done with, showing it first
// what it has not seen yet.
func (d *Device) makeRoom(pages int) error {
	t := &d.tx
	if pages > t.q.Size() {
		return malformed("more pages than the queue has entries")
	}
	t.q.Flush()
	if !d.reap() {
		return device.ErrGone
	}
	if t.ids.Free() < pages {
		return device.ErrAgain
	}
	return nil
}

// reap gives the pages of completed frames back to the pool, all at once. It
// answers false when the device broke the protocol. io is held.
func (d *Device) reap() bool {
	t := &d.tx
	q := t.q
	var done *iopage.Buf
	for range q.Sync() {
		id, _, ok := q.Next()
		if !ok {
			q.FailEntry(id)
			break
		}
		b := t.bufs[uint8(id)]
		t.ids.Put(uint8(id))
		if b.Next() == nil {
			b.SetNext(done)
		} else {
			last(b).SetNext(done)
		}
		done = b
	}
	if done != nil {
		done.Release()
	}
	if err := q.Err(); err != nil {
		d.fail(err, 1)
		return false
	}
	return true
}

// last is the last page of a chain.
func last(b *iopage.Buf) *iopage.Buf {
	for b.Next() != nil {
		b = b.Next()
	}
	return b
}

// arm makes src ready at the next completion; until then the source is inert,
// and a completed frame neither wakes anyone nor raises an interrupt. With
// nothing in flight there is no completion to wait for, and pages are someone
// else's to release: src is ready at once then.
func (t *transmitter) arm() {
	t.src.Seen = t.q.Taken()
	t.src.Counter = t.q.Ring().UsedIndex()
	if t.q.EventIndex() {
		t.src.Arm = t.q.Ring().UsedEvent()
	}
	if t.q.InFlight() == 0 {
		t.src.Wake()
	}
}
