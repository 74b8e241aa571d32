// Package ip6 is the IPv6 layer of the stack: gVisor's IPv6 with neighbour and
// multicast listener discovery, and where the configuration asks for it
// addresses and routers from router advertisements.
//
// Specifications: RFC 4861 (neighbour discovery), 4862 (stateless
// autoconfiguration), 4191 (router preferences).
package ip6

import (
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/netif/layer"
)

// Layer implements layer.Layer. It does not listen to routers: an advertisement
// would let any neighbour reconfigure a sealed appliance.
func Layer(o layer.Options) []stack.NetworkProtocolFactory {
	if !o.IPv6 {
		return nil
	}
	return []stack.NetworkProtocolFactory{ipv6.NewProtocolWithOptions(ipv6.Options{
		NDPConfigs:       ipv6.NDPConfigurations{HandleRAs: ipv6.HandlingRAsDisabled},
		AutoGenLinkLocal: true,
		MLD:              ipv6.MLDOptions{Enabled: true},
		// No duplicate address detection: it would keep an address from
		// use for a second, and an appliance boots in milliseconds to serve.
		DADConfigs: stack.DADConfigurations{},
	})}
}
