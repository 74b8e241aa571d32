package ip6

import (
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/netif/layer"
)

// How routers are asked (RFC 4861, section 6.3.7). The random delay before the
// first solicitation keeps a rack that powers on from asking in one instant; it
// is a tenth of the RFC's, as an appliance boots to serve.
const (
	solicitations = 3
	interval      = 4 * time.Second
	firstDelay    = 100 * time.Millisecond
)

// Advertised implements layer.Layer. Where Options.Learned is set, routers are
// asked and their advertisements obeyed: default routers, routes and prefixes
// on the link, and an address in each prefix that may be used so, made of the
// link address. Each address is first checked for another host that has it,
// which takes a second (RFC 4862, section 5.4).
func Advertised(o layer.Options) []stack.NetworkProtocolFactory {
	if !o.IPv6 || o.Learned == nil {
		return Layer(o)
	}
	return []stack.NetworkProtocolFactory{ipv6.NewProtocolWithOptions(ipv6.Options{
		NDPConfigs: ipv6.NDPConfigurations{
			HandleRAs:                  ipv6.HandlingRAsEnabledWhenForwardingDisabled,
			MaxRtrSolicitations:        solicitations,
			RtrSolicitationInterval:    interval,
			MaxRtrSolicitationDelay:    firstDelay,
			DiscoverDefaultRouters:     true,
			DiscoverMoreSpecificRoutes: true,
			DiscoverOnLinkPrefixes:     true,
			AutoGenGlobalAddresses:     true,
		},
		NDPDisp:          &advertised{o.Learned},
		AutoGenLinkLocal: true,
		MLD:              ipv6.MLDOptions{Enabled: true},
		DADConfigs:       stack.DefaultDADConfigurations(),
	})}
}

// advertised hears what gVisor makes of router advertisements. It is called
// with gVisor's locks held, so it only takes notes.
type advertised struct{ learned *layer.Learned }

// OnDuplicateAddressDetectionResult implements ipv6.NDPDispatcher. What comes of
// an address of ours is told to its state.
func (*advertised) OnDuplicateAddressDetectionResult(tcpip.NICID, tcpip.Address, stack.DADResult) {}

// OnOffLinkRouteUpdated implements ipv6.NDPDispatcher.
func (a *advertised) OnOffLinkRouteUpdated(_ tcpip.NICID, to tcpip.Subnet, router tcpip.Address, p header.NDPRoutePreference) {
	a.learned.SetRoute(layer.Route{To: layer.Prefix(to), Router: layer.Addr(router), Rank: rank(p)})
}

// rank orders preferences, which are two bits of a signed number (RFC 4191,
// section 2.1). The reserved one counts as medium.
func rank(p header.NDPRoutePreference) int {
	switch p {
	case header.HighRoutePreference:
		return 1
	case header.LowRoutePreference:
		return -1
	}
	return 0
}

// OnOffLinkRouteInvalidated implements ipv6.NDPDispatcher.
func (a *advertised) OnOffLinkRouteInvalidated(_ tcpip.NICID, to tcpip.Subnet, router tcpip.Address) {
	a.learned.DropRoute(layer.Route{To: layer.Prefix(to), Router: layer.Addr(router)})
}

// OnOnLinkPrefixDiscovered implements ipv6.NDPDispatcher.
func (a *advertised) OnOnLinkPrefixDiscovered(_ tcpip.NICID, p tcpip.Subnet) {
	a.learned.SetOnLink(layer.Prefix(p), true)
}

// OnOnLinkPrefixInvalidated implements ipv6.NDPDispatcher.
func (a *advertised) OnOnLinkPrefixInvalidated(_ tcpip.NICID, p tcpip.Subnet) {
	a.learned.SetOnLink(layer.Prefix(p), false)
}

// OnAutoGenAddress implements ipv6.NDPDispatcher. The link-local address comes
// here too, and is of no interest.
func (a *advertised) OnAutoGenAddress(_ tcpip.NICID, p tcpip.AddressWithPrefix) stack.AddressDispatcher {
	addr := layer.Addr(p.Address)
	if addr.IsLinkLocalUnicast() {
		return nil
	}
	return &state{a.learned, netip.PrefixFrom(addr, p.PrefixLen)}
}

// OnAutoGenAddressDeprecated implements ipv6.NDPDispatcher. A deprecated
// address still answers; gVisor prefers others for what we send.
func (*advertised) OnAutoGenAddressDeprecated(tcpip.NICID, tcpip.AddressWithPrefix) {}

// OnAutoGenAddressInvalidated implements ipv6.NDPDispatcher.
func (a *advertised) OnAutoGenAddressInvalidated(_ tcpip.NICID, p tcpip.AddressWithPrefix) {
	a.learned.SetAddress(netip.PrefixFrom(layer.Addr(p.Address), p.PrefixLen), false)
}

// OnRecursiveDNSServerOption implements ipv6.NDPDispatcher; appliances resolve
// no names.
func (*advertised) OnRecursiveDNSServerOption(tcpip.NICID, []tcpip.Address, time.Duration) {}

// OnDNSSearchListOption implements ipv6.NDPDispatcher.
func (*advertised) OnDNSSearchListOption(tcpip.NICID, []string, time.Duration) {}

// OnDHCPv6Configuration implements ipv6.NDPDispatcher; there is no DHCPv6.
func (*advertised) OnDHCPv6Configuration(tcpip.NICID, ipv6.DHCPv6ConfigurationFromNDPRA) {}

// state follows one address: it is ours once no other host has claimed it.
type state struct {
	learned *layer.Learned
	address netip.Prefix
}

// OnChanged implements stack.AddressDispatcher.
func (s *state) OnChanged(_ stack.AddressLifetimes, is stack.AddressAssignmentState) {
	s.learned.SetAddress(s.address, is == stack.AddressAssigned)
}

// OnRemoved implements stack.AddressDispatcher.
func (s *state) OnRemoved(stack.AddressRemovalReason) { s.learned.SetAddress(s.address, false) }
