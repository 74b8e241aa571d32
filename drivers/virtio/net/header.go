package virtionet

import (
	"encoding/binary"

	"ampoule/libos/device"
)

// headerLen is the size of struct virtio_net_hdr as virtio 1.x has it on every
// frame (virtio 1.2, section 5.1.6), little-endian:
//
//	 0 flags u8
//	 1 gso_type u8
//	 2 hdr_len u16
//	 4 gso_size u16
//	 6 csum_start u16
//	 8 csum_offset u16
//	10 num_buffers u16
const headerLen = 12

// Values of flags and gso_type (virtio 1.2, section 5.1.6).
const (
	flagNeedsChecksum = 1
	flagDataValid     = 2

	gsoNone = 0
	gsoTCP4 = 1
	gsoTCP6 = 4
)

// etherLen is the size of an Ethernet header; vlanLen that of an 802.1Q tag.
const (
	etherLen = 14
	vlanLen  = 4
)

// maxFrame is the largest frame in either direction: an IP packet of 64 KiB
// less one, and a tagged Ethernet header.
const maxFrame = 65535 + etherLen + vlanLen

// header is the wire header held in registers, so that each byte is loaded from
// the page once: lo holds bytes 0 to 7, hi bytes 8 to 11.
type header struct {
	lo uint64
	hi uint32
}

func (h header) flags() uint8        { return uint8(h.lo) }
func (h header) gsoType() uint8      { return uint8(h.lo >> 8) }
func (h header) headerLen() uint16   { return uint16(h.lo >> 16) }
func (h header) segmentSize() uint16 { return uint16(h.lo >> 32) }
func (h header) csumStart() uint16   { return uint16(h.lo >> 48) }
func (h header) csumOffset() uint16  { return uint16(h.hi) }
func (h header) buffers() uint16     { return uint16(h.hi >> 16) }

// put writes all bytes of the header at p.
func (h header) put(p *[headerLen]byte) {
	binary.LittleEndian.PutUint64(p[0:], h.lo)
	binary.LittleEndian.PutUint32(p[8:], h.hi)
}

// plain says that the header states nothing but num_buffers.
func (h header) plain() bool { return h.lo == 0 && uint16(h.hi) == 0 }

// decode checks what a device states of a frame of n bytes. ok is false when
// that is impossible, or is an offload that was not negotiated.
func (h header) decode(n int, allowed device.Feature) (m device.Meta, ok bool) {
	switch f := h.flags(); {
	case f&(flagNeedsChecksum|flagDataValid) != 0 && allowed&device.RxChecksum == 0:
		return m, false
	case f&flagNeedsChecksum != 0:
		m.State, m.CsumStart, m.CsumOffset = device.ChecksumPartial, h.csumStart(), h.csumOffset()
		if !checksumFits(m, n) {
			return m, false
		}
	case f&flagDataValid != 0:
		m.State = device.ChecksumOK
	}
	switch h.gsoType() {
	case gsoNone:
		return m, true
	case gsoTCP4:
		m.GSO = device.GSOTCP4
	case gsoTCP6:
		m.GSO = device.GSOTCP6
	default:
		return m, false
	}
	// hdr_len is a hint that a driver must not rely on (section 5.1.6.4.2): it
	// may be zero or count payload too, but not more than the frame has.
	m.HeaderLen, m.SegmentSize = h.headerLen(), h.segmentSize()
	return m, m.SegmentSize != 0 && int(m.HeaderLen) <= n && allowed&lroOf(m.GSO) != 0
}

// encode states what the sender says of a frame of n bytes. why is not empty
// when that is impossible, or is an offload that the device lacks.
func encode(m device.Meta, n int, allowed device.Feature) (h header, why string) {
	if m.State == device.ChecksumPartial {
		if allowed&device.TxChecksum == 0 {
			return h, "partial checksum without the offload"
		}
		if !checksumFits(m, n) {
			return h, "checksum field outside the frame"
		}
		h.lo = flagNeedsChecksum | uint64(m.CsumStart)<<48
		h.hi = uint32(m.CsumOffset)
	}
	switch m.GSO {
	case device.GSONone:
		return h, ""
	case device.GSOTCP4:
		h.lo |= gsoTCP4 << 8
	case device.GSOTCP6:
		h.lo |= gsoTCP6 << 8
	default:
		return h, "unknown kind of segmentation"
	}
	switch {
	case m.State != device.ChecksumPartial:
		return h, "segmentation without a partial checksum"
	case allowed&tsoOf(m.GSO) == 0:
		return h, "segmentation without the offload"
	case m.SegmentSize == 0 || m.HeaderLen < etherLen || int(m.HeaderLen) > n:
		return h, "segmentation without segments or headers"
	}
	h.lo |= uint64(m.HeaderLen)<<16 | uint64(m.SegmentSize)<<32
	return h, ""
}

func checksumFits(m device.Meta, n int) bool {
	return m.CsumStart >= etherLen && int(m.CsumStart)+int(m.CsumOffset)+2 <= n
}

func lroOf(g device.GSOType) device.Feature {
	if g == device.GSOTCP4 {
		return device.LRO4
	}
	return device.LRO6
}

func tsoOf(g device.GSOType) device.Feature {
	if g == device.GSOTCP4 {
		return device.TSO4
	}
	return device.TSO6
}
