package netif

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"ampoule/libos/device"
)

// nic is the number of the only interface of a stack.
const nic = 1

// Options is what a Stack needs beside its device and addresses.
type Options struct {
	Limits Limits
	// Rand is the machine's entropy: sequence numbers, cookies, ports and
	// hash seeds are drawn from it. Any goroutine may read from it.
	Rand io.Reader
}

// Stack is the network of one device. Its methods may be called from any
// goroutine.
type Stack struct {
	gv     *stack.Stack
	link   *link
	limits Limits
	v4, v6 bool
}

// New brings up a stack on dev with the addresses of cfg, announces them on
// the network and starts to receive. The Stack is the only user of dev until
// Close.
func New(dev device.Net, cfg Config, opts Options) (*Stack, error) {
	s, err := setUp(dev, cfg, opts)
	if err != nil {
		return nil, err
	}
	s.link.back = func() { s.announce(&cfg) }
	go s.link.receive()
	s.announce(&cfg)
	return s, nil
}

// setUp makes a stack that does not receive yet.
func setUp(dev device.Net, cfg Config, opts Options) (*Stack, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := opts.Limits.check(); err != nil {
		return nil, err
	}
	l := newLink(dev, cfg.Fragments, &opts.Limits)
	gv, err := newStack(&opts, l)
	if err != nil {
		return nil, err
	}
	s := &Stack{gv: gv, link: l, limits: opts.Limits}
	if err := s.limit(); err != nil {
		return nil, err
	}
	if err := gv.CreateNIC(nic, s.link); err != nil {
		return nil, fmt.Errorf("netif: %s: %s", dev.Name(), err)
	}
	if err := s.configure(&cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// newStack makes gVisor's stack with our time and randomness.
func newStack(opts *Options, l *link) (*stack.Stack, error) {
	var seed [32]byte
	if _, err := io.ReadFull(opts.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("netif: read entropy: %w", err)
	}
	v6 := ipv6.NewProtocolWithOptions(ipv6.Options{
		// Router advertisements would let any neighbour reconfigure a sealed
		// appliance; they are off until the configuration asks for them.
		NDPConfigs:       ipv6.NDPConfigurations{HandleRAs: ipv6.HandlingRAsDisabled},
		AutoGenLinkLocal: true,
		MLD:              ipv6.MLDOptions{Enabled: true},
		// No duplicate address detection: it would keep an address from
		// use for a second, and an appliance boots in milliseconds to serve.
		DADConfigs: stack.DADConfigurations{},
	})
	// Reno, since this release's CUBIC lets the congestion window fall to 0,
	// where the connection stays for ever (google/gvisor#13958;
	// TestTCPLossy hangs with it after a few megabytes).
	return stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, v6, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		Clock:              &clock{start: time.Now()},
		HandleLocal:        true,
		RandSource:         &source{r: rand.NewChaCha8(seed)},
		SecureRNG:          opts.Rand,
		NUDDisp:            &l.asking,
	}), nil
}

// limit applies s.limits to the stack.
func (s *Stack) limit() error {
	l := &s.limits
	linger, wait := tcpip.TCPLingerTimeoutOption(l.FinWait), tcpip.TCPTimeWaitTimeoutOption(l.TimeWait)
	retries, moderate := tcpip.TCPMaxRetriesOption(l.MaxRetries), tcpip.TCPModerateReceiveBufferOption(false)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: l.TCPReceive.Min, Default: l.TCPReceive.Default, Max: l.TCPReceive.Max},
		&tcpip.TCPSendBufferSizeRangeOption{Min: l.TCPSend.Min, Default: l.TCPSend.Default, Max: l.TCPSend.Max},
		&linger, &wait, &retries, &moderate,
	} {
		if err := s.gv.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("netif: set %T: %s", o, err)
		}
	}
	for _, o := range []any{
		tcpip.ReceiveBufferSizeOption{Min: stack.MinBufferSize, Default: max(l.UDPReceive, stack.MinBufferSize), Max: max(l.UDPReceive, stack.MinBufferSize)},
		tcpip.SendBufferSizeOption{Min: stack.MinBufferSize, Default: 64 << 10, Max: 64 << 10},
	} {
		if err := s.gv.SetOption(o); err != nil {
			return fmt.Errorf("netif: set %T: %s", o, err)
		}
	}
	s.gv.SetICMPLimit(rate.Limit(l.ICMPRate))
	s.gv.SetICMPBurst(l.ICMPBurst)
	return nil
}

// configure gives the interface its addresses and routes. It is what a later
// source of addresses (DHCP, router advertisements) has to call.
func (s *Stack) configure(cfg *Config) error {
	var routes []tcpip.Route
	add := func(p netip.Prefix, proto tcpip.NetworkProtocolNumber) error {
		err := s.gv.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol: proto,
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
			},
		}, stack.AddressProperties{})
		if err != nil {
			return fmt.Errorf("netif: address %v: %s", p, err)
		}
		routes = append(routes, route(p, netip.Addr{}))
		return nil
	}
	if cfg.IPv4.IsValid() {
		s.v4 = true
		if err := add(cfg.IPv4, header.IPv4ProtocolNumber); err != nil {
			return err
		}
		if cfg.Gateway4.IsValid() {
			routes = append(routes, route(netip.PrefixFrom(netip.IPv4Unspecified(), 0), cfg.Gateway4))
		}
	}
	for _, p := range cfg.IPv6 {
		s.v6 = true
		if err := add(p, header.IPv6ProtocolNumber); err != nil {
			return err
		}
	}
	if s.v6 {
		routes = append(routes, route(netip.MustParsePrefix("fe80::/10"), netip.Addr{}),
			route(netip.MustParsePrefix("ff00::/8"), netip.Addr{}))
	}
	if cfg.Gateway6.IsValid() {
		routes = append(routes, route(netip.PrefixFrom(netip.IPv6Unspecified(), 0), cfg.Gateway6))
	}
	s.gv.SetRouteTable(routes)
	return nil
}

// route is a route to p, by way of gw when that is valid.
func route(p netip.Prefix, gw netip.Addr) tcpip.Route {
	p = p.Masked()
	dst := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}
	r := tcpip.Route{Destination: dst.Subnet(), NIC: nic}
	if gw.IsValid() {
		r.Gateway = tcpip.AddrFromSlice(gw.AsSlice())
	}
	return r
}

// SetFastPath puts f ahead of the stack from the next burst on; nil takes it
// away.
func (s *Stack) SetFastPath(f FastPath) {
	if f == nil {
		s.link.fast.Store(nil)
		return
	}
	s.link.fast.Store(&f)
}

// Close ends all connections and stops receiving. The device stays open. Close
// returns when no goroutine of the stack uses the device any more.
func (s *Stack) Close() error {
	s.gv.Close()
	s.link.Close()
	<-s.link.done
	s.gv.RemoveNIC(nic)
	return nil
}

// Done is closed when the stack receives no more: after Close, or because the
// device is gone.
func (s *Stack) Done() <-chan struct{} { return s.link.done }
