package netif

import (
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/format"
)

// ListenPacket binds a UDP socket. network and address are as for Go's
// net.ListenPacket, with literal addresses only. The socket is a *UDPConn.
func (s *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	a, err := s.resolve("udp", network, address)
	if err != nil {
		return nil, err
	}
	c := s.newUDP(a.proto)
	if a.proto == header.IPv6ProtocolNumber && !a.only6 {
		c.protos = append(c.protos, header.IPv4ProtocolNumber)
	}
	c.id.LocalAddress = a.full.Addr
	if err := c.bind(a.full.Port); err != nil {
		return nil, format.Errorf("netif: listen %s %s: %s", network, address, err)
	}
	return c, nil
}

// dialUDP makes a socket that hears one peer only.
func (s *Stack) dialUDP(network, address string) (net.Conn, error) {
	a, err := s.resolve("udp", network, address)
	if err != nil {
		return nil, err
	}
	if a.full.Addr.Len() == 0 || a.full.Port == 0 {
		return nil, format.Errorf("netif: dial %s %s: missing address or port", network, address)
	}
	c := s.newUDP(a.proto)
	r, terr := s.gv.FindRoute(nic, tcpip.Address{}, a.full.Addr, a.proto, false)
	if terr != nil {
		return nil, format.Errorf("netif: dial %s %s: %s", network, address, terr)
	}
	c.id.LocalAddress, c.id.RemoteAddress, c.id.RemotePort = r.LocalAddress(), a.full.Addr, a.full.Port
	r.Release()
	if err := c.bind(0); err != nil {
		return nil, format.Errorf("netif: dial %s %s: %s", network, address, err)
	}
	return c, nil
}

func (s *Stack) newUDP(proto tcpip.NetworkProtocolNumber) *UDPConn {
	return &UDPConn{
		s: s, protos: []tcpip.NetworkProtocolNumber{proto},
		ring: make([]datagram, s.limits.UDPPackets), ready: make(chan struct{}, 1),
	}
}

// bind takes a port, any for 0, and starts to receive.
func (c *UDPConn) bind(port uint16) tcpip.Error {
	c.port = ports.Reservation{
		Networks: c.protos, Transport: header.UDPProtocolNumber, Addr: c.id.LocalAddress, Port: port,
		Dest: tcpip.FullAddress{Addr: c.id.RemoteAddress, Port: c.id.RemotePort},
	}
	var failed tcpip.Error
	got, err := c.s.gv.ReservePort(c.s.gv.SecureRNG(), c.port, func(p uint16) (bool, tcpip.Error) {
		c.id.LocalPort = p
		failed = c.s.gv.RegisterTransportEndpoint(c.protos, header.UDPProtocolNumber, c.id, c, c.port.Flags, 0)
		if _, used := failed.(*tcpip.ErrPortInUse); used {
			return false, nil
		}
		return failed == nil, failed
	})
	c.port.Port = got
	return err
}

// HandlePacket implements stack.TransportEndpoint: a datagram has arrived. It
// does not block.
func (c *UDPConn) HandlePacket(id stack.TransportEndpointID, pkt *stack.PacketBuffer) {
	udp := header.UDP(pkt.TransportHeader().Slice())
	ip := pkt.Network()
	stats := c.s.gv.Stats().UDP
	size, sum := header.UDPValid(udp, func() uint16 { return pkt.Data().Checksum() }, uint16(pkt.Data().Size()),
		pkt.NetworkProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), pkt.RXChecksumValidated)
	if !size {
		stats.MalformedPacketsReceived.Increment()
		return
	}
	if !sum {
		stats.ChecksumErrors.Increment()
		return
	}
	stats.PacketsReceived.Increment()
	n := pkt.Data().Size()
	c.mu.Lock()
	full := c.n == len(c.ring) || c.bytes+n > max(c.s.limits.UDPReceive, n)
	if full || c.closed {
		c.mu.Unlock()
		c.s.link.count.udpDropped.Add(1)
		return
	}
	c.ring[(c.head+c.n)%len(c.ring)] = datagram{pkt: pkt.IncRef(), peer: Peer{
		Remote: netip.AddrPortFrom(addr(id.RemoteAddress), id.RemotePort), Local: addr(id.LocalAddress),
	}}
	c.n++
	c.bytes += n
	c.mu.Unlock()
	c.wake()
}

// HandleError implements stack.TransportEndpoint: an ICMP error came for what
// a connected socket has sent.
func (c *UDPConn) HandleError(err stack.TransportError, _ *stack.PacketBuffer) {
	if c.id.RemotePort == 0 || err.Kind() != stack.DestinationPortUnreachableTransportError {
		return
	}
	c.mu.Lock()
	c.refused = true
	c.mu.Unlock()
	c.wake()
}

// Abort implements stack.TransportEndpoint.
func (c *UDPConn) Abort() { c.Close() }

// Wait implements stack.TransportEndpoint.
func (c *UDPConn) Wait() {}

// addr converts an address of the stack's. IPv4 stays IPv4.
func addr(a tcpip.Address) netip.Addr {
	if a.Len() == 4 {
		return netip.AddrFrom4(a.As4())
	}
	return netip.AddrFrom16(a.As16())
}

// full converts an address to the stack's.
func full(a netip.Addr) (tcpip.Address, tcpip.NetworkProtocolNumber) {
	switch a = a.Unmap(); {
	case !a.IsValid():
		return tcpip.Address{}, 0
	case a.Is4():
		return tcpip.AddrFrom4(a.As4()), header.IPv4ProtocolNumber
	}
	return tcpip.AddrFrom16(a.As16()), header.IPv6ProtocolNumber
}
