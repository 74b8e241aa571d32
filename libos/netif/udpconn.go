package netif

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var (
	errTooLong = errors.New("message too long")
	errRefused = errors.New("connection refused")
	errFamily  = errors.New("the socket does not speak this address family")
	errPeer    = errors.New("missing or needless address")
)

// UDPConn is a UDP socket. It is our own endpoint on gVisor's demultiplexer,
// because gVisor's counts payload only and would hold any number of small
// datagrams. It implements net.PacketConn, and net.Conn when it was dialled.
type UDPConn struct {
	s      *Stack
	protos []tcpip.NetworkProtocolNumber
	id     stack.TransportEndpointID
	port   ports.Reservation
	ready  chan struct{} // one token: the ring is not empty, or the state has changed

	mu       sync.Mutex
	ring     []datagram
	head, n  int
	bytes    int // payload in the ring
	closed   bool
	refused  bool // an ICMP error waits to be reported
	deadline time.Time
	timer    *time.Timer
}

type datagram struct {
	pkt  *stack.PacketBuffer
	peer Peer
}

// Peer is who sent a datagram, and to which of our addresses.
type Peer struct {
	Remote netip.AddrPort
	Local  netip.Addr // a multicast or broadcast address when sent to one
}

func (c *UDPConn) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// ReadMsg waits for a datagram and copies it to b, cutting off what does not
// fit.
func (c *UDPConn) ReadMsg(b []byte) (int, Peer, error) {
	for {
		c.mu.Lock()
		d, more, err := c.take()
		c.mu.Unlock()
		if more {
			c.wake() // another reader may be waiting
		}
		if err != nil {
			return 0, Peer{}, c.opError("read", err)
		}
		if d.pkt != nil {
			n := copyData(b, d.pkt)
			d.pkt.DecRef()
			return n, d.peer, nil
		}
		<-c.ready
	}
}

// take gives the next datagram or the reason why none will come; more says
// that another reader would not have to wait.
func (c *UDPConn) take() (d datagram, more bool, err error) {
	switch {
	case c.closed:
		return d, true, net.ErrClosed
	case c.refused:
		c.refused = false
		return d, c.n > 0, errRefused
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return d, true, os.ErrDeadlineExceeded
	case c.n == 0:
		return d, false, nil
	}
	d, c.ring[c.head] = c.ring[c.head], datagram{}
	c.head = (c.head + 1) % len(c.ring)
	c.n--
	c.bytes -= d.pkt.Data().Size()
	return d, c.n > 0, nil
}

// copyData copies the payload of a received packet.
func copyData(dst []byte, pkt *stack.PacketBuffer) int {
	views, _ := pkt.AsViewList()
	skip, n := pkt.Size()-pkt.Data().Size(), 0
	for v := views.Front(); v != nil && n < len(dst); v = v.Next() {
		src := v.AsSlice()
		k := min(skip, len(src))
		skip -= k
		n += copy(dst[n:], src[k:])
	}
	return n
}

// ReadFrom implements net.PacketConn. The address is a *net.UDPAddr.
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, p, err := c.ReadMsg(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(p.Remote), nil
}

// Read implements net.Conn.
func (c *UDPConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadMsg(b)
	return n, err
}

// WriteMsg sends b to p.Remote, from p.Local when that is one of our addresses,
// so that what ReadMsg said can be answered as it was asked. A datagram that
// finds no room on its way is lost without an error, as on any network.
func (c *UDPConn) WriteMsg(b []byte, p Peer) error {
	remote, proto := full(p.Remote.Addr())
	if p.Remote.Port() == 0 || proto == 0 {
		return c.opError("write", errPeer)
	}
	if !slices.Contains(c.protos, proto) {
		return c.opError("write", errFamily)
	}
	local := c.id.LocalAddress
	if local.Len() == 0 {
		if a, same := full(p.Local); same == proto && !p.Local.IsMulticast() && c.s.gv.CheckLocalAddress(nic, proto, a) != 0 {
			local = a
		}
	}
	return c.send(b, local, remote, p.Remote.Port(), proto)
}

// WriteTo implements net.PacketConn; addr is a *net.UDPAddr.
func (c *UDPConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok || c.id.RemotePort != 0 {
		return 0, c.opError("write", errPeer)
	}
	if err := c.WriteMsg(b, Peer{Remote: a.AddrPort()}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Write implements net.Conn.
func (c *UDPConn) Write(b []byte) (int, error) {
	if c.id.RemotePort == 0 {
		return 0, c.opError("write", errPeer)
	}
	if err := c.send(b, c.id.LocalAddress, c.id.RemoteAddress, c.id.RemotePort, c.protos[0]); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *UDPConn) send(b []byte, local, remote tcpip.Address, port uint16, proto tcpip.NetworkProtocolNumber) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return c.opError("write", net.ErrClosed)
	}
	r, err := c.s.gv.FindRoute(nic, local, remote, proto, false)
	if err != nil {
		return c.opError("write", errors.New(err.String()))
	}
	defer r.Release()
	size := len(b) + udpSize
	if size > 0xffff-ipv6Size || size > int(r.MTU()) && !c.s.link.frags {
		return c.opError("write", errTooLong)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: udpSize + int(r.MaxHeaderLength()),
		Payload:            buffer.MakeWithView(buffer.NewViewWithData(b)),
	})
	defer pkt.DecRef()
	udp := header.UDP(pkt.TransportHeader().Push(udpSize))
	pkt.TransportProtocolNumber = header.UDPProtocolNumber
	udp.Encode(&header.UDPFields{SrcPort: c.id.LocalPort, DstPort: port, Length: uint16(size)})
	if r.RequiresTXTransportChecksum() {
		x := checksum.Checksum(b, r.PseudoHeaderChecksum(header.UDPProtocolNumber, uint16(size)))
		if x = udp.CalculateChecksum(x); x != 0xffff {
			x = ^x // 0 would say that there is none (RFC 768)
		}
		udp.SetChecksum(x)
	}
	c.s.gv.Stats().UDP.PacketsSent.Increment()
	err = r.WritePacket(stack.NetworkHeaderParams{Protocol: header.UDPProtocolNumber, TTL: r.DefaultTTL()}, pkt)
	switch err.(type) {
	case nil, *tcpip.ErrNoBufferSpace:
		return nil
	}
	return c.opError("write", errors.New(err.String()))
}

// Close implements net.PacketConn. What has not been read is lost; readers
// return.
func (c *UDPConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for i := range c.n {
		c.ring[(c.head+i)%len(c.ring)].pkt.DecRef()
	}
	c.ring, c.n, c.bytes = nil, 0, 0
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.s.gv.UnregisterTransportEndpoint(c.protos, header.UDPProtocolNumber, c.id, c, c.port.Flags, 0)
	c.s.gv.ReleasePort(c.port)
	c.wake()
	return nil
}

// SetDeadline implements net.Conn.
func (c *UDPConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn; writing does not wait.
func (c *UDPConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *UDPConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.deadline = t
	if !t.IsZero() && !c.closed {
		c.timer = time.AfterFunc(time.Until(t), c.wake)
	}
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *UDPConn) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IP(c.id.LocalAddress.AsSlice()), Port: int(c.id.LocalPort)}
}

// RemoteAddr implements net.Conn; it is nil when the socket was not dialled.
func (c *UDPConn) RemoteAddr() net.Addr {
	if c.id.RemotePort == 0 {
		return nil
	}
	return &net.UDPAddr{IP: net.IP(c.id.RemoteAddress.AsSlice()), Port: int(c.id.RemotePort)}
}

func (c *UDPConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
