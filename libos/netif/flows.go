package netif

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
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
	queue straightQueue
	n     atomic.Int32 // entries, so that a machine without connections looks up nothing

	mu sync.Mutex
	m  map[flowKey]stack.TransportEndpoint
}

// straightQueue is what the trimmed stack's TCP offers (package trim): it takes
// a frame for an endpoint without blocking. The frame has headers of link, ip
// and transport bytes, of which head is the beginning. verified says that the
// checksum is known to be good. The goroutine that receives calls Begin before
// it queues frames, here or by way of the layers, and Work after, which processes
// them; then Pay, when those have run whom they were for, to acknowledge what was
// not answered.
type straightQueue interface {
	QueueStraight(to stack.TransportEndpoint, frame buffer.Buffer, head []byte, network tcpip.NetworkProtocolNumber, nic tcpip.NICID, link, ip, transport int, verified bool)
	Begin()
	Work()
	Pay()
}

// layered is a straightQueue of the stack as it comes, on which tests run.
type layered struct {
	QueuePacket func(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
}

// Begin implements straightQueue: other goroutines do the work.
func (layered) Begin() {}

// Work implements straightQueue.
func (layered) Work() {}

// Pay implements straightQueue.
func (layered) Pay() {}

// QueueStraight implements straightQueue.
func (l layered) QueueStraight(to stack.TransportEndpoint, frame buffer.Buffer, _ []byte, network tcpip.NetworkProtocolNumber, nic tcpip.NICID, link, ip, transport int, verified bool) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: frame})
	defer pkt.DecRef()
	pkt.LinkHeader().Consume(link)
	pkt.NetworkHeader().Consume(ip)
	pkt.TransportHeader().Consume(transport)
	pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber = network, header.TCPProtocolNumber
	pkt.NICID, pkt.RXChecksumValidated = nic, verified
	if info, ok := to.(tcpip.Endpoint).Info().(*stack.TransportEndpointInfo); ok {
		l.QueuePacket(to, info.ID, pkt)
	}
}

// flowKey is written like this to be hashed as a block of memory.
type flowKey struct {
	remote, local         [16]byte // the first four bytes, with IPv4
	remotePort, localPort uint16
	etherType             uint16
}

func (f *flows) init(gv *stack.Stack) {
	switch p := gv.TransportProtocolInstance(tcp.ProtocolNumber).(type) {
	case straightQueue:
		f.queue = p
	case interface {
		QueuePacket(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
	}:
		f.queue = layered{p.QueuePacket}
	}
	f.m = map[flowKey]stack.TransportEndpoint{}
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
	f.m[k] = to
	f.n.Store(int32(len(f.m)))
	*key = k
}

// remove forgets an endpoint, unless another one has its place already.
func (f *flows) remove(key *flowKey, ep tcpip.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.m[*key]; ok && any(e) == any(ep) {
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

// take hands a frame to its connection, if there is one and it holds a plain
// segment. head is the start of the frame, which is for our link address.
// verified says that the device vouches for its TCP checksum, and that its IP
// checksum has been checked here. It takes over a frame that it takes, and does
// not block.
func (f *flows) take(head []byte, p packet, frame *buffer.Buffer, verified bool) bool {
	if f.n.Load() == 0 || p.proto != protoTCP || p.fragment {
		return false
	}
	k, ip, n, ok := plain(head, p, int(frame.Size())-ethernetSize, verified)
	if !ok {
		return false
	}
	f.mu.Lock()
	ep, ok := f.m[k]
	f.mu.Unlock()
	if !ok {
		return false
	}
	frame.Truncate(int64(ethernetSize + ip + n))
	f.queue.QueueStraight(ep, *frame, head, tcpip.NetworkProtocolNumber(p.etherType), nic,
		ethernetSize, ip, int(head[p.transport+12]>>4)*4, verified)
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
