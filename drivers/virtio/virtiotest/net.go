package virtiotest

import (
	"encoding/binary"

	"ampoule/libos/device"
)

// NetHeader is struct virtio_net_hdr (virtio 1.2, section 5.1.6), the values
// as they are on the wire.
type NetHeader struct {
	Flags, GSO                                       uint8
	HeaderLen, SegmentSize, CsumStart, CsumOffset, N uint16
}

// HeaderLen is the size of a NetHeader on the wire.
const HeaderLen = 12

func (h NetHeader) put(p []byte) {
	p[0], p[1] = h.Flags, h.GSO
	for i, v := range [...]uint16{h.HeaderLen, h.SegmentSize, h.CsumStart, h.CsumOffset, h.N} {
		binary.LittleEndian.PutUint16(p[2+2*i:], v)
	}
}

// Bytes is the header on the wire.
func (h NetHeader) Bytes() []byte {
	p := make([]byte, HeaderLen)
	h.put(p)
	return p
}

// Store writes the header to the start of a page in two accesses that a driver
// may be reading at the same time.
func (h NetHeader) Store(page []byte) {
	p := h.Bytes()
	store64(page, binary.LittleEndian.Uint64(p))
	store(page, 8, binary.LittleEndian.Uint32(p[8:]))
}

// ParseHeader reads a header off the wire.
func ParseHeader(p []byte) (h NetHeader) {
	h.Flags, h.GSO = p[0], p[1]
	for i, v := range [...]*uint16{&h.HeaderLen, &h.SegmentSize, &h.CsumStart, &h.CsumOffset, &h.N} {
		*v = binary.LittleEndian.Uint16(p[2+2*i:])
	}
	return h
}

// Net is the device of a network card, and the wire behind it.
type Net struct {
	RX, TX *Queue

	sizes []int    // of the buffers that a frame went to; reused
	heads []uint16 // and their heads
	one   []byte   // scratch for one frame of Reflect
}

// Deliver puts a frame on the wire towards the driver, over as many buffers as
// it needs (mergeable buffers, section 5.1.6.4). It answers false, and takes no
// buffer, when not enough are available.
func (n *Net) Deliver(h NetHeader, frame []byte) bool {
	q := n.RX
	left, have := HeaderLen+len(frame), q.Pending()
	mark := q.avail
	n.sizes, n.heads = n.sizes[:0], n.heads[:0]
	for left > 0 {
		if len(n.heads) == have {
			q.avail = mark
			q.Rearm()
			return false
		}
		head, _ := q.Next()
		size := min(left, len(q.Buffer(head)))
		n.heads, n.sizes = append(n.heads, head), append(n.sizes, size)
		left -= size
	}
	h.N = uint16(len(n.heads))
	for i, head := range n.heads {
		p := q.Buffer(head)[:n.sizes[i]]
		if i == 0 {
			h.put(p)
			p = p[HeaderLen:]
		}
		frame = frame[copy(p, frame):]
		q.PutUsed(q.used+uint16(i), uint32(head), uint32(n.sizes[i]))
	}
	q.SetUsed(q.used + uint16(len(n.heads)))
	return true
}

// Take takes the next frame that the driver sent, and completes it. The frame is
// appended to buf.
func (n *Net) Take(buf []byte) (h NetHeader, frame []byte, ok bool) {
	head, ok := n.TX.Next()
	if !ok {
		return h, buf, false
	}
	h, frame = n.Read(head, buf)
	n.TX.Complete(head, 0)
	return h, frame, true
}

// Read appends the frame of a chain that the driver sent to buf, and does not
// complete it. A chain that does not start with a whole header gives an empty
// one.
func (n *Net) Read(head uint16, buf []byte) (h NetHeader, frame []byte) {
	start := len(buf)
	n.TX.Buffers(head, func(p []byte, write bool) bool {
		if write {
			panic(Violation("transmit buffer that the device may write"))
		}
		buf = append(buf, p...)
		return true
	})
	if len(buf)-start < HeaderLen {
		return h, buf
	}
	h = ParseHeader(buf[start:])
	return h, append(buf[:start], buf[start+HeaderLen:]...)
}

// Reflect completes all that the driver sent and delivers it again, as far as
// there are buffers; it allocates nothing once it has run. It answers the number
// of frames.
func (n *Net) Reflect() int {
	for count := 0; ; count++ {
		var ok bool
		if _, n.one, ok = n.Take(n.one[:0]); !ok {
			return count
		}
		n.Deliver(NetHeader{}, n.one)
	}
}

// Header translates what the operating system knows of a frame to the wire.
func Header(m device.Meta) NetHeader {
	h := NetHeader{HeaderLen: m.HeaderLen, SegmentSize: m.SegmentSize, CsumStart: m.CsumStart, CsumOffset: m.CsumOffset}
	switch m.State {
	case device.ChecksumPartial:
		h.Flags = 1
	case device.ChecksumOK:
		h.Flags = 2
	}
	switch m.GSO {
	case device.GSOTCP4:
		h.GSO = 1
	case device.GSOTCP6:
		h.GSO = 4
	}
	return h
}

// Meta is the reverse of Header.
func (h NetHeader) Meta() device.Meta {
	m := device.Meta{HeaderLen: h.HeaderLen, SegmentSize: h.SegmentSize, CsumStart: h.CsumStart, CsumOffset: h.CsumOffset}
	switch {
	case h.Flags&1 != 0:
		m.State = device.ChecksumPartial
	case h.Flags&2 != 0:
		m.State = device.ChecksumOK
	}
	switch h.GSO {
	case 1:
		m.GSO = device.GSOTCP4
	case 4:
		m.GSO = device.GSOTCP6
	}
	return m
}
