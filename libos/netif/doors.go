package netif

import (
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// doors are the listeners that a SYN may go to straight, and what must be known of
// addresses to do without the checks of the layers. flows.mu protects them.
type doors struct {
	open []door
	// mine are addresses of ours that connections have been made to by way of the
	// layers, since our addresses last changed: the layers know which are in use.
	mine []place
	nets []network // of our addresses
}

// door is a listener of one IP version, on all addresses.
type door struct {
	port, etherType uint16
	to              stack.TransportEndpoint
	closed          bool // others listen on this port too: the layers know which is meant
}

// place is an address of ours as a flowKey has it.
type place struct {
	addr      [2]uint64
	etherType uint16
}

// network is one of our addresses, and the bits of an IPv4 address that tell the
// hosts of its network apart.
type network struct {
	place
	hosts uint32
}

// maxMine is how many addresses of ours are remembered.
const maxMine = 16

// seen notes that a connection is under way to an address of ours.
func (d *doors) seen(k *flowKey) {
	p := place{k.local, uint16(k.rest >> 32)}
	if len(d.open) > 0 && len(d.mine) < maxMine && !slices.Contains(d.mine, p) {
		d.mine = append(d.mine, p)
	}
}

// knock is the listener for the SYN of a connection that there is none of, or nil if
// the layers must see it.
func (f *flows) knock(k *flowKey) stack.TransportEndpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.doors
	etherType := uint16(k.rest >> 32)
	for i := range d.open {
		if o := &d.open[i]; o.port == uint16(k.rest) && o.etherType == etherType {
			if !o.closed && slices.Contains(d.mine, place{k.local, etherType}) && d.foreign(k) {
				return o.to
			}
			break
		}
	}
	return nil
}

// foreign says whether k.remote is an ordinary address of somebody else, and its port
// not 0: RFC 1122, section 3.2.1.3, RFC 4291, section 2.5. Others are the layers' to
// refuse.
func (d *doors) foreign(k *flowKey) bool {
	from := place{k.remote, uint16(k.rest >> 32)}
	first := byte(k.remote[0] >> 56)
	if from.etherType == typeIPv4 {
		first = byte(k.remote[0] >> 24)
		if first == 127 || first >= 224 {
			return false
		}
	}
	if first == 0 || first >= 0xfe || uint16(k.rest>>16) == 0 {
		return false
	}
	for i := range d.nets {
		n := &d.nets[i]
		if n.place == from {
			return false
		}
		host := uint32(from.addr[0]) & n.hosts
		if from.etherType == typeIPv4 && n.hosts > 1 && uint32(from.addr[0]^n.addr[0])&^n.hosts == 0 && (host == 0 || host == n.hosts) {
			return false // a broadcast
		}
	}
	return true
}

// settle tells which addresses are ours.
func (f *flows) settle(addresses []netip.Prefix) {
	var nets []network
	for _, p := range addresses {
		n := network{place: place{words(p.Addr().AsSlice()), typeIPv6}}
		if p.Addr().Is4() {
			n.etherType, n.hosts = typeIPv4, uint32(uint64(1)<<(32-p.Bits())-1)
		}
		nets = append(nets, n)
	}
	f.mu.Lock()
	f.doors.nets = nets
	f.mu.Unlock()
}

// listen opens a door to ep, which listens at a.
func (f *flows) listen(a *endpointAddr, ep tcpip.Endpoint) {
	to, ok := ep.(stack.TransportEndpoint)
	if !ok || !f.fed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, etherType := range []uint16{typeIPv4, typeIPv6} {
		if a.proto == header.IPv4ProtocolNumber && etherType == typeIPv6 || a.only6 && etherType == typeIPv4 {
			continue
		}
		o := door{port: a.full.Port, etherType: etherType, to: to, closed: a.full.Addr.Len() > 0}
		for i := range f.doors.open {
			if e := &f.doors.open[i]; e.port == o.port && e.etherType == o.etherType {
				e.closed, o.closed = true, true
			}
		}
		f.doors.open = append(f.doors.open, o)
		f.n.Add(1)
	}
}

// silence closes the doors to ep. One that was closed for its sake stays so, which
// costs little.
func (f *flows) silence(ep tcpip.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.doors.open)
	f.doors.open = slices.DeleteFunc(f.doors.open, func(o door) bool { return any(o.to) == any(ep) })
	f.n.Add(int32(len(f.doors.open) - before))
}
