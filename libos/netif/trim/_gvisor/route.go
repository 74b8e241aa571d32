package stack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// segmentWriter is a LinkEndpoint that sends TCP segments without the layers
// between.
type segmentWriter interface {
	// WriteSegment sends a segment over r to the station with the link address
	// remote: h is its header but for length and checksum, data what is behind
	// the options, or nil. It keeps nothing of that. It says false when it can't.
	WriteSegment(r *Route, remote tcpip.LinkAddress, p NetworkHeaderParams, h header.TCPFields, options []byte, data *PacketBuffer, gso GSO) (tcpip.Error, bool)
}

// WriteSegment sends a TCP segment that leaves the machine, to a neighbour that
// was reachable a moment ago, by giving it to the link endpoint at once. Where it
// says false the segment has to take the way of any packet.
func (r *Route) WriteSegment(p NetworkHeaderParams, h header.TCPFields, options []byte, data *PacketBuffer, gso GSO) (tcpip.Error, bool) {
	w := r.outgoingNIC.segments
	if w == nil || r.routeInfo.Loop != PacketOut || p.ExperimentOptionValue != 0 {
		return nil, false
	}
	remote, ok := r.knownNeighbour()
	if !ok {
		return nil, false
	}
	return w.WriteSegment(r, remote, p, h, options, data, gso)
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
	case entry != nil:
		return entry.getRemoteLinkAddress()
	case r.linkRes == nil:
		return "", false
	}
	// The first segment over this route.
	n := &r.linkRes.neigh
	n.mu.RLock()
	entry = n.mu.cache[r.nextHop()]
	n.mu.RUnlock()
	if entry == nil {
		return "", false
	}
	addr, ok := entry.getRemoteLinkAddress()
	if ok {
		r.setCachedNeighborEntry(entry)
	}
	return addr, ok
}

// NewReceived is the packet of a frame whose headers have been read: they are
// link, network and transport bytes long. It takes over frame.
func NewReceived(frame buffer.Buffer, network tcpip.NetworkProtocolNumber, link, ip, transport int) *PacketBuffer {
	pk := pkPool.Get().(*PacketBuffer)
	pk.reset()
	pk.buf = frame
	pk.headers[linkHeader] = headerInfo{0, link}
	pk.headers[networkHeader] = headerInfo{link, ip}
	pk.headers[transportHeader] = headerInfo{link + ip, transport}
	pk.consumed = link + ip + transport
	pk.NetworkProtocolNumber = network
	pk.TransportProtocolNumber = header.TCPProtocolNumber
	pk.PktType = tcpip.PacketHost
	pk.InitRefs()
	return pk
}

// ReadSlice moves what fits from the beginning of the data to b.
func (d PacketData) ReadSlice(b []byte) int {
	n := min(len(b), d.Size())
	d.pk.buf.ReadAt(b[:n], int64(d.pk.dataOffset()))
	d.pk.buf.TrimFront(int64(n))
	return n
}

// NewFlat is a packet of data in one piece of memory of the given size.
func NewFlat(size int) *PacketBuffer {
	return NewPacketBuffer(PacketBufferOptions{Payload: buffer.NewFlat(size)})
}

// Flat says whether pk is nobody else's and as NewFlat made it, so that Refill may
// be called.
func (pk *PacketBuffer) Flat(size int) bool {
	return pk.packetBufferRefs.ReadRefs() == 1 && pk.reserved == 0 && pk.consumed == 0 && pk.buf.Flat(size)
}

// Refill makes the data of pk n bytes, which it returns.
func (pk *PacketBuffer) Refill(n int) []byte { return pk.buf.Refill(n) }

// First is the data of pk if that is in one piece.
func (d PacketData) First() []byte {
	v, skip := d.pk.buf.AsViewList(), d.pk.dataOffset()
	if f := v.Front(); f != nil && f == v.Back() && skip <= f.Size() {
		return f.AsSlice()[skip:]
	}
	return nil
}
