package netif

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/format"
	"ampoule/libos/netif/dhcp4"
)

// dhcpQueue is the most DHCP messages that wait for the client.
const dhcpQueue = 4

// dhcpPort carries DHCP messages. Until there is an address, and to all servers,
// they go as frames of our own making; what comes for port 68 is taken before
// the stack, which would refuse it while the address is not ours.
type dhcpPort struct {
	s    *Stack
	in   chan []byte
	conn net.PacketConn // bound to port 68; nil while there is no lease
}

// dhcp makes the DHCP client; the function runs it.
func (s *Stack) dhcp(opts *Options, again <-chan struct{}) (func(context.Context), error) {
	var seed [32]byte
	if _, err := io.ReadFull(opts.Rand, seed[:]); err != nil {
		return nil, format.Errorf("netif: read entropy: %w", err)
	}
	p := &dhcpPort{s: s, in: make(chan []byte, dhcpQueue)}
	s.link.leases = p.take
	c := &dhcp4.Client{
		MAC: s.link.mac6, Hostname: opts.Hostname, Transport: p, Events: p,
		Rand: rand.New(rand.NewChaCha8(seed)), Again: again,
	}
	return func(ctx context.Context) {
		c.Run(ctx)
		if p.conn != nil {
			p.conn.Close()
		}
	}, nil
}

// Received implements dhcp4.Transport.
func (p *dhcpPort) Received() <-chan []byte { return p.in }

// Send implements dhcp4.Transport.
func (p *dhcpPort) Send(msg []byte, from, to netip.Addr) {
	if to.IsValid() && p.conn != nil {
		// An error is a message lost: the client sends it again.
		p.conn.WriteTo(msg, &net.UDPAddr{IP: to.AsSlice(), Port: dhcp4.ServerPort})
		return
	}
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
	}
	p.s.link.sendRaw(toServers(p.s.link.mac6(), from, msg))
}

// toServers is a frame to all DHCP servers on the link.
func toServers(mac [6]byte, from netip.Addr, msg []byte) []byte {
	const headers = ethernetSize + ipv4Size + udpSize
	b := make([]byte, headers+len(msg))
	src, dst := tcpip.AddrFrom4(from.As4()), header.IPv4Broadcast
	header.Ethernet(b).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(mac[:]), DstAddr: header.EthernetBroadcastAddress, Type: typeIPv4,
	})
	ip := header.IPv4(b[ethernetSize:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b) - ethernetSize), TTL: 64, Protocol: protoUDP, SrcAddr: src, DstAddr: dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(b[ethernetSize+ipv4Size:])
	udp.Encode(&header.UDPFields{SrcPort: dhcp4.ClientPort, DstPort: dhcp4.ServerPort, Length: uint16(udpSize + len(msg))})
	copy(udp.Payload(), msg)
	x := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(len(udp)))
	if x = ^checksum.Checksum(udp, x); x == 0 {
		x = 0xffff // 0 would say that there is none (RFC 768)
	}
	udp.SetChecksum(x)
	return b
}

// take takes the frame of pkt, which starts with head and is p, if it is a DHCP
// message to us. verified says that the device vouches for the datagram's
// checksum. The message is copied.
func (d *dhcpPort) take(head []byte, p packet, pkt *stack.PacketBuffer, verified bool) bool {
	if p.etherType != typeIPv4 || p.proto != protoUDP || p.fragment || len(head) < p.transport+udpSize ||
		binary.BigEndian.Uint16(head[p.transport+2:]) != dhcp4.ClientPort {
		return false
	}
	b := pkt.Data().AsRange().ToSlice()
	ip := header.IPv4(b[ethernetSize:])
	udp := header.UDP(b[p.transport:])
	n := int(udp.Length())
	if n < udpSize || n > len(udp) || !headerValid(b, p) {
		return true // for our port, and broken
	}
	udp = udp[:n]
	if !verified && udp.Checksum() != 0 {
		x := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(n))
		if checksum.Checksum(udp, x) != 0xffff {
			return true
		}
	}
	select {
	case d.in <- udp.Payload():
	default: // a flood, or an answer that nobody waits for
	}
	return true
}

// Bound implements dhcp4.Events.
func (p *dhcpPort) Bound(l dhcp4.Lease) {
	a := &p.s.addrs
	a.mu.Lock()
	before, router := a.lease, a.router
	a.mu.Unlock()
	if before == l.Address && router == l.Router {
		a.log.Debug("lease renewed", "ipv4", l.Address, "server", l.Server, "expires", l.Expire)
		return
	}
	if before.IsValid() && before != l.Address {
		p.drop(before)
	}
	if before != l.Address {
		if err := p.s.assign(l.Address); err != nil {
			a.log.Error("the leased address can't be used", "error", err)
			return
		}
	}
	a.mu.Lock()
	a.lease, a.router = l.Address, l.Router
	a.mu.Unlock()
	gateway := "none"
	if l.Router.IsValid() {
		gateway = l.Router.String()
	}
	a.log.Info("lease", "ipv4", l.Address, "gateway", gateway, "server", l.Server, "expires", l.Expire)
	p.s.readdressed()
	p.s.link.sendRaw(gratuitousARP(p.s.link.mac6(), l.Address.Addr()))
	if p.conn == nil {
		conn, err := p.s.ListenPacket("udp4", format.Sprintf(":%d", dhcp4.ClientPort))
		if err != nil {
			a.log.Warn("renewals will be broadcast", "error", err)
			return
		}
		p.conn = conn
	}
}

// Lost implements dhcp4.Events.
func (p *dhcpPort) Lost(reason error) {
	a := &p.s.addrs
	a.mu.Lock()
	lost := a.lease
	a.lease, a.router = netip.Prefix{}, netip.Addr{}
	a.mu.Unlock()
	if !lost.IsValid() {
		return
	}
	p.drop(lost)
	a.log.Warn("lease lost", "ipv4", lost, "reason", reason)
	p.s.readdressed()
}

// drop gives up an address.
func (p *dhcpPort) drop(address netip.Prefix) {
	if err := p.s.gv.RemoveAddress(nic, tcpip.AddrFrom4(address.Addr().As4())); err != nil {
		p.s.addrs.log.Error("the old address can't be removed", "error", err.String())
	}
}

// Waiting implements dhcp4.Events.
func (p *dhcpPort) Waiting(since time.Duration) {
	p.s.addrs.log.Warn("no DHCP server answers", "since", since)
}
