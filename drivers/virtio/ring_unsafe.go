package virtio

import (
	"sync/atomic"
	"unsafe"

	"ampoule/libos/rt/rtabi"
)

// Ring is the page of one virtqueue that ring 3 shares with the device and the
// gate. Offsets within the page (virtio 1.2, sections 2.7.6 and 2.7.8), n being
// the number of entries:
//
//	   0  flags u16, idx u16        written by the driver as one word
//	   4  ring [n]u16               head ids
//	4+2n  used_event u16, pad u16
//	1024  flags u16, idx u16        written by the device
//	   4  ring [n]{id u32, len u32} from 1024
//	4+8n  avail_event u16, pad u16  from 1024
//	3328  [MaxSubmit]rtabi.Desc     from the driver to the gate
//
// A Ring is a value; copies name the same page. Whatever the device writes, an
// access stays within the page: slots are masked, and nothing that is read is
// used as an address.
//
// Invariant: all pointers point into one page that is mapped for ever and lies
// outside the Go heap. The arrays have the largest size, which fits the page
// (see below); of a smaller queue only the first mask+1 entries are ring.
type Ring struct {
	mask       uint8 // entries less one
	availIndex *uint32
	avail      *[rtabi.MaxQueueSize]uint16
	usedEvent  *uint16
	usedIndex  *uint32
	used       *[rtabi.MaxQueueSize]usedElem
	availEvent *uint32
	submit     *[rtabi.MaxSubmit]rtabi.Desc
}

// usedElem is struct virtq_used_elem. Both fields are the device's to change at
// any time, so each is loaded once.
type usedElem struct{ id, n uint32 }

const availRing, usedRing = rtabi.QueueAvailOff + 4, rtabi.QueueUsedOff + 4

// The three areas lie one after the other within the page at the largest size.
var (
	_ [rtabi.QueueUsedOff - (availRing + 2*rtabi.MaxQueueSize + 4)]byte
	_ [rtabi.QueueSubOff - (usedRing + 8*rtabi.MaxQueueSize + 4)]byte
	_ [rtabi.PageSize - (rtabi.QueueSubOff + rtabi.MaxSubmit*unsafe.Sizeof(rtabi.Desc{}))]byte
	_ [8]byte = [unsafe.Sizeof(usedElem{})]byte{}
)

// ringAt names the page at an address that boot gave. The caller has checked
// that it is page-aligned and that size is a power of two up to MaxQueueSize;
// that it is mapped and lies outside the Go heap is part of the contract with
// boot (rtabi.Queue).
func ringAt(addr uintptr, size int) Ring {
	// The address never was a Go pointer, so there is nothing for the garbage
	// collector to move or free; reading it as one says so without arithmetic.
	page := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	at := func(off int) unsafe.Pointer { return unsafe.Add(page, off) }
	return Ring{
		mask:       uint8(size - 1),
		availIndex: (*uint32)(at(rtabi.QueueAvailOff)),
		avail:      (*[rtabi.MaxQueueSize]uint16)(at(availRing)),
		usedEvent:  (*uint16)(at(availRing + 2*size)),
		usedIndex:  (*uint32)(at(rtabi.QueueUsedOff)),
		used:       (*[rtabi.MaxQueueSize]usedElem)(at(usedRing)),
		availEvent: (*uint32)(at(usedRing + 8*size)),
		submit:     (*[rtabi.MaxSubmit]rtabi.Desc)(at(rtabi.QueueSubOff)),
	}
}

// Size is the number of entries.
func (r *Ring) Size() int { return int(r.mask) + 1 }

// UsedIndex is used.idx, which the device advances: the Counter of an event
// source.
func (r *Ring) UsedIndex() *uint16 {
	// The upper half of the word that holds flags and index.
	return (*uint16)(unsafe.Add(unsafe.Pointer(r.usedIndex), 2))
}

// UsedEvent is where the driver says at which entry it wants an interrupt: the
// Arm of an event source, if the event index was negotiated.
func (r *Ring) UsedEvent() *uint16 { return r.usedEvent }

// publish stores avail.idx, with flags zero. It is a full fence: no later load
// is done before the device can see the store.
func (r *Ring) publish(idx uint16) { atomic.SwapUint32(r.availIndex, uint32(idx)<<16) }

// loadUsed loads used.flags and used.idx at once.
func (r *Ring) loadUsed() (flags, idx uint16) {
	w := atomic.LoadUint32(r.usedIndex)
	return uint16(w), uint16(w >> 16)
}

// loadEvent loads the index at which the device wants to be notified.
func (r *Ring) loadEvent() uint16 { return uint16(atomic.LoadUint32(r.availEvent)) }
