package virtio

import (
	"sync/atomic"

	"ampoule/libos/format"
	"ampoule/libos/rt/rtabi"
)

// usedNoNotify is VIRTQ_USED_F_NO_NOTIFY (virtio 1.2, section 2.7.8).
const usedNoNotify = 1

// Queue is the driver's side of one split virtqueue (virtio 1.2, section 2.7).
//
// To give buffers to the device: Stage a descriptor for each part whose
// descriptor is not yet what it should be, Push the head of each chain, Flush
// once. To take them back: Sync once, then Next up to as often as Sync said.
//
// The owner chooses descriptor ids, and which descriptor belongs to which
// chain; see Chains for an allocator. Nothing here allocates or blocks before
// the device breaks the protocol. Methods that run once a frame are small
// enough for the compiler to inline.
type Queue struct {
	ring     Ring
	avail    uint16 // available entries written, modulo 2^16
	public   uint16 // of those, entries that the device has been shown
	taken    uint16 // used entries taken
	eventIdx bool
	staged   int // Descs in the submission area

	busy [rtabi.MaxQueueSize]bool // by head id: in flight; only of ids below the size

	gate         Gate
	id           uint32 // at the gate
	posts, kicks uint64
	err          error // why the queue is out of use
}

// NewQueue takes over virtqueue i of a device, as boot left it: no entry
// available yet.
func NewQueue(t Transport, i int) (*Queue, error) {
	if t.Features()&FeatureVersion1 == 0 {
		return nil, format.Errorf("virtio: device of kind %d is a legacy one: features %#x", t.DeviceID(), t.Features())
	}
	ring, id, err := t.Queue(i)
	if err != nil {
		return nil, err
	}
	q := &Queue{ring: ring, gate: t.Gate(), id: id, eventIdx: t.Features()&FeatureEventIndex != 0}
	q.ring.publish(0)
	return q, nil
}

// Ring is the queue's shared page.
func (q *Queue) Ring() *Ring { return &q.ring }

// Size is the number of entries, and of descriptors.
func (q *Queue) Size() int { return q.ring.Size() }

// EventIndex says that the device honours Ring.UsedEvent.
func (q *Queue) EventIndex() bool { return q.eventIdx }

// Taken is the number of used entries taken, modulo 2^16: the Seen of an event
// source on Ring.UsedIndex.
func (q *Queue) Taken() uint16 { return q.taken }

// InFlight is the number of chains pushed and not taken back.
func (q *Queue) InFlight() int { return int(q.avail - q.taken) }

// Busy says whether the chain with this head is in flight.
func (q *Queue) Busy(head uint8) bool { return q.busy[head] }

// Counters says how many Posts and Notifies the queue has made.
func (q *Queue) Counters() (posts, kicks uint64) { return q.posts, q.kicks }

// Err says what the device did to put the queue out of use, or is nil.
func (q *Queue) Err() error { return q.err }

// Fail puts the queue out of use: what the device did breaks the protocol in a
// way that only the driver can see. The first reason stays.
func (q *Queue) Fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

// Stage asks the gate, at the latest with the next Flush, to write descriptor id:
// n bytes at off of the I/O region, then flags and next as in rtabi.Desc. The
// descriptor must not be with the device. A mistake is a broken invariant: the
// gate answers it by ending the VM.
func (q *Queue) Stage(id, next uint8, flags uint16, off, n uint32) {
	if q.Full() {
		q.Submit()
	}
	q.StageRoom(id, next, flags, off, n)
}

// StageRoom is Stage for a caller that has seen to it that the submission area
// is not Full; it panics if it is. It is inlined, which Stage is not.
func (q *Queue) StageRoom(id, next uint8, flags uint16, off, n uint32) {
	// Field by field: the compiler would build a whole Desc on the stack first.
	d := &q.ring.submit[q.staged]
	d.ID, d.Next, d.Flags, d.Offset, d.Len = uint16(id), uint16(next), flags, off, n
	q.staged++
}

// Full says that the submission area has no room.
func (q *Queue) Full() bool { return q.staged == rtabi.MaxSubmit }

// SubmitRoom is how many descriptors may be staged until the area is Full.
func (q *Queue) SubmitRoom() int { return rtabi.MaxSubmit - q.staged }

// Submit has the gate write the descriptors that are staged.
//
//go:noinline
func (q *Queue) Submit() {
	q.gate.Post(q.id, q.staged)
	q.staged = 0
	q.posts++
}

// Push makes the chain that starts at descriptor head available with the next
// Flush. Pushing a head that is in flight is a broken invariant and panics.
func (q *Queue) Push(head uint8) {
	if q.busy[head] || head > q.ring.mask {
		panic("virtio: head pushed twice, or not of this queue")
	}
	q.busy[head] = true
	q.ring.avail[uint8(q.avail)&q.ring.mask] = uint16(head)
	q.avail++
}

// PushLast is Push for requests whose end is not seen by Sync and Next, which nobody
// will call any more. It neither panics nor asks whether the head is in flight.
func (q *Queue) PushLast(head uint8) {
	q.ring.avail[uint8(q.avail)&q.ring.mask] = uint16(head)
	q.avail++
}

// Pending says whether Flush would show the device anything.
func (q *Queue) Pending() bool { return q.avail != q.public }

// Flush shows the device all that was pushed: one Post if descriptors are
// staged, one store of the index, and one Notify unless the device said that it
// looks anyway (virtio 1.2, section 2.7.13); or one Give for all of it.
func (q *Queue) Flush() {
	from, to, staged := q.public, q.avail, q.staged
	if staged == 0 || to == from || !q.eventIdx {
		q.flush()
		return
	}
	q.public, q.staged = to, 0
	q.posts++
	if q.gate.Give(q.id, staged, to, from) {
		q.kicks++
	}
}

// flush is Flush by several calls of the gate, or none.
func (q *Queue) flush() {
	from := q.public
	q.public = q.avail
	if q.staged != 0 {
		q.Submit()
	}
	if q.avail == from {
		return
	}
	q.ring.publish(q.avail)
	if q.wanted(from) {
		q.kicks++
		q.gate.Notify(q.id)
	}
}

// wanted says whether the device wants to be notified of the entries from
// index from to q.public. It must come after publish.
func (q *Queue) wanted(from uint16) bool {
	if q.eventIdx {
		return q.public-q.ring.loadEvent()-1 < q.public-from
	}
	flags, _ := q.ring.loadUsed()
	return flags&usedNoNotify == 0
}

// Sync says how many used entries Next may take: it loads the device's index
// once. An index that is ahead of what the device was given puts the queue out
// of use. It answers 0 for a queue that is out of use.
func (q *Queue) Sync() int {
	_, idx := q.ring.loadUsed()
	n := idx - q.taken
	if n > q.avail-q.taken || q.err != nil {
		return q.jumped(n)
	}
	return int(n)
}

// Ahead is Sync, inlined: it is good if ok, else Sync is to be asked.
func (q *Queue) Ahead() (n int, ok bool) {
	_, idx := q.ring.loadUsed()
	ahead := idx - q.taken
	return int(ahead), ahead <= q.avail-q.taken && q.err == nil
}

// jumped is Sync for an index that is n ahead, which is too much, or for a queue that is
// out of use.
func (q *Queue) jumped(n uint16) int {
	if q.err == nil {
		q.Fail(format.Errorf("virtio: queue %d: used index jumped by %d with %d in flight", q.id, n, q.InFlight()))
	}
	return 0
}

// Next takes one used entry: the head of a chain that came back, and the number
// of bytes that the device says it wrote. It must not be called more often than
// the last Sync said. ok is false when the entry names no chain that is in
// flight: the caller must answer by FailEntry with id.
func (q *Queue) Next() (id, n uint32, ok bool) {
	if id, n, ok = q.Peek(); ok {
		q.Take(uint8(id))
	}
	return id, n, ok
}

// Peek is Next, but leaves the entry where it is: Take with id takes it. The device
// may change it between two Peeks.
func (q *Queue) Peek() (id, n uint32, ok bool) {
	e := &q.ring.used[uint8(q.taken)&q.ring.mask]
	id, n = atomic.LoadUint32(&e.id), atomic.LoadUint32(&e.n)
	return id, n, id < rtabi.MaxQueueSize && q.busy[uint8(id)]
}

// Take takes the used entry whose head Peek has just returned.
func (q *Queue) Take(head uint8) {
	q.busy[head] = false
	q.taken++
}

// TakeAll is Next for up to len(heads) entries, of which it takes the heads only and
// returns their number. An entry that names no chain in flight ends it and puts the
// queue out of use.
//
//go:nosplit
func (q *Queue) TakeAll(heads []uint8) (n int) {
	used, mask, taken := q.ring.used, q.ring.mask, q.taken
	var id uint32
	for n < len(heads) {
		id = atomic.LoadUint32(&used[uint8(taken)&mask].id)
		if id >= rtabi.MaxQueueSize || !q.busy[id] {
			break
		}
		q.busy[id] = false
		heads[n] = uint8(id)
		n++
		taken++
	}
	q.taken = taken
	if n < len(heads) {
		q.FailEntry(id)
	}
	return n
}

// PushAll is Push for each of heads.
func (q *Queue) PushAll(heads []uint8) {
	avail, mask, at := q.ring.avail, q.ring.mask, q.avail
	for _, head := range heads {
		if q.busy[head] || head > mask {
			panic("virtio: head pushed twice, or not of this queue")
		}
		q.busy[head] = true
		avail[uint8(at)&mask] = uint16(head)
		at++
	}
	q.avail = at
}

// FailEntry puts the queue out of use for an entry that Next refused.
func (q *Queue) FailEntry(id uint32) {
	q.Fail(format.Errorf("virtio: queue %d: used id %d of %d is not in flight", q.id, id, q.Size()))
}
