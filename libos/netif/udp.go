package netif

import (
	"fmt"
	"net"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// ListenPacket binds a UDP socket. network and address are as for Go's
// net.ListenPacket, with literal addresses only.
func (s *Stack) ListenPacket(network, address string) (net.PacketConn, error) {
	a, err := s.resolve("udp", network, address)
	if err != nil {
		return nil, err
	}
	var wq waiter.Queue
	ep, terr := s.gv.NewEndpoint(udp.ProtocolNumber, a.proto, &wq)
	if terr != nil {
		return nil, fmt.Errorf("netif: listen %s %s: %s", network, address, terr)
	}
	ep.SocketOptions().SetV6Only(a.only6)
	if terr := ep.Bind(a.full); terr != nil {
		ep.Close()
		return nil, fmt.Errorf("netif: listen %s %s: %s", network, address, terr)
	}
	return gonet.NewUDPConn(&wq, ep), nil
}

func (s *Stack) dialUDP(network, address string) (net.Conn, error) {
	a, err := s.resolve("udp", network, address)
	if err != nil {
		return nil, err
	}
	return gonet.DialUDP(s.gv, nil, &a.full, a.proto)
}
