package netif

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/device"
)

// gsoMax is the largest TCP segment that the stack hands to a device that cuts
// it: 15 I/O pages, which with the page of the headers stays within what one
// post to the gate may carry.
const gsoMax = 15 * 4096

// link joins a device.Net to gVisor: a stack.LinkEndpoint that writes packets
// straight into I/O pages, and a goroutine that receives.
type link struct {
	back   func() // called in a goroutine of its own when a device that was away is back
	dev    device.Net
	turner device.Turner  // dev, if it is one
	chains device.Chainer // likewise
	info   device.NetInfo // but for the MAC, which is mac
	mac    atomic.Pointer[tcpip.LinkAddress]
	frags  bool
	// working is the receive goroutine's: a panic is none of a frame's then, and may
	// leave a connection locked.
	working bool

	fast   atomic.Pointer[FastPath]
	begin  atomic.Pointer[func()] // of fast: see Burster
	tap    atomic.Pointer[Tap]
	gate   atomic.Pointer[func() bool] // see SetGate
	bursts atomic.Pointer[bursts]
	count  counters
	closed atomic.Bool
	done   chan struct{} // closed when the receive goroutine has ended

	attach sync.RWMutex
	disp   stack.NetworkDispatcher
	// verified says that the device vouches for the checksums of the frame
	// that is being delivered. Written by the receive goroutine alone.
	verified atomic.Bool

	asking asking
	flows  flows
	head   [expectedHead]byte // of the receive goroutine
	tx     transmitter
	// leases takes what is a DHCP message (dhcpPort.take); nil: there is no
	// client. It is set before receive runs.
	leases func(head []byte, p packet, pkt *stack.PacketBuffer, verified bool) bool
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func newLink(dev device.Net, frags bool, limits *Limits) *link {
	l := &link{dev: dev, info: dev.Info(), frags: frags, done: make(chan struct{})}
	l.turner, _ = dev.(device.Turner)
	l.chains, _ = dev.(device.Chainer)
	l.asking.limit = limits.NeighbourQueue
	l.setMAC(l.info.MAC)
	l.tx.init(l)
	return l
}

// MTU implements stack.LinkEndpoint: bytes of an Ethernet payload.
func (l *link) MTU() uint32 { return uint32(l.info.MTU) }

// SetMTU implements stack.LinkEndpoint; the device's is what holds.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return *l.mac.Load() }

// mac6 is the link address as bytes.
func (l *link) mac6() [6]byte { return [6]byte([]byte(l.LinkAddress())) }

// setMAC is the device's address from now on.
func (l *link) setMAC(mac [6]byte) {
	a := tcpip.LinkAddress(mac[:])
	l.mac.Store(&a)
}

// SetLinkAddress implements stack.LinkEndpoint; the device's is what holds.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint. The stack asks for it with every
// frame it is given, which is how one frame may be trusted and the next not.
//
// A checksum that the device completes can't cover a datagram in fragments, so
// where fragments may be sent the stack sums by itself. TCP has its own way
// (stack.GSO.NeedsCsum) and is offloaded in either case.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	c := stack.CapabilityResolutionRequired
	if l.info.Offload&device.TxChecksum != 0 && !l.frags {
		c |= stack.CapabilityTXChecksumOffload
	}
	if l.verified.Load() {
		c |= stack.CapabilityRXChecksumOffload
	}
	return c
}

// SupportedGSO implements stack.GSOEndpoint. The stack knows one answer for
// both IP versions.
func (l *link) SupportedGSO() stack.SupportedGSO {
	const need = device.TxChecksum | device.TSO4 | device.TSO6
	if l.info.Offload&need == need {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return gsoMax }

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.attach.Lock()
	l.disp = d
	l.attach.Unlock()
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher() != nil }

func (l *link) dispatcher() stack.NetworkDispatcher {
	l.attach.RLock()
	defer l.attach.RUnlock()
	return l.disp
}

// Wait implements stack.LinkEndpoint.
func (l *link) Wait() { <-l.done }

// Close implements stack.LinkEndpoint. The device stays open; it is the
// machine's.
func (l *link) Close() {
	if !l.closed.Swap(true) {
		l.dev.Ready().Wake()
	}
}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.LinkEndpoint.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	eth := header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize))
	eth.Encode(&header.EthernetFields{
		SrcAddr: l.LinkAddress(),
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.LinkEndpoint.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}
