package xentest

import (
	"encoding/binary"
	"fmt"

	"ampoule/drivers/xen/abi"
)

// Ring is the backend's end of a ring page. The exported methods that set
// something let a test break the protocol.
type Ring struct {
	Page   []byte
	Events int // events that the backend would have raised

	stride int
	size   uint32
	req    uint32 // requests taken
	rsp    uint32 // responses written
	public uint32 // responses shown
}

func attach(page []byte, stride int) Ring {
	r := Ring{Page: page, stride: stride, size: 256}
	r.Rearm()
	return r
}

func (r *Ring) at(i uint32) int { return abi.RingEntries + int(i%r.size)*r.stride }

// Pending is the number of requests that have not been taken.
func (r *Ring) Pending() int {
	n := load(r.Page, abi.RingReqProd) - r.req
	if n > r.size || n > r.size-(r.req-r.rsp) {
		panic(Violation(fmt.Sprintf("ring: %d requests with %d in flight", n, r.req-r.rsp)))
	}
	return int(n)
}

// request is the entry i after the next request.
func (r *Ring) request(i int) []byte {
	at := r.at(r.req + uint32(i))
	return r.Page[at : at+r.stride : at+r.stride]
}

// Rearm asks for a notification of the next request.
func (r *Ring) Rearm() { store(r.Page, abi.RingReqEvent, load(r.Page, abi.RingReqProd)+1) }

// Quiet asks for no notification for a long time.
func (r *Ring) Quiet() { store(r.Page, abi.RingReqEvent, load(r.Page, abi.RingReqProd)+1<<30) }

// Respond writes a response of up to 8 bytes and does not show it.
func (r *Ring) Respond(v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	at := r.at(r.rsp)
	copy(r.Page[at:at+min(8, r.stride)], b[:])
	r.rsp++
}

// Publish shows the frontend all responses, and counts an event if it wants one.
func (r *Ring) Publish() {
	from := r.public
	r.public = r.rsp
	store(r.Page, abi.RingRspProd, r.rsp)
	if r.rsp-load(r.Page, abi.RingRspEvent) < r.rsp-from {
		r.Events++
	}
}

// SetRspProd moves the response index, whatever is in the ring.
func (r *Ring) SetRspProd(v uint32) { store(r.Page, abi.RingRspProd, v) }

// RspProd is the number of responses written.
func (r *Ring) RspProd() uint32 { return r.rsp }

// Skip takes n requests and says nothing about them.
func (r *Ring) Skip(n int) { r.req += uint32(n) }

// Response makes a receive response or a transmit one of its fields.
func Response(id, offset, flags uint16, status int16) uint64 {
	return uint64(id) | uint64(offset)<<16 | uint64(flags)<<32 | uint64(uint16(status))<<48
}

// TxResponse makes a transmit response of its fields.
func TxResponse(id uint16, status int16) uint64 { return uint64(id) | uint64(uint16(status))<<16 }

// ExtraGSO makes extra info.
func ExtraGSO(size uint16, typ uint8) uint64 {
	return abi.ExtraGSO | uint64(size)<<16 | uint64(typ)<<32
}
