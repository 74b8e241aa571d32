// Package ring is the frontend's side of Xen's shared rings (public/io/ring.h):
// one page where requests and responses take turns in the same slots.
//
//	 0  req_prod   requests that the backend has been shown   written here
//	 4  req_event  tell the backend when req_prod passes it   written by the backend
//	 8  rsp_prod   responses made                             written by the backend
//	12  rsp_event  wake the frontend when rsp_prod passes it  written by event.Source
//	64  slots      request i, later some response i, at slot i mod size
//
// Front counts; Tx and Rx add the two kinds of entry that network rings have.
// Nothing here allocates or blocks.
//
// # Memory order
//
// On amd64 stores are seen in order, and so are loads. Only the store of
// req_prod before the load of req_event needs a fence; Page.Store32 is one. What
// the backend writes is loaded atomically, thus once.
//
// # Misbehaving backends
//
// A backend can answer what it was not asked. Sync finds more responses than
// requests that it was shown, which puts the ring out of use until Start; what a
// response says is the caller's to check. Indexes are kept here and never read
// back from the page, slots are masked, and no call does more work than the
// ring has slots.
//
// # Who may call
//
// A Front has no lock: its owner holds a mutex around every burst.
package ring

import (
	"math/bits"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/format"
)

// Front is the frontend's side of a ring. The zero value has no slots; see
// Start.
type Front struct {
	page   xen.Page
	stride uint32
	size   uint32 // a power of two, or 0
	made   uint32 // requests written, modulo 2^32
	shown  uint32 // of those, requests that the backend has been shown
	taken  uint32 // responses taken
	err    error
}

// Start fills the page with zeros and makes an empty ring of slots of stride
// bytes on it. The backend must not be using the page.
func (f *Front) Start(page xen.Page, stride uint32) {
	clear(page.Bytes())
	n := (xen.PageSize - abi.RingEntries) / stride
	*f = Front{page: page, stride: stride, size: 1 << (bits.Len32(n) - 1)}
	page.Set32(abi.RingReqEvent, 1)
	page.Store32(abi.RingRspEvent, 1)
}

// Size is the number of slots.
func (f *Front) Size() int { return int(f.size) }

// InFlight is the number of requests made and not answered.
func (f *Front) InFlight() int { return int(f.made - f.taken) }

// Room is the number of requests that can be made.
func (f *Front) Room() int { return int(f.size - (f.made - f.taken)) }

// Made is the number of requests made, modulo 2^32.
func (f *Front) Made() uint32 { return f.made }

// Taken is the number of responses taken, modulo 2^32. Its low half is the Seen
// of an event source on Counter; one more is its Event.
func (f *Front) Taken() uint32 { return f.taken }

// Counter is the low half of rsp_prod: the Counter of an event source.
func (f *Front) Counter() *uint16 { return f.page.Half(abi.RingRspProd) }

// Arm is rsp_event: the Arm32 of an event source.
func (f *Front) Arm() *uint32 { return f.page.Word(abi.RingRspEvent) }

// Err says what the backend did to put the ring out of use, or is nil.
func (f *Front) Err() error { return f.err }

// Fail puts the ring out of use: what the backend did breaks the protocol in a
// way that only the caller can see. The first reason stays.
func (f *Front) Fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// at is the offset of the slot of an index.
func (f *Front) at(i uint32) uint32 { return abi.RingEntries + i&(f.size-1)*f.stride }

// slot gives the slot of a new request. That there is Room is the caller's to
// see to; a request too many is a broken invariant and panics.
func (f *Front) slot() uint32 {
	if f.made-f.taken >= f.size {
		panic("ring: request without room")
	}
	at := f.at(f.made)
	f.made++
	return at
}

// Flush shows the backend all requests made, and says whether it wants to be
// notified of them.
func (f *Front) Flush() (notify bool) {
	if f.made == f.shown {
		return false
	}
	from := f.shown
	f.shown = f.made
	f.page.Store32(abi.RingReqProd, f.made)
	return f.made-f.page.Load32(abi.RingReqEvent) < f.made-from
}

// Sync says how many responses may be taken: it loads the backend's index once.
// An index that is ahead of what the backend was asked puts the ring out of use.
// It answers 0 for a ring that is out of use.
func (f *Front) Sync() int {
	if f.err != nil {
		return 0
	}
	n := f.page.Load32(abi.RingRspProd) - f.taken
	if n > f.shown-f.taken {
		f.Fail(format.Errorf("ring: response index jumped by %d with %d in flight", n, f.shown-f.taken))
		return 0
	}
	return int(n)
}
