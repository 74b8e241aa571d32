// Package ip4 is the IPv4 layer of the stack: gVisor's IPv4 and ARP.
package ip4

import (
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ampoule/libos/netif/layer"
)

// Layer implements layer.Layer.
func Layer(o layer.Options) []stack.NetworkProtocolFactory {
	if !o.IPv4 {
		return nil
	}
	return []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol}
}
