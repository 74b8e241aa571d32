package virtiotest

import (
	"fmt"

	"ampoule/libos/rt/rtabi"
)

// Queue is the device's end of a virtqueue.
type Queue struct {
	ID   uint32 // at the gate
	Size int
	Kick func() // runs within the driver's notify, if not nil

	Posts, Descs, Kicks int // gate calls, and descriptors written by them
	Interrupts          int // that the device would have raised

	m        *Machine
	page     []byte
	table    []rtabi.Desc
	eventIdx bool
	readOnly bool   // no descriptor is for the device to write
	avail    uint16 // entries taken
	used     uint16 // entries written
	flags    uint32 // of the used ring
}

// Offsets of the rings' parts (virtio 1.2, sections 2.7.6 and 2.7.8).
func (q *Queue) availAt(slot uint16) int { return rtabi.QueueAvailOff + 4 + 2*(int(slot)%q.Size) }
func (q *Queue) usedAt(slot uint16) int  { return rtabi.QueueUsedOff + 4 + 8*(int(slot)%q.Size) }
func (q *Queue) usedEventAt() int        { return rtabi.QueueAvailOff + 4 + 2*q.Size }
func (q *Queue) availEventAt() int       { return rtabi.QueueUsedOff + 4 + 8*q.Size }

// AvailIndex is what the driver has made available, modulo 2^16.
func (q *Queue) AvailIndex() uint16 { return uint16(load(q.page, rtabi.QueueAvailOff) >> 16) }

// UsedIndex is what the device has completed, modulo 2^16.
func (q *Queue) UsedIndex() uint16 { return q.used }

// Pending is the number of chains that Next can give.
func (q *Queue) Pending() int { return int(q.AvailIndex() - q.avail) }

// Next takes the head of the next available chain. With the event index it asks
// for a notification of the entry after those it has seen, as a device does that
// is about to wait.
func (q *Queue) Next() (head uint16, ok bool) {
	if q.Pending() == 0 {
		q.Rearm()
		if q.Pending() == 0 {
			return 0, false
		}
	}
	if q.Pending() > q.Size {
		panic(fmt.Sprintf("virtiotest: driver made %d chains available in a queue of %d", q.Pending(), q.Size))
	}
	at := q.availAt(q.avail)
	head = uint16(q.page[at]) | uint16(q.page[at+1])<<8
	q.avail++
	return head, true
}

// Rearm asks for a notification of the next entry.
func (q *Queue) Rearm() { q.SetAvailEvent(q.avail) }

// Buffers calls f for each buffer of the chain that starts at head, with whether
// the device may write it, until f answers false.
func (q *Queue) Buffers(head uint16, f func(p []byte, write bool) bool) {
	id := head
	for range q.Size {
		d := q.table[id]
		p := q.bytes(&d)
		if !f(p, d.Flags&rtabi.DescWrite != 0) || d.Flags&rtabi.DescNext == 0 {
			return
		}
		id = d.Next
	}
	panic(fmt.Sprintf("virtiotest: the chain of head %d is a circle", head))
}

// bytes is what a descriptor names.
func (q *Queue) bytes(d *rtabi.Desc) []byte {
	mem, at := q.m.IO, d.Offset
	if at >= rtabi.ConstOffset {
		mem, at = q.m.Constants, at-rtabi.ConstOffset
	}
	return mem[at : at+d.Len : at+d.Len]
}

// Buffer is the first buffer of a chain.
func (q *Queue) Buffer(head uint16) []byte {
	d := q.table[head]
	return q.bytes(&d)
}

// Complete gives a chain back with n bytes written.
func (q *Queue) Complete(head uint16, n int) {
	q.PutUsed(q.used, uint32(head), uint32(n))
	q.SetUsed(q.used + 1)
}

// PutUsed writes an entry of the used ring and does not move the index.
func (q *Queue) PutUsed(slot uint16, id, n uint32) {
	at := q.usedAt(slot)
	store(q.page, at, id)
	store(q.page, at+4, n)
}

// SetUsed moves the used index, and counts an interrupt if the driver wants one
// for that (virtio 1.2, section 2.7.10).
func (q *Queue) SetUsed(idx uint16) {
	from := q.used
	q.used = idx
	store(q.page, rtabi.QueueUsedOff, uint32(idx)<<16|q.flags)
	if q.eventIdx {
		event := uint16(load(q.page, q.usedEventAt()))
		if idx-event-1 >= idx-from {
			return
		}
	}
	q.Interrupts++
}

// SetAvailEvent says at which available index the device wants a notification.
func (q *Queue) SetAvailEvent(idx uint16) {
	if q.eventIdx {
		store(q.page, q.availEventAt(), uint32(idx))
	}
}

// SetNoNotify sets the flag by which a device without event index asks for no
// notifications.
func (q *Queue) SetNoNotify(on bool) {
	q.flags = 0
	if on {
		q.flags = 1
	}
	store(q.page, rtabi.QueueUsedOff, uint32(q.used)<<16|q.flags)
}

// UsedEvent is the used index after which the driver wants an interrupt.
func (q *Queue) UsedEvent() uint16 { return uint16(load(q.page, q.usedEventAt())) }
