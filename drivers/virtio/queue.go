package virtio

import (
	"fmt"

	"ampoule/libos/rt/rtabi"
)

// Flags of the two rings (virtio 1.2, sections 2.7.6 and 2.7.8).
const usedNoNotify = 1

// Queue is the driver's side of one split virtqueue (virtio 1.2, section 2.7).
//
// To give buffers to the device: Stage a descriptor for each part whose
// descriptor is not yet what it should be, Push the head of each chain, Flush
// once. To take them back: Sync once, then Next up to as often as Sync said.
//
// The owner chooses descriptor ids, and which descriptor belongs to which
// chain; see Chains for an allocator. Nothing here allocates or blocks.
type Queue struct {
	ring     Ring
	gate     Gate
	id       uint32 // at the gate
	eventIdx bool

	avail  uint16 // available entries written, modulo 2^16
	public uint16 // of those, entries that the device has been shown
	taken  uint16 // used entries taken
	flight uint16 // heads that are with the device, or pushed and not yet flushed
	staged int    // Descs in the submission area

	posts, kicks uint64
	err          error // why the queue is out of use

	busy [rtabi.MaxQueueSize]bool // by head id: counted in flight
}

// NewQueue takes over virtqueue i of a device, as boot left it: no entry
// available yet.
func NewQueue(t Transport, i int) (*Queue, error) {
	if t.Features()&FeatureVersion1 == 0 {
		return nil, fmt.Errorf("virtio: device of kind %d is a legacy one: features %#x", t.DeviceID(), t.Features())
	}
	ring, id, err := t.Queue(i)
	if err != nil {
		return nil, err
	}
	q := &Queue{ring: ring, gate: t, id: id, eventIdx: t.Features()&FeatureEventIndex != 0}
	q.ring.publish(0)
	return q, nil
}

// Ring is the queue's shared page.
func (q *Queue) Ring() Ring { return q.ring }

// Size is the number of entries, and of descriptors.
func (q *Queue) Size() int { return int(q.ring.size) }

// EventIndex says that the device honours Ring.UsedEvent.
func (q *Queue) EventIndex() bool { return q.eventIdx }

// Taken is the number of used entries taken, modulo 2^16: the Seen of an event
// source on Ring.UsedIndex.
func (q *Queue) Taken() uint16 { return q.taken }

// InFlight is the number of chains pushed and not taken back.
func (q *Queue) InFlight() int { return int(q.flight) }

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

// Stage asks the gate, at the latest with the next Flush, to write descriptor
// d.ID. The descriptor must not be with the device. A mistake in d is a broken
// invariant: the gate answers it by ending the VM.
func (q *Queue) Stage(d rtabi.Desc) {
	q.ring.setDesc(q.staged, d)
	if q.staged++; q.staged == rtabi.MaxSubmit {
		q.post()
	}
}

func (q *Queue) post() {
	q.gate.Post(q.id, q.staged)
	q.staged = 0
	q.posts++
}

// Push makes the chain that starts at descriptor head available with the next
// Flush. Pushing a head that is in flight is a broken invariant and panics.
func (q *Queue) Push(head uint8) {
	if q.busy[head] || uint16(head) >= q.ring.size {
		panic("virtio: head pushed twice, or not of this queue")
	}
	q.busy[head] = true
	q.ring.setAvail(q.avail, uint16(head))
	q.avail++
	q.flight++
}

// Flush shows the device all that was pushed: one Post if descriptors are
// staged, one store of the index, and one Notify unless the device said that it
// looks anyway (virtio 1.2, section 2.7.13).
func (q *Queue) Flush() {
	if q.staged != 0 {
		q.post()
	}
	if q.avail == q.public {
		return
	}
	from := q.public
	q.public = q.avail
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
		return q.public-q.ring.availEvent()-1 < q.public-from
	}
	flags, _ := q.ring.usedIndex()
	return flags&usedNoNotify == 0
}

// Sync says how many used entries Next may take: it loads the device's index
// once. An index that is ahead of what the device was given puts the queue out
// of use. It answers 0 for a queue that is out of use.
func (q *Queue) Sync() int {
	_, idx := q.ring.usedIndex()
	n := idx - q.taken
	if n > q.flight {
		q.Fail(fmt.Errorf("virtio: queue %d: used index jumped by %d with %d in flight", q.id, n, q.flight))
	}
	if q.err != nil {
		return 0
	}
	return int(n)
}

// Next takes one used entry: the head of a chain that came back, and the number
// of bytes that the device says it wrote. It must not be called more often than
// the last Sync said. ok is false, and the queue out of use, when the entry
// names no chain that is in flight.
func (q *Queue) Next() (head uint8, n uint32, ok bool) {
	id, n := q.ring.usedEntry(q.taken)
	if id >= uint32(q.ring.size) || !q.busy[uint8(id)] {
		q.Fail(fmt.Errorf("virtio: queue %d: used id %d of %d is not in flight", q.id, id, q.ring.size))
		return 0, 0, false
	}
	q.busy[uint8(id)] = false
	q.taken++
	q.flight--
	return uint8(id), n, true
}
