package stack

import "gvisor.dev/gvisor/pkg/tcpip"

// segmentWriter is a LinkEndpoint that sends TCP segments without the layers
// between.
type segmentWriter interface {
	// WriteSegment sends pkt, which starts with the TCP header, over r to the
	// station with the link address remote. It says false when it can't.
	WriteSegment(r *Route, remote tcpip.LinkAddress, p NetworkHeaderParams, pkt *PacketBuffer) (tcpip.Error, bool)
}

// WriteSegment is WritePacket for TCP. A segment that leaves the machine, to a
// neighbour that was reachable a moment ago, goes to the link endpoint at once;
// all others take the way of any packet.
func (r *Route) WriteSegment(p NetworkHeaderParams, pkt *PacketBuffer) tcpip.Error {
	if w, ok := r.outgoingNIC.NetworkLinkEndpoint.(segmentWriter); ok && r.routeInfo.Loop == PacketOut && p.ExperimentOptionValue == 0 {
		if remote, ok := r.knownNeighbour(); ok {
			if err, ok := w.WriteSegment(r, remote, p, pkt); ok {
				return err
			}
		}
	}
	return r.WritePacket(p, pkt)
}

// knownNeighbour is the link address of the next hop, while the neighbour cache
// needs no packet to be sent the usual way to find out, or to check, what it is.
func (r *Route) knownNeighbour() (tcpip.LinkAddress, bool) {
	r.mu.RLock()
	valid, addr, entry := r.isValidForOutgoingRLocked(), r.remoteLinkAddress, r.neighborEntry
	r.mu.RUnlock()
	switch {
	case !valid:
		return "", false
	case len(addr) > 0:
		return addr, true
	case entry == nil:
		return "", false
	}
	return entry.getRemoteLinkAddress()
}
