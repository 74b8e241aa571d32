package netpeer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// serialize makes a frame to the guest out of an IP packet's layers, with
// lengths and checksums filled in and padded to Ethernet's minimum. The layers
// come from this file, so an error is a broken invariant.
func serialize(src, dst netip.Addr, proto layers.IPProtocol, rest ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: HostMAC, DstMAC: GuestMAC, EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer
	if src.Is4() {
		ip = &layers.IPv4{Version: 4, TTL: 64, Id: uint16(rand.Uint32()), Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	return finish(append([]gopacket.SerializableLayer{eth, ip}, rest...)...)
}

func finish(all ...gopacket.SerializableLayer) []byte {
	var network gopacket.NetworkLayer
	for _, l := range all {
		switch l := l.(type) {
		case gopacket.NetworkLayer:
			network = l
		case interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				panic(fmt.Sprintf("netpeer: %v", err))
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		panic(fmt.Sprintf("netpeer: %v", err))
	}
	f := b.Bytes()
	for len(f) < 60 {
		f = append(f, 0)
	}
	return f
}

// Datagram is a UDP datagram to the guest.
func Datagram(src, dst netip.AddrPort, payload []byte) []byte {
	return serialize(src.Addr(), dst.Addr(), layers.IPProtocolUDP,
		&layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}, gopacket.Payload(payload))
}

// SYN is the first segment of a TCP connection to the guest.
func SYN(src, dst netip.AddrPort, seq uint32) []byte {
	mss := layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}}
	return serialize(src.Addr(), dst.Addr(), layers.IPProtocolTCP, &layers.TCP{SrcPort: layers.TCPPort(src.Port()),
		DstPort: layers.TCPPort(dst.Port()), Seq: seq, SYN: true, Window: 64240, Options: []layers.TCPOption{mss}})
}

// Ping is an ICMP or ICMPv6 echo request to the guest.
func Ping(src, dst netip.Addr, id, seq uint16, payload []byte) []byte {
	if src.Is4() {
		return serialize(src, dst, layers.IPProtocolICMPv4,
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: seq}, gopacket.Payload(payload))
	}
	return serialize(src, dst, layers.IPProtocolICMPv6,
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)},
		&layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}, gopacket.Payload(payload))
}

// Solicit is a neighbour solicitation (RFC 4861, section 4.3) for target, sent
// to its solicited-node multicast address.
func Solicit(src, target netip.Addr) []byte {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	eth := &layers.Ethernet{SrcMAC: HostMAC, DstMAC: []byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}, EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: src.AsSlice(), DstIP: group.AsSlice()}
	return finish(eth, ip, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)},
		&layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: HostMAC}}})
}

// WhoHas is an ARP request (RFC 826) for target.
func WhoHas(src, target netip.Addr) []byte {
	eth := &layers.Ethernet{SrcMAC: HostMAC, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}
	return finish(eth, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: HostMAC, SourceProtAddress: src.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice()})
}

// Fragment is one fragment of a UDP datagram to the guest that will never be
// complete: id names the datagram, offset is in bytes, a multiple of eight,
// and more fragments are announced.
func Fragment(src, dst netip.Addr, id uint32, offset int, payload []byte) []byte {
	if src.Is4() {
		eth := &layers.Ethernet{SrcMAC: HostMAC, DstMAC: GuestMAC, EthernetType: layers.EthernetTypeIPv4}
		return finish(eth, &layers.IPv4{Version: 4, TTL: 64, Id: uint16(id), Flags: layers.IPv4MoreFragments,
			FragOffset: uint16(offset / 8), Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()},
			gopacket.Payload(payload))
	}
	// gopacket decodes the fragment header (RFC 8200, section 4.5) but does not
	// write it.
	h := []byte{byte(layers.IPProtocolUDP), 0, byte(offset >> 8), byte(offset)&^7 | 1,
		byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	return serialize(src, dst, layers.IPProtocolIPv6Fragment, gopacket.Payload(append(h, payload...)))
}
