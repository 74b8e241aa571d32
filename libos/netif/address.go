package netif

import (
	"net/netip"
	"strconv"
	"strings"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/format"
)

// endpointAddr is where to bind or connect: the network protocol says which
// family the endpoint has, IPv6 with no address meaning both.
type endpointAddr struct {
	proto tcpip.NetworkProtocolNumber
	only6 bool // an IPv6 endpoint that must not take IPv4
	full  tcpip.FullAddress
}

// resolve reads network ("tcp", "tcp4", "tcp6", "udp"...) and address
// ("host:port" with a literal address, or ":port") the way Go's package net
// does. want is "tcp" or "udp".
func (s *Stack) resolve(want, network, address string) (endpointAddr, error) {
	family, ok := strings.CutPrefix(network, want)
	if !ok || (family != "" && family != "4" && family != "6") {
		return endpointAddr{}, format.Errorf("netif: unknown network %q: it must be %s, %s4 or %s6", network, want, want, want)
	}
	host, port, err := split(address)
	if err != nil {
		return endpointAddr{}, err
	}
	e := endpointAddr{full: tcpip.FullAddress{NIC: nic, Port: port}}
	switch {
	case host.IsValid() && host.Is4() && family != "6" && s.v4:
		e.proto = header.IPv4ProtocolNumber
	case host.IsValid() && host.Is6() && family != "4" && s.v6:
		e.proto, e.only6 = header.IPv6ProtocolNumber, true
	case host.IsValid():
		return e, format.Errorf("netif: %s %s: no address of this family is configured or allowed", network, address)
	case family == "4" && s.v4, family == "" && !s.v6:
		e.proto = header.IPv4ProtocolNumber
	case family == "6" && s.v6, family == "" && s.v6 && !s.v4:
		e.proto, e.only6 = header.IPv6ProtocolNumber, true
	case family == "":
		e.proto = header.IPv6ProtocolNumber
	default:
		return e, format.Errorf("netif: %s %s: no address of this family is configured", network, address)
	}
	if host.IsValid() && !host.IsUnspecified() {
		e.full.Addr = tcpip.AddrFromSlice(host.AsSlice())
	}
	return e, nil
}

// split takes "host:port" apart. An empty host gives the invalid address.
func split(address string) (netip.Addr, uint16, error) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return netip.Addr{}, 0, format.Errorf("netif: address %q: missing port", address)
	}
	port, err := strconv.ParseUint(address[i+1:], 10, 16)
	if err != nil {
		return netip.Addr{}, 0, format.Errorf("netif: address %q: port is not a number up to 65535", address)
	}
	host := address[:i]
	if host == "" {
		return netip.Addr{}, uint16(port), nil
	}
	inner, bracket := strings.CutPrefix(host, "[")
	if bracket {
		inner, bracket = strings.CutSuffix(inner, "]")
		if !bracket {
			return netip.Addr{}, 0, format.Errorf("netif: address %q: missing ]", address)
		}
	}
	a, ok := parse4(inner)
	if bracket {
		a, ok = parse6(inner)
	}
	if !ok {
		return netip.Addr{}, 0, format.Errorf("netif: address %q: host must be an IPv4 address, or an IPv6 address in brackets", address)
	}
	return a, uint16(port), nil
}
