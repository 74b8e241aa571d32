package netif

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/config/feature"
	"ampoule/libos/format"
	"ampoule/libos/netif/layer"
	"ampoule/libos/telemetry"
)

// addresses is where our addresses and routes come from: the configuration, a
// lease, routers.
type addresses struct {
	cfg     Config
	log     *telemetry.Logger
	changed func()
	// learned and ways are what routers have said; nil without SLAAC. They are
	// functions so that without it no type of it is in the image.
	learned func() []netip.Prefix
	ways    func() (specific, general []tcpip.Route)

	cancel context.CancelFunc // of the goroutines that obtain addresses; nil: none
	wait   sync.WaitGroup     // for them

	apply  sync.Mutex   // held while the stack is told, so that the last news counts
	mu     sync.Mutex   // for what follows
	lease  netip.Prefix // from DHCP; invalid: none
	router netip.Addr   // of the lease; invalid: none
}

// obtain starts what obtains addresses: a DHCP client, which checks its lease
// when again says so, and what acts on the words of routers.
func (s *Stack) obtain(cfg *Config, opts *Options, learned *layer.Learned, again <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.addrs.cancel = cancel
	if feature.DHCP && cfg.DHCP {
		run, err := s.dhcp(opts, again)
		if err != nil {
			cancel()
			return err
		}
		s.addrs.wait.Go(func() { run(ctx) })
	}
	if feature.SLAAC && cfg.SLAAC {
		s.addrs.wait.Go(func() { s.follow(ctx, learned) })
	}
	return nil
}

// stop ends what obtain has started.
func (a *addresses) stop() {
	if a.cancel != nil {
		a.cancel()
	}
	a.wait.Wait()
}

// Addresses lists our addresses with their networks as they are now, but for the
// link-local one.
func (s *Stack) Addresses() []netip.Prefix {
	all := s.addrs.cfg.Addresses()
	s.addrs.mu.Lock()
	if s.addrs.lease.IsValid() {
		all = append(all, s.addrs.lease)
	}
	s.addrs.mu.Unlock()
	if s.addrs.learned != nil {
		for _, p := range s.addrs.learned() {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// List is addresses as a log shows them.
func List(addresses []netip.Prefix) string {
	if len(addresses) == 0 {
		return "none"
	}
	var b []byte
	for _, p := range addresses {
		b = append(p.AppendTo(b), ',')
	}
	return string(b[:len(b)-1])
}

// tell gives the fast path our addresses.
func (s *Stack) tell() {
	s.addrs.apply.Lock()
	defer s.addrs.apply.Unlock()
	if f := s.link.fast.Load(); f != nil {
		if r, ok := (*f).(Readdresser); ok {
			r.SetAddresses(s.Addresses())
		}
	}
}

// readdressed passes on that addresses have changed.
func (s *Stack) readdressed() {
	s.link.flows.forget()
	s.link.flows.settle(s.Addresses())
	s.route()
	s.tell()
	if s.addrs.changed != nil {
		s.addrs.changed()
	}
}

// protocol is the version of an address.
func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}

// assign makes an address ours.
func (s *Stack) assign(p netip.Prefix) error {
	err := s.gv.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol: protocol(p.Addr()),
		AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
		},
	}, stack.AddressProperties{})
	if err != nil {
		return format.Errorf("netif: address %v: %s", p, err)
	}
	return nil
}

// route sets the routes: our networks, then the gateways, a configured one
// before those that are learned.
func (s *Stack) route() {
	a := &s.addrs
	a.apply.Lock()
	defer a.apply.Unlock()
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	all6 := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	a.mu.Lock()
	four, gateway4 := a.cfg.IPv4, a.cfg.Gateway4
	if a.lease.IsValid() {
		four, gateway4 = a.lease, a.router
	}
	a.mu.Unlock()
	var routes []tcpip.Route
	if four.IsValid() {
		routes = append(routes, route(four, netip.Addr{}))
	}
	if gateway4.IsValid() {
		routes = append(routes, route(all, gateway4))
	}
	for _, p := range a.cfg.IPv6 {
		routes = append(routes, route(p, netip.Addr{}))
	}
	if s.v6 {
		linkLocal := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80})
		multicast := netip.AddrFrom16([16]byte{0: 0xff})
		routes = append(routes, route(netip.PrefixFrom(linkLocal, 10), netip.Addr{}),
			route(netip.PrefixFrom(multicast, 8), netip.Addr{}))
	}
	var general []tcpip.Route
	if a.ways != nil {
		var specific []tcpip.Route
		specific, general = a.ways()
		routes = append(routes, specific...)
	}
	if a.cfg.Gateway6.IsValid() {
		routes = append(routes, route(all6, a.cfg.Gateway6))
	}
	routes = append(routes, general...)
	s.gv.SetRouteTable(routes)
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
