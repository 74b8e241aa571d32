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
	"net/netip"
	"sync/atomic"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
	"ampoule/libos/netif"
)

// Handler answers one datagram. Reply must not block, allocate or keep its
// arguments.
type Handler interface {
	// Reply writes the answer to request into response, and returns its
	// length. 0 means no answer: the datagram is dropped. A negative number
	// hands it on to the stack, as does one above MaxAnswer. request is the
	// device's memory; response is not, and has Scratch bytes of any content.
	Reply(request, response []byte) int
}

// MaxAnswer is the largest answer in bytes that is sent from here; larger ones
// are the stack's to cut into fragments or not.
const MaxAnswer = 1400

// Scratch is the room in bytes that a handler is given.
const Scratch = 4096

// Path is a netif.FastPath for one UDP port.
type Path struct {
	handler Handler
	port    uint16
	info    device.NetInfo
	ours    atomic.Pointer[ours]
	answer  [Scratch]byte
	ident   uint16

	// Answered, Dropped and Passed count datagrams for the port; any
	// goroutine may read them, exact to a word.
	Answered, Dropped, Passed uint64
}

// ours is the addresses that are answered for. It is never changed.
type ours struct {
	v4   [][4]byte
	cast [][4]byte // directed broadcast addresses of our networks
	v6   [][16]byte
}

// New makes a fast path that gives datagrams to port on any of the addresses to
// h.
func New(info device.NetInfo, addresses []netip.Prefix, port uint16, h Handler) *Path {
	p := &Path{handler: h, port: port, info: info}
	p.SetAddresses(addresses)
	return p
}

// Relink implements netif.Relinker.
func (p *Path) Relink(info device.NetInfo) { p.info = info }

// SetAddresses implements netif.Readdresser.
func (p *Path) SetAddresses(addresses []netip.Prefix) {
	o := new(ours)
	for _, a := range addresses {
		if a.Addr().Is4() {
			o.v4 = append(o.v4, a.Addr().As4())
			o.cast = append(o.cast, broadcast(a))
		} else if a.Addr().Is6() {
			o.v6 = append(o.v6, a.Addr().As16())
		}
	}
	p.ours.Store(o)
}

var _ netif.Readdresser = (*Path)(nil)

// Sizes and offsets in a frame.
const (
	ethSize  = 14
	ip4Size  = 20
	ip6Size  = 40
	udpSize  = 8
	protoUDP = 17
	hopLimit = 64

	etherIP4 = 0x0800
	etherIP6 = 0x86dd
)

// Frame implements netif.FastPath.
func (p *Path) Frame(f *device.Frame) netif.Verdict {
	b := f.Buf
	frame := b.Bytes()
	if b.Next() != nil || f.GSO != device.GSONone || len(frame) < ethSize+ip4Size+udpSize {
		return netif.Pass
	}
	if [6]byte(frame[:6]) != p.info.MAC {
		return netif.Pass
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherIP4:
		return p.ip4(f, b, frame)
	case etherIP6:
		return p.ip6(f, b, frame)
	}
	return netif.Pass
}

// ip4 handles an IPv4 packet (RFC 791, section 3.1).
func (p *Path) ip4(f *device.Frame, b *iopage.Buf, frame []byte) netif.Verdict {
	var h [ip4Size]byte // the device may still write to the page: check a copy
	copy(h[:], frame[ethSize:])
	total := int(binary.BigEndian.Uint16(h[2:]))
	if h[0] != 0x45 || h[9] != protoUDP || h[6]&0xbf != 0 || h[7] != 0 ||
		total < ip4Size+udpSize || total > len(frame)-ethSize {
		return netif.Pass
	}
	o := p.ours.Load()
	if !o.has4([4]byte(h[16:])) || !o.unicast4([4]byte(h[12:])) || fold(sum(0, h[:])) != 0xffff {
		return netif.Pass
	}
	pseudo := sum(uint32(protoUDP), h[12:20])
	udp := frame[ethSize+ip4Size : ethSize+total]
	n := p.udp(f, udp, pseudo, true)
	if n <= 0 {
		return p.none(n)
	}
	length := ip4Size + udpSize + n
	b.SetWindow(b.HeadRoom(), ethSize+length)
	frame = b.Bytes()
	var r [ip4Size]byte
	p.ident++
	r[0], r[8], r[9] = 0x45, hopLimit, protoUDP
	binary.BigEndian.PutUint16(r[2:], uint16(length))
	binary.BigEndian.PutUint16(r[4:], p.ident)
	copy(r[12:16], h[16:20])
	copy(r[16:20], h[12:16])
	binary.BigEndian.PutUint16(r[10:], ^fold(sum(0, r[:])))
	copy(frame[ethSize:], r[:])
	p.finish(f, frame, ip4Size, n, pseudo)
	return netif.Reply
}

// ip6 handles an IPv6 packet (RFC 8200, section 3).
func (p *Path) ip6(f *device.Frame, b *iopage.Buf, frame []byte) netif.Verdict {
	if len(frame) < ethSize+ip6Size+udpSize {
		return netif.Pass
	}
	var h [ip6Size]byte
	copy(h[:], frame[ethSize:])
	payload := int(binary.BigEndian.Uint16(h[4:]))
	if h[0]>>4 != 6 || h[6] != protoUDP || payload < udpSize || payload > len(frame)-ethSize-ip6Size {
		return netif.Pass
	}
	if !p.ours.Load().has6([16]byte(h[24:])) || h[8] == 0xff || [16]byte(h[8:]) == [16]byte{} {
		return netif.Pass
	}
	pseudo := sum(uint32(protoUDP), h[8:40])
	n := p.udp(f, frame[ethSize+ip6Size:ethSize+ip6Size+payload], pseudo, false)
	if n <= 0 {
		return p.none(n)
	}
	length := udpSize + n
	b.SetWindow(b.HeadRoom(), ethSize+ip6Size+length)
	frame = b.Bytes()
	var r [ip6Size]byte
	r[0], r[6], r[7] = 0x60, protoUDP, hopLimit
	binary.BigEndian.PutUint16(r[4:], uint16(length))
	copy(r[8:24], h[24:40])
	copy(r[24:40], h[8:24])
	copy(frame[ethSize:], r[:])
	p.finish(f, frame, ip6Size, n, pseudo)
	return netif.Reply
}

// udp checks a datagram and asks the handler; it answers the handler's number.
func (p *Path) udp(f *device.Frame, d []byte, pseudo uint32, optional bool) int {
	if binary.BigEndian.Uint16(d[2:]) != p.port || binary.BigEndian.Uint16(d[0:]) == 0 {
		return -1
	}
	length := int(binary.BigEndian.Uint16(d[4:]))
	if length < udpSize || length > len(d) {
		return -1
	}
	d = d[:length]
	if f.State == device.ChecksumNone && !valid(d, pseudo, optional) {
		return -1
	}
	n := p.handler.Reply(d[udpSize:], p.answer[:])
	if n > MaxAnswer || n > p.info.MTU-ip6Size-udpSize {
		return -1
	}
	return n
}

// valid verifies the checksum of datagram d. Zero means that there is none,
// which only IPv4 allows (RFC 8200, section 8.1).
func valid(d []byte, pseudo uint32, optional bool) bool {
	if d[6] == 0 && d[7] == 0 {
		return optional
	}
	return fold(sum(pseudo+uint32(len(d)), d)) == 0xffff
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

// finish swaps the link addresses and ports, copies the answer behind the
// network header of ipSize bytes and sets the checksum, or leaves it to the
// device.
func (p *Path) finish(f *device.Frame, frame []byte, ipSize, n int, pseudo uint32) {
	copy(frame[0:6], frame[6:12])
	copy(frame[6:12], p.info.MAC[:])
	u := frame[ethSize+ipSize : ethSize+ipSize+udpSize+n]
	from := binary.BigEndian.Uint16(u[0:])
	binary.BigEndian.PutUint16(u[0:], p.port)
	binary.BigEndian.PutUint16(u[2:], from)
	binary.BigEndian.PutUint16(u[4:], uint16(udpSize+n))
	copy(u[udpSize:], p.answer[:n])
	pseudo += uint32(udpSize + n)
	f.Meta = device.Meta{}
	if p.info.Offload&device.TxChecksum != 0 {
		binary.BigEndian.PutUint16(u[6:], fold(pseudo))
		f.State, f.CsumStart, f.CsumOffset = device.ChecksumPartial, uint16(ethSize+ipSize), 6
	} else {
		u[6], u[7] = 0, 0
		c := ^fold(sum(pseudo, u))
		if c == 0 {
			c = 0xffff // RFC 768: zero would mean none
		}
		binary.BigEndian.PutUint16(u[6:], c)
	}
	p.Answered++
}

func (o *ours) has4(a [4]byte) bool {
	for i := range o.v4 {
		if o.v4[i] == a {
			return true
		}
	}
	return false
}

func (o *ours) has6(a [16]byte) bool {
	for i := range o.v6 {
		if o.v6[i] == a {
			return true
		}
	}
	return false
}

// unicast4 refuses sources that must not be answered: multicast, broadcast,
// loopback and "this network" (RFC 1122, section 3.2.1.3).
func (o *ours) unicast4(a [4]byte) bool {
	for i := range o.cast {
		if o.cast[i] == a {
			return false
		}
	}
	return a[0] != 0 && a[0] != 127 && a[0] < 224
}

// broadcast is the directed broadcast address of a network.
func broadcast(n netip.Prefix) [4]byte {
	a := n.Addr().As4()
	host := uint32(1)<<(32-n.Bits()) - 1
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|host)
	return a
}

// sum adds the 16-bit words of b, an odd last byte padded, to s (RFC 1071).
// b is at most 64 KiB, so s cannot overflow.
func sum(s uint32, b []byte) uint32 {
	var wide uint64
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		wide += v>>32 + v&0xffffffff
		b = b[8:]
	}
	if len(b) >= 4 {
		wide += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		wide += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) > 0 {
		wide += uint64(b[0]) << 8
	}
	wide = wide>>32 + wide&0xffffffff
	wide = wide>>32 + wide&0xffffffff
	return s + uint32(fold(uint32(wide)))
}

// fold reduces a sum to 16 bits.
func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	s += s >> 16
	return uint16(s)
}
