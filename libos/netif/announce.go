package netif

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/device"
)

// announce tells the neighbours who we are, so that whoever held the address
// before, a former boot of this very image mostly, is forgotten: a gratuitous
// ARP (RFC 5227, section 3) and unsolicited neighbour advertisements (RFC 4861,
// section 7.2.6). Nothing depends on their arrival.
//
// Where addresses come from routers, gVisor asks first whether an IPv6 address
// is somebody else's, and until it knows must not say that it is ours.
func (s *Stack) announce() {
	mac := s.link.mac6()
	for _, p := range s.Addresses() {
		switch {
		case p.Addr().Is4():
			s.link.sendRaw(gratuitousARP(mac, p.Addr()))
		case s.addrs.learned == nil:
			s.link.sendRaw(advertisement(mac, p.Addr()))
		}
	}
}

// gratuitousARP is an ARP request by a for itself (RFC 826).
func gratuitousARP(mac [6]byte, a netip.Addr) []byte {
	b := make([]byte, ethernetSize+header.ARPSize)
	header.Ethernet(b).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(mac[:]),
		DstAddr: header.EthernetBroadcastAddress,
		Type:    header.ARPProtocolNumber,
	})
	r := header.ARP(b[ethernetSize:])
	r.SetIPv4OverEthernet()
	r.SetOp(header.ARPRequest)
	copy(r.HardwareAddressSender(), mac[:])
	copy(r.ProtocolAddressSender(), a.AsSlice())
	copy(r.ProtocolAddressTarget(), a.AsSlice())
	return b
}

// advertisement is an unsolicited neighbour advertisement of a to all nodes.
func advertisement(mac [6]byte, a netip.Addr) []byte {
	const size = header.ICMPv6NeighborAdvertMinimumSize + header.NDPLinkLayerAddressSize
	b := make([]byte, ethernetSize+ipv6Size+size)
	src, dst := tcpip.AddrFrom16(a.As16()), header.IPv6AllNodesMulticastAddress
	header.Ethernet(b).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(mac[:]),
		DstAddr: header.EthernetAddressFromMulticastIPv6Address(dst),
		Type:    header.IPv6ProtocolNumber,
	})
	header.IPv6(b[ethernetSize:]).Encode(&header.IPv6Fields{
		PayloadLength:     size,
		TransportProtocol: header.ICMPv6ProtocolNumber,
		HopLimit:          header.NDPHopLimit,
		SrcAddr:           src,
		DstAddr:           dst,
	})
	m := header.ICMPv6(b[ethernetSize+ipv6Size:])
	m.SetType(header.ICMPv6NeighborAdvert)
	na := header.NDPNeighborAdvert(m.MessageBody())
	na.SetTargetAddress(src)
	na.SetOverrideFlag(true)
	na.Options().Serialize(header.NDPOptionsSerializer{
		header.NDPTargetLinkLayerAddressOption(mac[:]),
	})
	m.SetChecksum(0)
	x := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, src, dst, size)
	m.SetChecksum(^checksum.Checksum(m, x))
	return b
}

// sendRaw sends one frame as it is, if there is room.
func (l *link) sendRaw(b []byte) {
	l.tx.mu.Lock()
	defer l.tx.mu.Unlock()
	buf := l.tx.alloc(len(b))
	if buf == nil {
		l.count.txDropped.Add(1)
		return
	}
	copy(buf.Bytes(), b)
	l.tx.frames[l.tx.n] = device.Frame{Buf: buf}
	l.tx.n++
	l.tx.flush()
}
