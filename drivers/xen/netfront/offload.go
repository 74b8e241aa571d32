package netfront

import (
	"encoding/binary"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/device"
)

// Ethernet types (IEEE 802), IP protocols (RFC 790 and successors), and IPv6
// extension headers (RFC 8200, section 4).
const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd

	protoTCP = 6
	protoUDP = 17

	extHopByHop    = 0
	extRouting     = 43
	extDestination = 60

	maxExtensions = 8 // in a packet that makes sense
)

// transport is where a packet's TCP or UDP header is.
type transport struct {
	start uint16 // of the header, from the frame's first byte
	proto uint8
	ipv6  bool
}

// csumOffset is where the checksum is in the header.
func (t transport) csumOffset() uint16 {
	if t.proto == protoTCP {
		return 16
	}
	return 6
}

// gso is the kind of segmentation that the packet can have.
func (t transport) gso() device.GSOType {
	switch {
	case t.proto != protoTCP:
		return device.GSONone
	case t.ipv6:
		return device.GSOTCP6
	}
	return device.GSOTCP4
}

// findTransport looks for a TCP or UDP header that is whole within p, the start
// of a frame. It reads memory that a backend may be writing, so that another
// reader may find something else; what it answers is within p at any rate.
func findTransport(p []byte) (t transport, ok bool) {
	if len(p) < etherLen {
		return t, false
	}
	at := etherLen
	switch binary.BigEndian.Uint16(p[12:]) {
	case typeIPv4:
		if len(p) < at+20 || p[at]>>4 != 4 || p[at]&15 < 5 || binary.BigEndian.Uint16(p[at+6:])&0x3fff != 0 {
			return t, false // a fragment, or no IPv4
		}
		t.proto = p[at+9]
		at += int(p[at]&15) * 4
	case typeIPv6:
		if len(p) < at+40 || p[at]>>4 != 6 {
			return t, false
		}
		t.ipv6, t.proto = true, p[at+6]
		at += 40
		for range maxExtensions {
			if t.proto != extHopByHop && t.proto != extRouting && t.proto != extDestination {
				break
			}
			if len(p) < at+8 {
				return t, false
			}
			t.proto, at = p[at], at+int(p[at+1])*8+8
		}
	default:
		return t, false
	}
	t.start = uint16(at)
	switch t.proto {
	case protoTCP:
		return t, len(p) >= at+20
	case protoUDP:
		return t, len(p) >= at+8
	}
	return t, false
}

// headerLen is the length of all headers of a frame whose first page is p, or 0
// when the TCP header is impossible.
func (t transport) headerLen(p []byte) uint16 {
	n := int(t.start) + int(p[t.start+12]>>4)*4
	if n < int(t.start)+20 || n > len(p) {
		return 0
	}
	return uint16(n)
}

// decode says what a backend states of a frame whose first page is p. gso is its
// extra info, or nil. ok is false when that is impossible, or is an offload that
// we did not allow.
func decode(flags uint16, gso *abi.Extra, p []byte, allowed device.Feature) (m device.Meta, ok bool) {
	if flags&(abi.RxChecksumBlank|abi.RxValidated) != 0 && allowed&device.RxChecksum == 0 ||
		flags&abi.RxGSOPrefix != 0 {
		return m, false
	}
	if flags&abi.RxValidated != 0 {
		m.State = device.ChecksumOK
	}
	if flags&abi.RxChecksumBlank == 0 && gso == nil {
		return m, true
	}
	t, ok := findTransport(p)
	if !ok {
		return m, false
	}
	if flags&abi.RxChecksumBlank != 0 {
		m.State, m.CsumStart, m.CsumOffset = device.ChecksumPartial, t.start, t.csumOffset()
	}
	if gso == nil {
		return m, true
	}
	m.SegmentSize = gso.Size
	switch gso.GSO {
	case abi.GSOTCP4:
		m.GSO = device.GSOTCP4
		ok = allowed&device.LRO4 != 0
	case abi.GSOTCP6:
		m.GSO = device.GSOTCP6
		ok = allowed&device.LRO6 != 0
	default:
		return m, false
	}
	if !ok || m.GSO != t.gso() || m.SegmentSize == 0 {
		return m, false
	}
	m.HeaderLen = t.headerLen(p)
	return m, m.HeaderLen != 0
}

// encode states what the sender says of a frame of n bytes that starts with p.
// why is not empty when that is impossible, is an offload that the backend
// lacks, or is not what the backend would find in the frame.
func encode(m device.Meta, n int, p []byte, allowed device.Feature) (flags uint16, gso abi.Extra, why string) {
	var t transport
	if m.State == device.ChecksumPartial {
		if allowed&device.TxChecksum == 0 {
			return 0, gso, "partial checksum without the offload"
		}
		if m.CsumStart < etherLen || int(m.CsumStart)+int(m.CsumOffset)+2 > n {
			return 0, gso, "checksum field outside the frame"
		}
		var ok bool
		if t, ok = findTransport(p); !ok || t.start != m.CsumStart || t.csumOffset() != m.CsumOffset {
			return 0, gso, "partial checksum, but not that of TCP or UDP in the first page"
		}
		flags = abi.TxChecksumBlank | abi.TxValidated
	}
	if m.GSO == device.GSONone {
		return flags, gso, ""
	}
	need, kind := device.TSO4, uint8(abi.GSOTCP4)
	switch m.GSO {
	case device.GSOTCP4:
	case device.GSOTCP6:
		need, kind = device.TSO6, abi.GSOTCP6
	default:
		return 0, gso, "unknown kind of segmentation"
	}
	switch {
	case m.State != device.ChecksumPartial:
		return 0, gso, "segmentation without a partial checksum"
	case allowed&need == 0:
		return 0, gso, "segmentation without the offload"
	case m.GSO != t.gso():
		return 0, gso, "segmentation of another protocol"
	case m.SegmentSize == 0 || m.HeaderLen < etherLen || int(m.HeaderLen) > n:
		return 0, gso, "segmentation without segments or headers"
	}
	return flags | abi.TxExtra, abi.Extra{Type: abi.ExtraGSO, Size: m.SegmentSize, GSO: kind}, ""
}
