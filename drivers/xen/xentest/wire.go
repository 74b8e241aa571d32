package xentest

import (
	"encoding/binary"
	"fmt"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/device"
)

// Request is a request to send that the backend has taken.
type Request struct {
	ref                     uint32
	offset, flags, id, size uint16
	extra                   bool
}

// Deliver puts a frame on the wire towards the VM, over as many pages as it
// needs. It answers false, and takes no page, when the VM left not enough, or
// can't take such a frame.
func (n *Netback) Deliver(frame []byte, m device.Meta) bool {
	r := &n.RX
	slots := max(1, (len(frame)+xen.PageSize-1)/xen.PageSize)
	extras := 0
	if m.GSO != device.GSONone {
		extras = 1
	}
	if slots > 1 && !n.has.sg || r.Pending() < slots+extras {
		r.Rearm()
		return false
	}
	for i := range slots {
		req := r.request(0)
		id, ref := binary.LittleEndian.Uint16(req), binary.LittleEndian.Uint32(req[4:])
		size := copy(n.d.page(ref), frame)
		frame = frame[size:]
		var flags uint16
		if i < slots-1 {
			flags |= abi.RxMore
		}
		if i == 0 {
			flags |= rxFlags(m)
		}
		r.Skip(1)
		r.Respond(Response(id, 0, flags, int16(size)))
		if i == 0 && extras == 1 {
			r.Skip(1)
			r.Respond(ExtraGSO(m.SegmentSize, gsoWire(m.GSO)))
		}
	}
	r.Publish()
	return true
}

func rxFlags(m device.Meta) (f uint16) {
	switch m.State {
	case device.ChecksumPartial:
		f = abi.RxChecksumBlank | abi.RxValidated
	case device.ChecksumOK:
		f = abi.RxValidated
	}
	if m.GSO != device.GSONone {
		f |= abi.RxExtra
	}
	return f
}

func gsoWire(g device.GSOType) uint8 {
	if g == device.GSOTCP6 {
		return abi.GSOTCP6
	}
	return abi.GSOTCP4
}

// Take takes the next frame that the VM sent and answers it.
func (n *Netback) Take() (frame []byte, m device.Meta, ok bool) {
	n.one, n.reqs, m, ok = n.Hold(n.one[:0], n.reqs[:0])
	if ok {
		n.Answer(n.reqs)
	}
	return n.one, m, ok
}

// Hold takes the next frame that the VM sent, appends it to buf, and answers
// nothing: the pages stay the backend's.
func (n *Netback) Hold(buf []byte, reqs []Request) ([]byte, []Request, device.Meta, bool) {
	r := &n.TX
	if r.Pending() == 0 {
		r.Rearm()
		if r.Pending() == 0 {
			return buf, reqs, device.Meta{}, false
		}
	}
	start := len(buf)
	var m device.Meta
	var first Request
	for i := 0; ; i++ {
		if r.Pending() == 0 {
			panic(Violation("netback: the frame ends within the ring"))
		}
		q := parseTx(r.request(0))
		r.Skip(1)
		reqs = append(reqs, q)
		if i == 0 {
			first = q
		} else if i >= abi.MinSlots || q.flags&abi.TxExtra != 0 {
			panic(Violation(fmt.Sprintf("netback: request %d of a frame has flags %#x", i, q.flags)))
		}
		if i == 0 && q.flags&abi.TxExtra != 0 {
			reqs = n.extra(&m, reqs)
		}
		size := int(q.size)
		if i == 0 {
			size = n.firstSize(q)
		}
		if int(q.offset)+size > xen.PageSize {
			panic(Violation(fmt.Sprintf("netback: %d bytes at %d of a page", size, q.offset)))
		}
		buf = append(buf, n.d.page(q.ref)[q.offset:int(q.offset)+size]...)
		if q.flags&abi.TxMore == 0 {
			break
		}
	}
	if len(buf)-start != int(first.size) {
		panic(Violation(fmt.Sprintf("netback: %d bytes of a frame of %d", len(buf)-start, first.size)))
	}
	if first.flags&abi.TxChecksumBlank != 0 {
		place(&m, buf[start:])
	}
	return buf, reqs, m, true
}

// firstSize is what a frame's first request holds: what its others don't.
func (n *Netback) firstSize(q Request) int {
	size := int(q.size)
	for i, more := 0, q.flags&abi.TxMore != 0; more; i++ {
		if i >= n.TX.Pending() {
			panic(Violation("netback: the frame ends within the ring"))
		}
		next := parseTx(n.TX.request(i))
		size -= int(next.size)
		more = next.flags&abi.TxMore != 0
	}
	if size <= 0 {
		panic(Violation(fmt.Sprintf("netback: first request of %d bytes", size)))
	}
	return size
}

// extra takes extra info.
func (n *Netback) extra(m *device.Meta, reqs []Request) []Request {
	if n.TX.Pending() == 0 {
		panic(Violation("netback: no extra info"))
	}
	b := n.TX.request(0)
	n.TX.Skip(1)
	if b[0] != abi.ExtraGSO || b[1] != 0 || b[5] != 0 || b[6]|b[7]|b[8]|b[9]|b[10]|b[11] != 0 {
		panic(Violation(fmt.Sprintf("netback: extra info % x", b)))
	}
	m.SegmentSize = binary.LittleEndian.Uint16(b[2:])
	switch b[4] {
	case abi.GSOTCP4:
		m.GSO = device.GSOTCP4
	case abi.GSOTCP6:
		m.GSO = device.GSOTCP6
	default:
		panic(Violation(fmt.Sprintf("netback: segmentation %d", b[4])))
	}
	return append(reqs, Request{extra: true})
}

func parseTx(b []byte) Request {
	le := binary.LittleEndian
	return Request{
		ref: le.Uint32(b), offset: le.Uint16(b[4:]), flags: le.Uint16(b[6:]),
		id: le.Uint16(b[8:]), size: le.Uint16(b[10:]),
	}
}

// place says where a blank checksum goes, as a kernel finds out: TCP or UDP, over
// IPv4 or IPv6.
func place(m *device.Meta, f []byte) {
	m.State = device.ChecksumPartial
	start, proto := 0, byte(0)
	switch {
	case len(f) >= 34 && f[12] == 8 && f[13] == 0:
		start, proto = 14+int(f[14]&15)*4, f[23]
	case len(f) >= 54 && f[12] == 0x86 && f[13] == 0xdd:
		start, proto = 54, f[20]
		for (proto == 0 || proto == 43 || proto == 60) && len(f) >= start+8 {
			start, proto = start+8+int(f[start+1])*8, f[start]
		}
	}
	m.CsumStart = uint16(start)
	switch {
	case proto == 6 && len(f) >= start+20:
		m.CsumOffset = 16
		if m.GSO != device.GSONone {
			m.HeaderLen = uint16(start) + uint16(f[start+12]>>4)*4
		}
	case proto == 17 && len(f) >= start+8:
		m.CsumOffset = 6
	default:
		panic(Violation("netback: blank checksum of neither TCP nor UDP"))
	}
}

// Answer completes what Hold took, in order; extra info gets RspNull.
func (n *Netback) Answer(reqs []Request) {
	for _, q := range reqs {
		if q.extra {
			n.TX.Respond(TxResponse(0xffff, abi.RspNull))
		} else {
			n.TX.Respond(TxResponse(q.id, abi.RspOK))
		}
	}
	n.TX.Publish()
}

// AnswerLast is Answer in reverse order, as a backend may.
func (n *Netback) AnswerLast(reqs []Request) {
	for i := range reqs {
		q := reqs[len(reqs)-1-i]
		if q.extra {
			n.TX.Respond(TxResponse(q.id, abi.RspNull))
		} else {
			n.TX.Respond(TxResponse(q.id, abi.RspOK))
		}
	}
	n.TX.Publish()
}

// Reflect answers all that the VM sent and delivers it again, as far as there
// are pages; it allocates nothing once it has run. It answers the number of
// frames.
func (n *Netback) Reflect() int {
	for count := 0; ; count++ {
		frame, _, ok := n.Take()
		if !ok {
			return count
		}
		n.Deliver(frame, device.Meta{})
	}
}
