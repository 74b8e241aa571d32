package netif

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// flows are the established TCP connections by their addresses and ports, so
// that their segments need not pass the stack's layers to find them. All of TCP
// stays the stack's, and so does every segment that is not plain: IP options or
// extension headers, lengths or checksums that don't fit, an unknown connection.
//
// A connection that has ended may stay here for a moment: the stack itself
// passes on what is queued to a closed endpoint.
type flows struct {
	queue segmentQueue
	n     atomic.Int32 // entries, so that a machine without connections looks up nothing

	mu sync.Mutex
	m  map[flowKey]flow
}

// segmentQueue is what the stack's TCP offers to its layers: it takes a segment
// for an endpoint, without blocking.
type segmentQueue interface {
	QueuePacket(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
}

// flowKey is written like this to be hashed as a block of memory.
type flowKey struct {
	remote, local         [16]byte // the first four bytes, with IPv4
	remotePort, localPort uint16
	etherType             uint16
}

type flow struct {
	ep stack.TransportEndpoint
	id stack.TransportEndpointID
}

func (f *flows) init(gv *stack.Stack) {
	f.queue, _ = gv.TransportProtocolInstance(tcp.ProtocolNumber).(segmentQueue)
	f.m = map[flowKey]flow{}
}

// add enters an established endpoint, and sets key to what remove takes.
func (f *flows) add(key *flowKey, ep tcpip.Endpoint) {
	info, ok := ep.Info().(*stack.TransportEndpointInfo)
	to, tok := ep.(stack.TransportEndpoint)
	if !ok || !tok || f.queue == nil {
		return
	}
	id := info.ID
	k := flowKey{remotePort: id.RemotePort, localPort: id.LocalPort, etherType: typeIPv4}
	if id.RemoteAddress.Len() == len(k.remote) {
		k.etherType = typeIPv6
	}
	copy(k.remote[:], id.RemoteAddress.AsSlice())
	copy(k.local[:], id.LocalAddress.AsSlice())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m[k] = flow{to, id}
	f.n.Store(int32(len(f.m)))
	*key = k
}

// remove forgets an endpoint, unless another one has its place already.
func (f *flows) remove(key *flowKey, ep tcpip.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.m[*key]; ok && any(e.ep) == any(ep) {
		delete(f.m, *key)
		f.n.Store(int32(len(f.m)))
	}
}

// forget forgets all: addresses of ours have changed. The connections go on by
// way of the layers, which know whether they may.
func (f *flows) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.m)
	f.n.Store(0)
}

// take hands a segment to its connection, if there is one and the segment is a
// plain one. head is the start of the frame, and pkt the frame with its link
// header consumed. verified says that the device vouches for its TCP checksum,
// and that its IP checksum has been checked here. It does not block.
func (f *flows) take(head []byte, p packet, pkt *stack.PacketBuffer, verified bool) bool {
	if f.n.Load() == 0 || p.proto != protoTCP || p.fragment || pkt.PktType != tcpip.PacketHost {
		return false
	}
	k, ip, n, ok := plain(head, p, pkt.Data().Size(), verified)
	if !ok {
		return false
	}
	f.mu.Lock()
	e, ok := f.m[k]
	f.mu.Unlock()
	if !ok {
		return false
	}
	offset := int(head[p.transport+12]>>4) * 4
	pkt.NetworkHeader().Consume(ip)
	pkt.Data().CapLength(n)
	pkt.TransportHeader().Consume(offset)
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	pkt.NICID, pkt.RXChecksumValidated = nic, verified
	f.queue.QueuePacket(e.ep, e.id, pkt)
	return true
}

// plain reads the addresses and ports of a segment with n bytes of IP packet
// and more, and says how many bytes its IP header has and the rest. ok is false
// when not all of it is as usual.
func plain(head []byte, p packet, n int, verified bool) (k flowKey, ip, rest int, ok bool) {
	b := head[ethernetSize:]
	if len(head) < p.transport+tcpSize {
		return k, 0, 0, false
	}
	switch p.etherType {
	case typeIPv4:
		ip, rest = ipv4Size, int(binary.BigEndian.Uint16(b[2:]))-ipv4Size
		copy(k.remote[:4], b[12:])
		copy(k.local[:4], b[16:])
	case typeIPv6:
		ip, rest = ipv6Size, int(binary.BigEndian.Uint16(b[4:]))
		copy(k.remote[:], b[8:])
		copy(k.local[:], b[24:])
	}
	offset := int(head[p.transport+12]>>4) * 4
	if p.transport != ethernetSize+ip || ip+rest > n || offset < tcpSize || offset > rest || len(head) < p.transport+offset ||
		!verified && !headerValid(head, p) {
		return k, 0, 0, false
	}
	k.etherType = p.etherType
	k.remotePort = binary.BigEndian.Uint16(head[p.transport:])
	k.localPort = binary.BigEndian.Uint16(head[p.transport+2:])
	return k, ip, rest, true
}
