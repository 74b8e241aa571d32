// Package fastudp answers datagrams in the driver's receive buffer: parse,
// answer, swap addresses, send the very page back. Nothing is allocated and
// nothing goes through the stack.
//
// It takes only what is beyond doubt: Ethernet to our own address, IPv4
// without options or fragments or IPv6 without extension headers, to one of our
// unicast addresses and a served port, with a checksum that holds, from a
// unicast source. Everything else goes on to the stack, which then answers or
// refuses it as it would without this package.
//
// Specifications: RFC 768, 791, 8200, 1624.
package fastudp

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
	"ampoule/libos/netif"
)

// Handler answers one datagram. Reply must not block, allocate or keep its
// arguments.
type Handler interface {
	// Reply answers the request b[:n] in place: it writes the answer to the
	// start of b and returns its length. 0 means no answer: the datagram is
	// dropped. A negative number hands the request on to the stack; b[:n] must
	// then be as it was. b is the device's memory, which may change at any
	// time; it is as long as an answer may be, at most MaxAnswer. from is who
	// asks, as the packet says.
	Reply(b []byte, n int, from *Peer) int
}

// Burster is a Handler that may want to know when a burst of datagrams begins: Burst
// is as netif.Burster has it.
type Burster interface {
	Handler
	Burst() func()
}

// Peer is the address of who asks as on the wire, the first octet lowest, IPv4 in
// the low half of Addr[0].
type Peer struct {
	Addr [2]uint64
	V4   bool
}

// MaxAnswer is the largest datagram in bytes that is handled here; larger ones
// are the stack's.
const MaxAnswer = 1400

// Path is a netif.FastPath for one UDP port.
type Path struct {
	handler Handler
	port    uint16 // as on the wire, the first octet lowest
	most    int    // bytes of a datagram
	mac     uint64 // as on the wire
	macHigh uint64 // its first two octets, highest
	macLow  uint32 // the others
	sums    bool   // the device completes checksums
	ours    atomic.Pointer[ours]
	ident   uint16
	peer    Peer // of the datagram in hand

	// Answered, Dropped and Passed count datagrams for the port; any
	// goroutine may read them, exact to a word.
	Answered, Dropped, Passed uint64
}

// ours is the addresses that are answered for, as on the wire. It is never
// changed.
type ours struct {
	one  network   // the first IPv4 address, which mostly is the only one
	more []network // the others
	v6   [][2]uint64
	// never has the first octets of IPv4 addresses that may not be answered:
	// multicast, broadcast, loopback and "this network" (RFC 1122, section 3.2.1.3);
	// all, if we have none.
	never [256]bool
}

// network is an IPv4 address of ours and the broadcast address of its network.
type network struct{ addr, cast uint32 }

// New makes a fast path that gives datagrams to port on any of the addresses to
// h.
func New(info device.NetInfo, addresses []netip.Prefix, port uint16, h Handler) *Path {
	p := &Path{handler: h, port: swap(port)}
	p.Relink(info)
	p.SetAddresses(addresses)
	return p
}

// Relink implements netif.Relinker.
func (p *Path) Relink(info device.NetInfo) {
	p.most, p.sums = min(MaxAnswer, info.MTU-ip6Size-udpSize), info.Offload&device.TxChecksum != 0
	p.mac = uint64(le.Uint32(info.MAC[:])) | uint64(le.Uint16(info.MAC[4:]))<<32
	p.macHigh, p.macLow = p.mac<<48, uint32(p.mac>>16)
}

// SetAddresses implements netif.Readdresser.
func (p *Path) SetAddresses(addresses []netip.Prefix) {
	o := new(ours)
	some := slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is4() })
	for i := range o.never {
		o.never[i] = i == 0 || i == 127 || i >= 224 || !some
	}
	for _, a := range addresses {
		if a.Addr().Is4() {
			b := a.Addr().As4()
			n := network{le.Uint32(b[:]), broadcast(a)}
			if o.one == (network{}) {
				o.one = n
			} else {
				o.more = append(o.more, n)
			}
		} else if a.Addr().Is6() {
			b := a.Addr().As16()
			o.v6 = append(o.v6, [2]uint64{le.Uint64(b[:]), le.Uint64(b[8:])})
		}
	}
	p.ours.Store(o)
}

// Burst implements netif.Burster.
func (p *Path) Burst() func() {
	if b, ok := p.handler.(Burster); ok {
		return b.Burst()
	}
	return nil
}

var (
	_ netif.Readdresser = (*Path)(nil)
	_ netif.Burster     = (*Path)(nil)
)

// Sizes in a frame.
const (
	ethSize  = 14
	ip4Size  = 20
	ip6Size  = 40
	udpSize  = 8
	protoUDP = 17
	hopLimit = 64
)

// Values as loaded with the first octet lowest.
const (
	etherIP4   = 0x0008
	etherIP6   = 0xdd86
	fragmented = 0xffbf // all but "don't fragment"
	sumUDP     = protoUDP << 8
	sumHop     = hopLimit | protoUDP<<8
)

// le is the order in which words are loaded: a checksum does not care (RFC 1071
// section 2), so no octets are swapped for it.
var le = binary.LittleEndian

// reach is how much of a page is looked at: more than a frame that is handled here
// has, and constant, so that one comparison bounds all that follows.
const reach = 2048

// A frame that starts in the first half of a page has that much. (A package that names
// another has its methods inlined.)
var _ [iopage.Size - 2*reach]byte

// Frame implements netif.FastPath. What is checked is loaded once, as the device
// may still write to the page.
func (p *Path) Frame(f *device.Frame) netif.Verdict {
	b := f.Buf
	size, at := b.Len(), uint(b.HeadRoom())
	if b.Next() != nil || f.GSO != device.GSONone || size < ethSize+ip4Size+udpSize || at >= reach {
		return netif.Pass
	}
	h := (*[reach]byte)(b.Page()[at:])
	if le.Uint64(h[:])&(1<<48-1) != p.mac {
		return netif.Pass
	}
	switch le.Uint16(h[12:]) {
	case etherIP4:
		return p.ip4(f, h, size)
	case etherIP6:
		return p.ip6(f, h, size)
	}
	return netif.Pass
}

// ip4 handles an IPv4 packet (RFC 791, section 3.1) in a frame of size bytes.
func (p *Path) ip4(f *device.Frame, h *[reach]byte, size int) netif.Verdict {
	const udp = ethSize + ip4Size
	w0, w1, w2 := le.Uint32(h[14:]), le.Uint32(h[18:]), le.Uint32(h[22:])
	src, dst := le.Uint32(h[26:]), le.Uint32(h[30:])
	total := int(swap(uint16(w0 >> 16)))
	addrs := uint64(src) + uint64(dst)
	if w0&0xff != 0x45 || w2&0xff00 != sumUDP || w1>>16&fragmented != 0 || total > size-ethSize ||
		fold(uint64(w0)+uint64(w1)+uint64(w2)+addrs) != 0xffff || !p.ours.Load().between(src, dst) {
		return netif.Pass
	}
	w := le.Uint64(h[udp:])
	n := p.length(w, total-ip4Size)
	if n < 0 {
		p.Passed++
		return netif.Pass
	}
	if f.State == device.ChecksumNone && !valid(h[udp:udp+udpSize+n], addrs+sumUDP, true) {
		p.Passed++
		return netif.Pass
	}
	p.peer.Addr[0], p.peer.Addr[1], p.peer.V4 = uint64(src), 0, true
	n = p.handler.Reply((*[MaxAnswer]byte)(h[udp+udpSize:])[:p.most], n, &p.peer)
	if n <= 0 {
		return p.none(n)
	}
	length := uint32(swap(uint16(ip4Size + udpSize + n)))
	ident := p.ident + 1
	p.ident = ident
	sum := ^fold(0x45 + uint64(length) + uint64(ident) + sumHop + addrs)
	le.PutUint32(h[14:], 0x45|length<<16)
	le.PutUint16(h[18:], ident)
	le.PutUint16(h[20:], 0)
	le.PutUint32(h[22:], sumHop|uint32(sum)<<16)
	le.PutUint32(h[26:], dst)
	le.PutUint32(h[30:], src)
	p.finish(f, h, (*[udpSize]byte)(h[udp:]), uint16(w), udp+udpSize+n, n, addrs+sumUDP)
	return netif.Reply
}

// ip6 handles an IPv6 packet (RFC 8200, section 3) in a frame of size bytes.
func (p *Path) ip6(f *device.Frame, h *[reach]byte, size int) netif.Verdict {
	const udp = ethSize + ip6Size
	first := le.Uint64(h[14:])
	src := [2]uint64{le.Uint64(h[22:]), le.Uint64(h[30:])}
	dst := [2]uint64{le.Uint64(h[38:]), le.Uint64(h[46:])}
	payload := int(swap(uint16(first >> 32)))
	if first>>4&15 != 6 || uint8(first>>48) != protoUDP || payload > size-ethSize-ip6Size ||
		!p.ours.Load().has6(dst) || uint8(src[0]) == 0xff || src[0]|src[1] == 0 {
		return netif.Pass
	}
	pseudo := add(add(sumUDP, src), dst)
	w := le.Uint64(h[udp:])
	n := p.length(w, payload)
	if n < 0 || f.State == device.ChecksumNone && !valid(h[udp:udp+udpSize+n], pseudo, false) {
		p.Passed++
		return netif.Pass
	}
	p.peer.Addr, p.peer.V4 = src, false
	n = p.handler.Reply((*[MaxAnswer]byte)(h[udp+udpSize:])[:p.most], n, &p.peer)
	if n <= 0 {
		return p.none(n)
	}
	le.PutUint64(h[14:], 0x60|uint64(swap(uint16(udpSize+n)))<<32|protoUDP<<48|hopLimit<<56)
	le.PutUint64(h[22:], dst[0])
	le.PutUint64(h[30:], dst[1])
	le.PutUint64(h[38:], src[0])
	le.PutUint64(h[46:], src[1])
	p.finish(f, h, (*[udpSize]byte)(h[udp:]), uint16(w), udp+udpSize+n, n, pseudo)
	return netif.Reply
}

// length returns the bytes of data of a datagram that starts with the eight
// bytes w, of which there are at most size; it is negative if the datagram is not
// for here.
func (p *Path) length(w uint64, size int) int {
	n := int(swap(uint16(w>>32))) - udpSize
	if uint16(w>>16) != p.port || uint16(w) == 0 || n > size-udpSize || n > p.most {
		return -1
	}
	return n
}

// valid verifies the checksum of datagram d. Zero means that there is none,
// which only IPv4 allows (RFC 8200, section 8.1).
func valid(d []byte, pseudo uint64, optional bool) bool {
	if d[6] == 0 && d[7] == 0 {
		return optional
	}
	return fold(sum(pseudo+uint64(swap(uint16(len(d)))), d)) == 0xffff
}

// none counts a datagram without an answer.
func (p *Path) none(n int) netif.Verdict {
	if n == 0 {
		p.Dropped++
		return netif.Drop
	}
	p.Passed++
	return netif.Pass
}

// finish swaps the link addresses and writes the UDP header u of an answer of n
// bytes in a frame of size, and its checksum, or leaves that to the device. port is
// the client's.
//
//go:nosplit
func (p *Path) finish(f *device.Frame, h *[reach]byte, u *[udpSize]byte, port uint16, size, n int, pseudo uint64) {
	le.PutUint64(h[0:], le.Uint64(h[6:])&(1<<48-1)|p.macHigh)
	le.PutUint32(h[8:], p.macLow)
	length := uint64(swap(uint16(udpSize + n)))
	pseudo += length
	header := uint64(p.port) | uint64(port)<<16 | length<<32
	if p.sums {
		le.PutUint64(u[:], header|uint64(fold(pseudo))<<48)
		f.Meta = device.Meta{State: device.ChecksumPartial, CsumStart: uint16(size - n - udpSize), CsumOffset: 6}
	} else {
		le.PutUint64(u[:], header)
		c := ^fold(sum(pseudo, h[size-n-udpSize:size]))
		if c == 0 {
			c = 0xffff // RFC 768: zero would mean none
		}
		le.PutUint16(u[6:], c)
		f.Meta = device.Meta{}
	}
	f.Buf.Resize(size)
	p.Answered++
}

func (o *ours) has6(a [2]uint64) bool {
	for _, our := range o.v6 {
		if our == a {
			return true
		}
	}
	return false
}

// between says whether dst is ours and src may be answered: it is not if never says so,
// or if it is the broadcast address of a network of ours.
func (o *ours) between(src, dst uint32) bool {
	return (dst == o.one.addr || o.has4(dst)) && src != o.one.cast && !o.never[uint8(src)] && !o.casts(src)
}

func (o *ours) has4(a uint32) bool {
	for _, n := range o.more {
		if n.addr == a {
			return true
		}
	}
	return false
}

func (o *ours) casts(a uint32) bool {
	for _, n := range o.more {
		if n.cast == a {
			return true
		}
	}
	return false
}

// broadcast is the directed broadcast address of a network.
func broadcast(n netip.Prefix) uint32 {
	a := n.Addr().As4()
	host := uint32(1)<<(32-n.Bits()) - 1
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|host)
	return le.Uint32(a[:])
}

// swap changes the order of the octets of a field.
func swap(v uint16) uint16 { return v<<8 | v>>8 }

// add adds an IPv6 address to a sum.
func add(s uint64, a [2]uint64) uint64 {
	return s + a[0]>>32 + a[0]&0xffffffff + a[1]>>32 + a[1]&0xffffffff
}

// sum adds the 16-bit words of b, an odd last octet padded, to s (RFC 1071). b is
// at most 64 KiB, so s cannot overflow.
func sum(s uint64, b []byte) uint64 {
	for len(b) >= 8 {
		v := le.Uint64(b)
		s += v>>32 + v&0xffffffff
		b = b[8:]
	}
	for len(b) >= 2 {
		s += uint64(le.Uint16(b))
		b = b[2:]
	}
	if len(b) > 0 {
		s += uint64(b[0])
	}
	return s
}

// fold reduces a sum to 16 bits: a word plus itself with its halves swapped has
// the sum of the halves, and the carry that goes around, in its upper half.
func fold(s uint64) uint16 {
	half := uint32((s + bits.RotateLeft64(s, 32)) >> 32)
	return uint16((half + bits.RotateLeft32(half, 16)) >> 16)
}
