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
//	4+8n  avail_event u16           from 1024
//	3328  [MaxSubmit]rtabi.Desc     from the driver to the gate
//
// A Ring is a value; copies name the same page. Whatever the device writes, an
// access stays within the page: slots are masked, and nothing that is read is
// used as an address.
type Ring struct {
	page unsafe.Pointer // invariant: rtabi.PageSize mapped bytes, page-aligned, for ever
	size uint16         // invariant: a power of two in 1..MaxQueueSize
}

// The three areas lie one after the other within the page at the largest size.
var (
	_ [rtabi.QueueUsedOff - (4 + 2*rtabi.MaxQueueSize + 4)]byte
	_ [rtabi.QueueSubOff - (rtabi.QueueUsedOff + 4 + 8*rtabi.MaxQueueSize + 4)]byte
	_ [rtabi.PageSize - (rtabi.QueueSubOff + rtabi.MaxSubmit*unsafe.Sizeof(rtabi.Desc{}))]byte
)

// ringAt names the page at an address that boot gave. The caller has checked
// that it is page-aligned and that size is as Ring wants it; that it is mapped
// and lies outside the Go heap is part of the contract with boot (rtabi.Queue).
func ringAt(addr uintptr, size uint16) Ring {
	// The address never was a Go pointer, so there is nothing for the garbage
	// collector to move or free; reading it as one says so without arithmetic.
	return Ring{page: *(*unsafe.Pointer)(unsafe.Pointer(&addr)), size: size}
}

// Size is the number of entries.
func (r Ring) Size() int { return int(r.size) }

// word is the 32-bit word at off. All callers pass an offset that the layout
// above keeps within the page and aligned to four.
func (r Ring) word(off uintptr) *uint32 { return (*uint32)(unsafe.Add(r.page, off)) }

// setAvail stores a head id. The slot is masked to the ring.
func (r Ring) setAvail(slot, id uint16) {
	*(*uint16)(unsafe.Add(r.page, rtabi.QueueAvailOff+4+2*uintptr(slot&(r.size-1)))) = id
}

// publish stores avail.idx, with flags zero. It is a full fence: no later load
// is done before the device can see the store.
func (r Ring) publish(idx uint16) {
	atomic.SwapUint32(r.word(rtabi.QueueAvailOff), uint32(idx)<<16)
}

// usedIndex loads used.flags and used.idx at once.
func (r Ring) usedIndex() (flags, idx uint16) {
	w := atomic.LoadUint32(r.word(rtabi.QueueUsedOff))
	return uint16(w), uint16(w >> 16)
}

// usedEntry loads an entry of the used ring: the id once and the length once,
// so that what was checked is what is used. The slot is masked.
func (r Ring) usedEntry(slot uint16) (id, n uint32) {
	at := rtabi.QueueUsedOff + 4 + 8*uintptr(slot&(r.size-1))
	return atomic.LoadUint32(r.word(at)), atomic.LoadUint32(r.word(at + 4))
}

// availEvent loads the index at which the device wants to be notified.
func (r Ring) availEvent() uint16 {
	return uint16(atomic.LoadUint32(r.word(rtabi.QueueUsedOff + 4 + 8*uintptr(r.size))))
}

// UsedIndex is used.idx, which the device advances: the Counter of an event
// source.
func (r Ring) UsedIndex() *uint16 {
	return (*uint16)(unsafe.Add(r.page, rtabi.QueueUsedOff+2))
}

// UsedEvent is where the driver says at which entry it wants an interrupt: the
// Arm of an event source, if the event index was negotiated.
func (r Ring) UsedEvent() *uint16 {
	return (*uint16)(unsafe.Add(r.page, rtabi.QueueAvailOff+4+2*uintptr(r.size)))
}

// setDesc leaves a Desc for the gate; i is below rtabi.MaxSubmit.
func (r Ring) setDesc(i int, d rtabi.Desc) {
	if uint(i) >= rtabi.MaxSubmit {
		panic("virtio: submission area overrun")
	}
	*(*rtabi.Desc)(unsafe.Add(r.page, rtabi.QueueSubOff+uintptr(i)*unsafe.Sizeof(d))) = d
}
