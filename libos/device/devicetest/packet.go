package devicetest

import (
	"encoding/binary"

	"ampoule/libos/device"
)

// Protocol numbers (RFC 790), and where what they are about begins in a frame
// without options.
const (
	tcp, udp     = 6, 17
	over4, over6 = 34, 54
	tcpHeader    = 20
)

// packet makes a frame of n bytes of TCP or UDP over IPv4 or IPv6, as far as
// headers go: the checksum of the transport is none.
func (t *netTest) packet(seq int, proto byte, ipv6 bool, n int) []byte {
	f := t.frame(seq, n)
	at := over4
	if ipv6 { // RFC 8200, section 3
		at = over6
		binary.BigEndian.PutUint16(f[12:], 0x86dd)
		binary.BigEndian.PutUint32(f[14:], 6<<28)
		binary.BigEndian.PutUint16(f[18:], uint16(n-over6))
		f[20], f[21] = proto, 64
	} else { // RFC 791, section 3.1
		binary.BigEndian.PutUint16(f[12:], 0x0800)
		copy(f[14:], []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, proto, 0, 0})
		binary.BigEndian.PutUint16(f[16:], uint16(n-14))
	}
	if proto == tcp {
		f[at+12] = tcpHeader / 4 << 4 // RFC 9293, section 3.1
	} else {
		binary.BigEndian.PutUint16(f[at+4:], uint16(n-at)) // RFC 768
	}
	return f
}

// partial is the metadata of a packet whose checksum the device completes.
func partial(proto byte, ipv6 bool) device.Meta {
	m := device.Meta{State: device.ChecksumPartial, CsumStart: over4, CsumOffset: 16}
	if ipv6 {
		m.CsumStart = over6
	}
	if proto == udp {
		m.CsumOffset = 6
	}
	return m
}

// large is the metadata of a TCP segment that the device cuts.
func large(ipv6 bool) device.Meta {
	m := partial(tcp, ipv6)
	m.GSO, m.HeaderLen, m.SegmentSize = device.GSOTCP4, m.CsumStart+tcpHeader, 1448
	if ipv6 {
		m.GSO = device.GSOTCP6
	}
	return m
}
