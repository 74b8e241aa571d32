package tcp

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// follower is told of connections: Enter when one is registered, before its first
// segment is sent, Leave when it gets no more. Both are called with the endpoint
// locked, and don't block; Leave is given what Enter gave.
type follower = interface {
	Enter(stack.TransportEndpointID, stack.TransportEndpoint) any
	Leave(any)
}

// Follow has f told, from before the first connection on.
func (p *protocol) Follow(f follower) { p.follower = f }

// registered notes that e gets segments from now on.
//
// +checklocks:e.mu
func (e *Endpoint) registered() {
	e.isRegistered = true
	if f := e.protocol.follower; f != nil {
		e.followed = f.Enter(e.TransportEndpointInfo.ID, e)
	}
}

// leave notes that e gets none any more.
//
// +checklocks:e.mu
func (e *Endpoint) leave() {
	if e.followed != nil {
		e.protocol.follower.Leave(e.followed)
		e.followed = nil
	}
}

// opens is the connection that the segment of pkt with header h would open.
func opens(pkt *stack.PacketBuffer, h header.TCP) stack.TransportEndpointID {
	id := stack.TransportEndpointID{LocalPort: h.DestinationPort(), RemotePort: h.SourcePort()}
	b := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		id.LocalAddress, id.RemoteAddress = header.IPv4(b).DestinationAddress(), header.IPv4(b).SourceAddress()
	} else {
		id.LocalAddress, id.RemoteAddress = header.IPv6(b).DestinationAddress(), header.IPv6(b).SourceAddress()
	}
	return id
}

// countSyn counts a SYN or SYN-ACK that was sent, or was not for err.
func (e *Endpoint) countSyn(err tcpip.Error) {
	if err != nil {
		e.stats.SendErrors.SynSendToNetworkFailed.Increment()
		return
	}
	e.stats.SegmentsSent.Increment()
}
