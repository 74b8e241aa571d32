package ring

import (
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// Blk is a disk's ring.
type Blk struct{ Front }

// Start makes an empty ring; see Front.Start.
func (b *Blk) Start(page xen.Page) { b.Front.Start(page, abi.BlkSlot) }

// Put makes a request of up to one segment. The rest of the slot stays as Start
// or a response left it, which is nothing that the backend does not know.
func (b *Blk) Put(r abi.BlkRequest) {
	at := b.slot()
	b.page.Set64(at, uint64(r.Operation)|uint64(r.Segments)<<8|uint64(r.Handle)<<16)
	b.page.Set64(at+8, r.ID)
	b.page.Set64(at+16, r.Sector)
	s := r.Segment[0]
	b.page.Set64(at+24, uint64(s.Ref)|uint64(s.First)<<32|uint64(s.Last)<<40)
}

// Next takes a response, each word loaded once. It must not be called more often
// than Sync said.
func (b *Blk) Next() abi.BlkResponse {
	at := b.at(b.taken)
	b.taken++
	w := b.page.Load32(at + 8)
	return abi.BlkResponse{ID: b.page.Load64(at), Operation: uint8(w), Status: int16(w >> 16)}
}
