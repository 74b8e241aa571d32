package netif

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// segmentFlags are the flags of a segment but for those of congestion (RFC 3168).
const segmentFlags = 0x3f

// flows are the TCP connections by their addresses and ports, from the first SYN
// on, so that their segments need not pass the stack's layers to find them. All of
// TCP stays the stack's, and so does every segment that is not plain: IP options or
// extension headers, lengths or checksums that don't fit, an unknown connection
// unless there is a door for it.
//
// A connection that has ended may stay here for a moment: the stack itself
// passes on what is queued to a closed endpoint.
type flows struct {
	queue straightQueue
	fed   bool         // the stack says which connections there are
	n     atomic.Int32 // entries and doors, so that a machine without any looks up nothing

	mu    sync.Mutex
	table []*flow // lists by hash: as many as there are entries, or more
	seed  [3]uint64
	doors doors
}

// flow is an entry of flows. It belongs to who entered it.
type flow struct {
	key  flowKey
	to   stack.TransportEndpoint // nil: the layers find it
	next *flow
}

// straightQueue is what the trimmed stack's TCP offers (package trim): it takes
// a frame for an endpoint without blocking. The frame has headers of link, ip
// and transport bytes, of which head is the beginning. verified says that the
// checksum is known to be good. The goroutine that receives calls Begin before
// it queues frames, here or by way of the layers, and Work after, which processes
// them; then Pay, when those have run whom they were for, to acknowledge what was
// not answered.
//
// Follow has f told of each connection, from before its first segment is sent until
// it gets no more. To a listening endpoint QueueStraight passes SYNs only.
type straightQueue interface {
	Follow(f follower)
	QueueStraight(to stack.TransportEndpoint, frame buffer.Buffer, head []byte, network tcpip.NetworkProtocolNumber, nic tcpip.NICID, link, ip, transport int, verified bool)
	Take(to stack.TransportEndpoint, h, data []byte, frame int) bool
	Begin()
	Work()
	Owes() bool
	Pay()
}

// follower is told of connections: Leave with what Enter gave.
type follower = interface {
	Enter(stack.TransportEndpointID, stack.TransportEndpoint) any
	Leave(any)
}

// layered is a straightQueue of the stack as it comes, on which tests run.
type layered struct {
	QueuePacket func(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
}

// Follow implements straightQueue; it is not called.
func (layered) Follow(follower) {}

// Begin implements straightQueue: other goroutines do the work.
func (layered) Begin() {}

// Take implements straightQueue.
func (layered) Take(stack.TransportEndpoint, []byte, []byte, int) bool { return false }

// Work implements straightQueue.
func (layered) Work() {}

// Owes implements straightQueue: it is not known.
func (layered) Owes() bool { return true }

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

// flowKey tells a connection from others of this machine.
type flowKey struct {
	remote, local [2]uint64 // addresses; the first half of the first, with IPv4
	rest          uint64    // EtherType, remote port, local port
}

// words are an address as a flowKey has it.
func words(b []byte) (w [2]uint64) {
	if len(b) < 16 {
		return [2]uint64{uint64(binary.BigEndian.Uint32(b))}
	}
	return [2]uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// list is where a flow is that has this key. Clients choose their addresses and ports,
// but cannot know the seed.
func (f *flows) list(k *flowKey) **flow {
	h := fold(k.remote[0]^f.seed[0], k.remote[1]^f.seed[1])
	h = fold(h^k.rest, k.local[0]^k.local[1]^f.seed[2])
	return &f.table[h&uint64(len(f.table)-1)]
}

// fold makes one word of two.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// find is the endpoint of a connection, or nil, and whether there is one, which the
// layers may have to find.
func (f *flows) find(k *flowKey) (to stack.TransportEndpoint, there bool) {
	f.mu.Lock()
	e := *f.list(k)
	for e != nil && e.key != *k {
		e = e.next
	}
	if e != nil {
		to = e.to // it may be gone in a moment
	}
	f.mu.Unlock()
	return to, e != nil
}

func (f *flows) init(gv *stack.Stack) {
	f.table = make([]*flow, 16)
	f.seed = [3]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	switch p := gv.TransportProtocolInstance(tcp.ProtocolNumber).(type) {
	case straightQueue:
		f.queue, f.fed = p, true
		p.Follow(f)
	case interface {
		QueuePacket(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
	}:
		f.queue = layered{p.QueuePacket}
	}
}

// Enter enters the endpoint of a connection, and gives what Leave takes. It does not
// block, and may be called with locks of the stack.
func (f *flows) Enter(id stack.TransportEndpointID, ep stack.TransportEndpoint) any {
	etherType := uint64(typeIPv4)
	if id.RemoteAddress.Len() == 16 {
		etherType = typeIPv6
	}
	e := &flow{to: ep, key: flowKey{words(id.RemoteAddress.AsSlice()), words(id.LocalAddress.AsSlice()),
		etherType<<32 | uint64(id.RemotePort)<<16 | uint64(id.LocalPort)}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doors.seen(&e.key)
	f.add(e)
	return e
}

// add enters e. f.mu is held.
func (f *flows) add(e *flow) {
	if n := len(f.table); int(f.n.Load()) >= n {
		f.grow(2 * n)
	}
	f.enter(e)
	f.n.Add(1)
}

// enter puts e before those that have its key: the last one counts.
func (f *flows) enter(e *flow) {
	list := f.list(&e.key)
	e.next, *list = *list, e
}

// grow makes n lists.
func (f *flows) grow(n int) {
	old := f.table
	f.table = make([]*flow, n)
	for _, e := range old {
		var all []*flow // so that those of one key keep their order
		for ; e != nil; e = e.next {
			all = append(all, e)
		}
		for _, e := range slices.Backward(all) {
			f.enter(e)
		}
	}
}

// Leave forgets an endpoint. It does not block, and may be called with locks of the
// stack.
func (f *flows) Leave(entered any) {
	e := entered.(*flow)
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := f.list(&e.key); *p != nil; p = &(*p).next {
		if *p == e {
			*p, e.next, e.to = e.next, nil, nil
			f.n.Add(-1)
			return
		}
	}
}

// forget leaves all connections to the layers, which know whether they may go on:
// addresses of ours have changed. Their entries stay, so that no door takes a SYN for
// one of them.
func (f *flows) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.table {
		for ; e != nil; e = e.next {
			e.to = nil
		}
	}
	f.doors.mine = f.doors.mine[:0]
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
	ep, there := f.find(&k)
	if !there && head[p.transport+13]&segmentFlags == byte(header.TCPFlagSyn) {
		ep = f.knock(&k)
	}
	if ep == nil {
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
		k.remote, k.local = words(b[12:16]), words(b[16:20])
	case typeIPv6:
		ip, rest = ipv6Size, int(binary.BigEndian.Uint16(b[4:]))
		k.remote, k.local = words(b[8:24]), words(b[24:40])
	}
	offset := int(head[p.transport+12]>>4) * 4
	if p.transport != ethernetSize+ip || ip+rest > n || offset < tcpSize || offset > rest || len(head) < p.transport+offset ||
		!verified && !headerValid(head, p) {
		return k, 0, 0, false
	}
	k.rest = uint64(p.etherType)<<32 | uint64(binary.BigEndian.Uint32(head[p.transport:]))
	return k, ip, rest, true
}
