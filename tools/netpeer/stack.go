package netpeer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1
	mtu = 1500
)

// Stack is a Peer: a gVisor network stack in this process, which needs no
// privilege.
type Stack struct {
	stack  *stack.Stack
	link   *channel.Endpoint
	cable  *os.File
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newStack makes a host on cable, which it owns.
func newStack(cable *os.File, mac net.HardwareAddr, addrs ...netip.Prefix) (*Stack, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Stack{cable: cable, cancel: cancel}
	s.link = channel.New(1024, mtu, tcpip.LinkAddress(mac))
	s.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol,
			// No duplicate address detection: it would hold up the first second.
			ipv6.NewProtocolWithOptions(ipv6.Options{DADConfigs: stack.DADConfigurations{}})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if e := s.stack.CreateNIC(nic, ethernet.New(s.link)); e != nil {
		return nil, fmt.Errorf("netpeer: %s", e)
	}
	for _, p := range addrs {
		addr := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}
		proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
		if p.Addr().Is6() {
			proto = ipv6.ProtocolNumber
		}
		pa := tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: addr}
		if e := s.stack.AddProtocolAddress(nic, pa, stack.AddressProperties{}); e != nil {
			return nil, fmt.Errorf("netpeer: %s: %s", p, e)
		}
	}
	s.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	s.wg.Add(2)
	go s.receive()
	go s.send(ctx)
	return s, nil
}

func (s *Stack) receive() {
	defer s.wg.Done()
	buf := make([]byte, MaxFrame)
	for {
		n, err := s.cable.Read(buf)
		if err != nil {
			return
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(append([]byte(nil), buf[:n]...))})
		s.link.InjectInbound(0, p)
		p.DecRef()
	}
}

func (s *Stack) send(ctx context.Context) {
	defer s.wg.Done()
	for {
		p := s.link.ReadContext(ctx)
		if p == nil {
			return
		}
		v := p.ToView()
		s.cable.Write(v.AsSlice()) // an error means that the cable is gone
		v.Release()
		p.DecRef()
	}
}

// Kind is KindGVisor.
func (s *Stack) Kind() Kind { return KindGVisor }

// address parses a literal address.
func address(addr string) (tcpip.FullAddress, tcpip.NetworkProtocolNumber, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return tcpip.FullAddress{}, 0, fmt.Errorf("netpeer: %w", err)
	}
	proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if ap.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(ap.Addr().AsSlice()), Port: ap.Port()}, proto, nil
}

// DialContext connects from the stack.
func (s *Stack) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to, proto, err := address(addr)
	if err != nil {
		return nil, err
	}
	switch network {
	case "tcp":
		c, err := gonet.DialContextTCP(ctx, s.stack, to, proto)
		if err != nil {
			return nil, err
		}
		return c, nil
	case "udp":
		c, err := gonet.DialUDP(s.stack, nil, &to, proto)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("netpeer: network %q: want tcp or udp", network)
}

// Listen listens for TCP on the stack.
func (s *Stack) Listen(addr string) (net.Listener, error) {
	at, proto, err := address(addr)
	if err != nil {
		return nil, err
	}
	l, err := gonet.ListenTCP(s.stack, at, proto)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends the stack and its connections.
func (s *Stack) Close() error {
	s.cancel()
	err := s.cable.Close()
	s.wg.Wait()
	s.stack.Destroy()
	return err
}
