package netif

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// gVisor queues up to 256 packets for each of up to 64 neighbours whose link
// addresses it is asking for: 16,384 answers, if somebody on our network makes
// up senders. Both numbers are constants of its. The asking table therefore
// watches the questions go out and lets in only Limits.NeighbourQueue frames
// from such a neighbour until gVisor knows the answer.

// askedFor is how long gVisor keeps asking (RFC 4861, section 10: three
// solicitations a second apart).
const askedFor = 3 * time.Second

// askingSize is gVisor's number of neighbours it asks for at a time.
const askingSize = 64

type asking struct {
	limit int
	n     atomic.Int32 // entries in use, so that the usual case costs no lock

	mu      sync.Mutex
	entries [askingSize]asked // entries[:n], oldest first
}

type asked struct {
	addr  netip.Addr
	since time.Time
	in    int // frames let in
}

// sent looks at a frame that goes out. A question to a single station asks
// whether a neighbour whose link address is known is still there (RFC 4861,
// section 7.3.3): nothing waits for its answer.
func (a *asking) sent(b []byte, p packet) {
	target, ok := solicited(b, p)
	if !ok || b[0]&1 == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	i := a.find(target)
	switch {
	case i >= 0 && now.Sub(a.entries[i].since) < askedFor:
		return
	case i >= 0:
		a.remove(i)
	case a.n.Load() == askingSize:
		a.remove(0)
	}
	a.entries[a.n.Load()] = asked{addr: target, since: now}
	a.n.Add(1)
}

// received looks at a frame that comes in, and says whether it may. What looks
// like an answer may, but does not end the question: it may be forged, and only
// gVisor knows whether it took it (ended).
func (a *asking) received(b []byte, p packet) bool {
	if a.n.Load() == 0 {
		return true
	}
	sender, answer := sender(b, p)
	if answer {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.find(sender)
	switch {
	case i < 0:
		return true
	case time.Since(a.entries[i].since) >= askedFor:
		a.remove(i)
		return true
	}
	a.entries[i].in++
	return a.entries[i].in <= a.limit
}

// ended takes note of what gVisor knows of a neighbour. The neighbour's entry is
// locked, so it must not call the stack.
func (a *asking) ended(e stack.NeighborEntry) {
	if a.n.Load() == 0 || e.State == stack.Incomplete {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.find(addr(e.Addr)); i >= 0 {
		a.remove(i)
	}
}

// OnNeighborAdded implements stack.NUDDispatcher.
func (a *asking) OnNeighborAdded(_ tcpip.NICID, e stack.NeighborEntry) { a.ended(e) }

// OnNeighborChanged implements stack.NUDDispatcher.
func (a *asking) OnNeighborChanged(_ tcpip.NICID, e stack.NeighborEntry) { a.ended(e) }

// OnNeighborRemoved implements stack.NUDDispatcher.
func (a *asking) OnNeighborRemoved(_ tcpip.NICID, e stack.NeighborEntry) { a.ended(e) }

func (a *asking) find(addr netip.Addr) int {
	for i := range a.entries[:a.n.Load()] {
		if a.entries[i].addr == addr {
			return i
		}
	}
	return -1
}

func (a *asking) remove(i int) {
	n := int(a.n.Load())
	copy(a.entries[i:n], a.entries[i+1:n])
	a.n.Store(int32(n - 1))
}

// solicited is the neighbour that a frame of ours asks for: the target of an
// ARP request (RFC 826) or a neighbour solicitation (RFC 4861, section 4.3).
func solicited(b []byte, p packet) (netip.Addr, bool) {
	switch {
	case p.etherType == typeARP && len(b) >= ethernetSize+header.ARPSize:
		r := header.ARP(b[ethernetSize:])
		target := netip.AddrFrom4([4]byte(r.ProtocolAddressTarget()))
		return target, r.Op() == header.ARPRequest && target != netip.AddrFrom4([4]byte(r.ProtocolAddressSender()))
	case p.proto == protoICMPv6 && len(b) >= p.transport+header.ICMPv6NeighborSolicitMinimumSize:
		m := header.ICMPv6(b[p.transport:])
		target := header.NDPNeighborSolicit(m.MessageBody()).TargetAddress()
		return addr(target), m.Type() == header.ICMPv6NeighborSolicit
	}
	return netip.Addr{}, false
}

// sender is who sent a frame, and whether the frame itself tells the sender's
// link address, so that gVisor must see it.
func sender(b []byte, p packet) (netip.Addr, bool) {
	ip := b[ethernetSize:]
	switch {
	case p.etherType == typeARP && len(ip) >= header.ARPSize:
		return netip.AddrFrom4([4]byte(header.ARP(ip).ProtocolAddressSender())), true
	case p.etherType == typeIPv4:
		return netip.AddrFrom4([4]byte(ip[12:])), false
	case p.etherType == typeIPv6:
		advert := p.proto == protoICMPv6 && len(b) > p.transport &&
			header.ICMPv6(b[p.transport : p.transport+1])[0] == byte(header.ICMPv6NeighborAdvert)
		return addr(tcpip.AddrFrom16([16]byte(ip[8:]))), advert
	}
	return netip.Addr{}, false
}
