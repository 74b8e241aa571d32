package ring

import (
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// Sizes of a slot: the larger one of request and response.
const (
	txSlot = 12
	rxSlot = 8
)

// Tx is a network interface's transmit ring.
type Tx struct{ Front }

// Start makes an empty ring; see Front.Start.
func (t *Tx) Start(page xen.Page) { t.Front.Start(page, txSlot) }

// Put makes a request.
func (t *Tx) Put(r abi.TxRequest) {
	at := t.slot()
	t.page.Set32(at, r.Ref)
	t.page.Set32(at+4, uint32(r.Offset)|uint32(r.Flags)<<16)
	t.page.Set32(at+8, uint32(r.ID)|uint32(r.Size)<<16)
}

// PutExtra makes extra info take the place of a request. The padding is written
// as well: what was in the slot before is not for the backend to read.
func (t *Tx) PutExtra(e abi.Extra) {
	at := t.slot()
	t.page.Set32(at, uint32(e.Type)|uint32(e.Flags)<<8|uint32(e.Size)<<16)
	t.page.Set32(at+4, uint32(e.GSO)|uint32(e.Features)<<16)
	t.page.Set32(at+8, 0)
}

// Next takes a response. It must not be called more often than Sync said.
func (t *Tx) Next() abi.TxResponse {
	w := t.page.Load32(t.at(t.taken))
	t.taken++
	return abi.TxResponse{ID: uint16(w), Status: int16(w >> 16)}
}

// Rx is a network interface's receive ring. Response i is about request i (the
// header of netif.h says so in its note on extra info), so a request's ID is its
// slot.
type Rx struct{ Front }

// Start makes an empty ring; see Front.Start.
func (r *Rx) Start(page xen.Page) { r.Front.Start(page, rxSlot) }

// Next is the slot, and ID, of the request that Offer would make.
func (r *Rx) Next() uint16 { return uint16(r.made & (r.size - 1)) }

// Offer makes a request for the page of a reference.
func (r *Rx) Offer(ref xen.Ref) {
	id := r.Next()
	r.page.Set64(r.slot(), uint64(id)|uint64(ref)<<32)
}

// Entry is what a backend wrote to a slot of the receive ring, loaded once: a
// response or extra info, as those before it say.
type Entry uint64

// Response reads e as a response.
func (e Entry) Response() abi.RxResponse {
	return abi.RxResponse{ID: uint16(e), Offset: uint16(e >> 16), Flags: uint16(e >> 32), Status: int16(e >> 48)}
}

// Extra reads e as extra info.
func (e Entry) Extra() abi.Extra {
	return abi.Extra{Type: uint8(e), Flags: uint8(e >> 8), Size: uint16(e >> 16), GSO: uint8(e >> 32), Features: uint16(e >> 48)}
}

// Peek loads the response that is i after the next one, and says which slot it
// is in. i must be less than Sync said.
func (r *Rx) Peek(i int) (e Entry, slot uint16) {
	at := r.taken + uint32(i)
	return Entry(r.page.Load64(r.at(at))), uint16(at & (r.size - 1))
}

// Take takes the next n responses, which Peek has shown.
func (r *Rx) Take(n int) { r.taken += uint32(n) }
