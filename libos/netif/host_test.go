package netif

import (
	"bytes"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// host is a peer made of single frames: it answers ARP and neighbour
// solicitations for all addresses but those in silent, and collects the rest.
type host struct {
	t      testing.TB
	dev    *netiftest.Device // the stack's end
	mac    [6]byte
	frames chan []byte
	silent atomic.Bool
}

// newHost brings up a stack, whose peer is a host.
func newHost(t testing.TB, o netiftest.Options, cfg Config, l Limits) (*host, *Stack) {
	dev, _ := netiftest.Pair(o, netiftest.Options{RxRing: 1})
	t.Cleanup(func() { dev.Check(t) })
	h := &host{t: t, dev: dev, mac: [6]byte{2, 0, 0, 0, 0, 9}, frames: make(chan []byte, 4096)}
	dev.Tap(h.see)
	s := newTestStack(t, dev, cfg, l)
	t.Cleanup(func() { dev.Tap(nil) })
	return h, s
}

func (h *host) see(b []byte, _ device.Meta) {
	p, _ := parse(b)
	switch {
	case p.etherType == typeARP && header.ARP(b[14:]).Op() == header.ARPRequest:
		if r := header.ARP(b[14:]); !h.silent.Load() && !bytes.Equal(r.ProtocolAddressSender(), r.ProtocolAddressTarget()) {
			h.dev.Inject(h.arpReply(r))
			return
		}
	case p.proto == 58 && header.ICMPv6(b[p.transport:]).Type() == header.ICMPv6NeighborSolicit:
		if !h.silent.Load() {
			h.dev.Inject(h.advert(header.NDPNeighborSolicit(b[p.transport+4:]).TargetAddress()))
			return
		}
	}
	select {
	case h.frames <- bytes.Clone(b):
	default:
	}
}

func (h *host) arpReply(q header.ARP) []byte {
	b := h.ethernet(typeARP, header.ARPSize)
	r := header.ARP(b[14:])
	r.SetIPv4OverEthernet()
	r.SetOp(header.ARPReply)
	copy(r.HardwareAddressSender(), h.mac[:])
	copy(r.ProtocolAddressSender(), q.ProtocolAddressTarget())
	copy(r.HardwareAddressTarget(), q.HardwareAddressSender())
	copy(r.ProtocolAddressTarget(), q.ProtocolAddressSender())
	return b
}

// advert is a solicited neighbour advertisement of a.
func (h *host) advert(a tcpip.Address) []byte {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	b := advertisement(h.mac, addr)
	mac := h.dev.Info().MAC
	copy(b, mac[:])
	header.IPv6(b[14:]).SetDestinationAddress(tcpip.AddrFrom16(netip.MustParseAddr(addrB6).As16()))
	m := header.ICMPv6(b[54:])
	header.NDPNeighborAdvert(m.MessageBody()).SetSolicitedFlag(true)
	h.sum6(b)
	return b
}

func (h *host) sum6(b []byte) {
	m := header.ICMPv6(b[54:])
	ip := header.IPv6(b[14:])
	m.SetChecksum(0)
	x := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(m)))
	m.SetChecksum(^checksum.Checksum(m, x))
}

// ethernet is a frame to the stack with room for n bytes.
func (h *host) ethernet(etherType tcpip.NetworkProtocolNumber, n int) []byte {
	b := make([]byte, 14+n)
	mac := h.dev.Info().MAC
	header.Ethernet(b).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(h.mac[:]), DstAddr: tcpip.LinkAddress(mac[:]), Type: etherType,
	})
	return b
}

// ip is a frame with an IP header, from src to the stack's address of the same
// family, and room for n bytes after it.
func (h *host) ip(src string, proto tcpip.TransportProtocolNumber, n int) []byte {
	from := netip.MustParseAddr(src)
	if from.Is4() {
		b := h.ethernet(typeIPv4, 20+n)
		ip := header.IPv4(b[14:])
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(20 + n), TTL: 64, Protocol: uint8(proto),
			SrcAddr: tcpip.AddrFrom4(from.As4()), DstAddr: tcpip.AddrFrom4(netip.MustParseAddr(addrB4).As4()),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		return b
	}
	b := h.ethernet(typeIPv6, 40+n)
	header.IPv6(b[14:]).Encode(&header.IPv6Fields{
		PayloadLength: uint16(n), HopLimit: 64, TransportProtocol: proto,
		SrcAddr: tcpip.AddrFrom16(from.As16()), DstAddr: tcpip.AddrFrom16(netip.MustParseAddr(addrB6).As16()),
	})
	return b
}

// udp is a datagram to port of the stack.
func (h *host) udp(src string, port uint16, payload []byte) []byte {
	b := h.ip(src, header.UDPProtocolNumber, 8+len(payload))
	h.transport(b, func(t []byte) {
		header.UDP(t).Encode(&header.UDPFields{SrcPort: 4000, DstPort: port, Length: uint16(len(t))})
		copy(t[8:], payload)
	}, udpSum)
	return b
}

// syn is the first segment of a connection.
func (h *host) syn(src string, from, to uint16, seq uint32) []byte {
	b := h.ip(src, header.TCPProtocolNumber, 20)
	h.transport(b, func(t []byte) {
		header.TCP(t).Encode(&header.TCPFields{
			SrcPort: from, DstPort: to, SeqNum: seq, DataOffset: 20, Flags: header.TCPFlagSyn, WindowSize: 4096,
		})
	}, tcpSum)
	return b
}

// transport lets f fill in the transport part of b and sets its checksum.
func (h *host) transport(b []byte, f func([]byte), sum int) {
	p, ok := parse(b)
	if !ok {
		h.t.Fatal("own frame does not parse")
	}
	t := b[p.transport:]
	f(t)
	pseudo(b, p, len(t), sum)
	x := ^checksum.Checksum(t, 0)
	t[sum], t[sum+1] = byte(x>>8), byte(x)
}

// want waits for a frame that f accepts and returns it.
func (h *host) want(what string, f func(b []byte, p packet) bool) []byte {
	h.t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case b := <-h.frames:
			if p, ok := parse(b); ok && f(b, p) {
				return b
			}
		case <-timeout:
			h.t.Fatalf("no %s came", what)
		}
	}
}

// settled waits until the stack has dealt with all frames that were injected, and a
// little longer, for goroutines that those woke.
func (h *host) settled() {
	h.t.Helper()
	asked := h.dev.Asked()
	for end := time.Now().Add(20 * time.Second); h.dev.Asked() == asked; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			h.t.Fatal("the stack no longer receives")
		}
		h.dev.Ready().Wake() // it asks again when it is done
	}
	time.Sleep(5 * time.Millisecond)
}
