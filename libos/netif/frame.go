package netif

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/device"
)

// Sizes and places in a frame: IEEE 802.3, RFC 791, RFC 8200, RFC 768, RFC 9293.
const (
	ethernetSize = 14
	ipv4Size     = 20
	ipv6Size     = 40
	udpSize      = 8
	udpSum       = 6
	tcpSize      = 20
	tcpSum       = 16

	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoICMPv6   = 58
)

// packet is what netif has to know of a frame's headers.
type packet struct {
	etherType uint16
	transport int   // where the transport header starts, 0 if unknown
	proto     uint8 // IP protocol of it
	fragment  bool
}

// parse reads the headers of an Ethernet frame, of which b holds the start,
// the whole of all headers unless the frame is malformed. It checks only what
// it reads. ok is false when the frame can't be one for the stack.
func parse(b []byte) (p packet, ok bool) {
	if len(b) < ethernetSize {
		return p, false
	}
	p.etherType = binary.BigEndian.Uint16(b[12:])
	ip := b[ethernetSize:]
	switch p.etherType {
	case typeARP:
		return p, true
	case typeIPv4:
		if len(ip) < ipv4Size || ip[0]>>4 != 4 {
			return p, false
		}
		n := int(ip[0]&15) * 4
		if n < ipv4Size || len(ip) < n {
			return p, false
		}
		p.proto, p.transport = ip[9], ethernetSize+n
		// More fragments, or an offset: RFC 791, section 3.1.
		p.fragment = binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
		return p, true
	case typeIPv6:
		if len(ip) < ipv6Size || ip[0]>>4 != 6 {
			return p, false
		}
		return p.extensions(ip)
	}
	return p, false
}

// extensions walks the IPv6 extension headers up to the transport header or
// a fragment header (RFC 8200, section 4).
func (p *packet) extensions(ip []byte) (packet, bool) {
	next, at := ip[6], ipv6Size
	for range 8 {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(ip) < at+8 {
				return *p, false
			}
			next, at = ip[at], at+8+8*int(ip[at+1])
		case protoFragment:
			p.fragment = true
			return *p, true
		default:
			if at > len(ip) {
				return *p, false
			}
			p.proto, p.transport = next, ethernetSize+at
			return *p, true
		}
	}
	return *p, false
}

// offload fills in f's Meta for a packet that the stack has built into it, and
// completes the part of its checksum that is the sender's. It says false for a
// fragment that the configuration does not let out.
func (l *link) offload(f *device.Frame, pkt *stack.PacketBuffer) bool {
	b := f.Buf.Bytes()
	p, ok := parse(b)
	if !ok {
		return true // multicast listener reports and the like: nothing to add
	}
	l.asking.sent(b, p)
	if p.fragment {
		return l.frags
	}
	gso := &pkt.GSOOptions
	done := gso.Type != stack.GSONone && gso.NeedsCsum
	if !done && (l.info.Offload&device.TxChecksum == 0 || l.frags) {
		return true
	}
	sum, size := tcpSum, tcpSize
	switch {
	case p.proto == protoUDP:
		sum, size = udpSum, udpSize
	case p.proto != protoTCP:
		return true
	}
	if p.transport == 0 || len(b) < p.transport+size {
		return true
	}
	if !done {
		pseudo(b, p, pkt.Size()-p.transport, sum)
	}
	f.State = device.ChecksumPartial
	f.CsumStart, f.CsumOffset = uint16(p.transport), uint16(sum)
	if !done || pkt.Data().Size() <= int(gso.MSS) {
		return true
	}
	f.GSO = device.GSOTCP4
	if p.etherType == typeIPv6 {
		f.GSO = device.GSOTCP6
	}
	f.HeaderLen, f.SegmentSize = uint16(pkt.HeaderSize()), gso.MSS
	return true
}

// pseudo stores the sum of the pseudo-header, which the device takes as the
// start of the checksum (virtio 1.2, section 5.1.6.2). n is the length of the
// transport header with its payload.
func pseudo(b []byte, p packet, n, sum int) {
	addrs := b[ethernetSize+12 : ethernetSize+ipv4Size]
	if p.etherType == typeIPv6 {
		addrs = b[ethernetSize+8 : ethernetSize+ipv6Size]
	}
	x := checksum.Checksum(addrs, uint16(p.proto))
	x = checksum.Combine(x, uint16(n))
	binary.BigEndian.PutUint16(b[p.transport+sum:], x)
}

// headerValid checks the sum of an IPv4 header, which a device that vouches
// for the transport checksum need not have looked at.
func headerValid(b []byte, p packet) bool {
	if p.etherType != typeIPv4 {
		return true
	}
	return header.IPv4(b[ethernetSize:p.transport]).CalculateChecksum() == 0xffff
}
