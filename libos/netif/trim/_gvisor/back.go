package stack

import (
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// way is how the last peer was reached of whom FindRouteBack was asked.
type way struct {
	mu sync.Mutex
	by *tcpip.Route // in the table; nil: there is none
	r  *Route       // holds no reference
}

// FindRouteBack is FindRoute to the host whose packet came to localAddr by interface id.
// foreign says that the peer's address is an ordinary one of another host's. Then all
// peers that an entry of the table is for are reached alike, and only the address of
// ours is looked at anew.
func (s *Stack) FindRouteBack(foreign bool, id tcpip.NICID, localAddr, remoteAddr tcpip.Address, netProto tcpip.NetworkProtocolNumber, multicastLoop bool) (*Route, tcpip.Error) {
	if !foreign {
		return s.FindRoute(id, localAddr, remoteAddr, netProto, multicastLoop)
	}
	w := &s.ways[0]
	if netProto == header.IPv6ProtocolNumber {
		w = &s.ways[1]
	}
	by := s.wayTo(id, remoteAddr)
	w.mu.Lock()
	defer w.mu.Unlock()
	if by != nil && by == w.by && w.r.LocalAddress() == localAddr {
		if r := w.r.to(remoteAddr); r != nil {
			return r, nil
		}
	}
	r, err := s.FindRoute(id, localAddr, remoteAddr, netProto, multicastLoop)
	if w.by = nil; err == nil && by != nil && r.Loop() == PacketOut && r.NextHop() == by.Gateway && len(r.RemoteLinkAddress()) == 0 {
		w.by, w.r = by, r
	}
	return r, err
}

// wayTo is the first entry of the table of routes that is for addr.
func (s *Stack) wayTo(id tcpip.NICID, addr tcpip.Address) *tcpip.Route {
	s.routeMu.RLock()
	defer s.routeMu.RUnlock()
	for r := s.routeTable.Front(); r != nil; r = r.Next() {
		if r.NIC == id && r.Destination.Contains(addr) {
			return r
		}
	}
	return nil
}

// to is a route like r to another address, or nil if r is good no more.
func (r *Route) to(addr tcpip.Address) *Route {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ours := r.localAddressEndpoint
	if ours == nil || !r.isValidForOutgoingRLocked() || !ours.TryIncRef() {
		return nil
	}
	n := &Route{
		routeInfo:       r.routeInfo,
		localAddressNIC: r.localAddressNIC, localAddressEndpoint: ours,
		outgoingNIC: r.outgoingNIC, linkRes: r.linkRes, mtu: r.mtu,
	}
	n.routeInfo.RemoteAddress = addr
	n.routeInfo.LocalLinkAddress = r.outgoingNIC.NetworkLinkEndpoint.LinkAddress()
	return n
}
