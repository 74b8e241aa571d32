package netif

import (
	"net/netip"

	"ampoule/libos/config/feature"
	"ampoule/libos/format"
)

// Config says who the appliance is on its network. It is plain data that
// generated source fills in. The zero value configures nothing, and New refuses
// it.
type Config struct {
	// IPv4 is the address with the length of its network's prefix. Without it
	// and without DHCP, IPv4 is off.
	IPv4 netip.Prefix
	// DHCP obtains address and gateway from a DHCP server instead.
	DHCP bool
	// Gateway4 is the next hop for everything outside IPv4's network.
	Gateway4 netip.Addr
	// IPv6 lists the addresses with the prefix lengths of their networks. A
	// link-local address is derived from the MAC address in addition. With an
	// empty list and without SLAAC, IPv6 is off.
	IPv6 []netip.Prefix
	// SLAAC takes addresses and routers from router advertisements, in addition
	// to those that are given (RFC 4862). A given Gateway6 is preferred.
	SLAAC bool
	// Gateway6 is the next hop for everything outside the networks of IPv6;
	// it may be link-local, and must be where IPv6 is empty.
	Gateway6 netip.Addr
	// Fragments lets IP fragments in and out. Held fragments may take up to
	// FragmentMemory, which can't be set lower.
	Fragments bool
}

// uses4 and uses6 say which IP versions there are.
func (c *Config) uses4() bool { return c.IPv4.IsValid() || c.DHCP }
func (c *Config) uses6() bool { return len(c.IPv6) > 0 || c.SLAAC }

// Addresses lists the addresses that the configuration gives, with their
// networks.
func (c *Config) Addresses() []netip.Prefix {
	var all []netip.Prefix
	if c.IPv4.IsValid() {
		all = append(all, c.IPv4)
	}
	return append(all, c.IPv6...)
}

// FragmentMemory is the most that held fragments occupy when Config.Fragments
// is set: 4 MiB for each IP version, a constant of gVisor.
const FragmentMemory = 8 << 20

// Check says what is wrong with c, naming the field.
func (c *Config) Check() error {
	if !c.uses4() && !c.uses6() {
		return format.Errorf("netif: neither IPv4 nor IPv6 has an address")
	}
	if c.DHCP && !feature.DHCP || c.SLAAC && !feature.SLAAC {
		return format.Errorf("netif: DHCP or SLAAC is configured, but not in this image")
	}
	if c.DHCP && (c.IPv4.IsValid() || c.Gateway4.IsValid()) {
		return format.Errorf("netif: IPv4 or Gateway4 is given beside DHCP")
	}
	if c.IPv4.IsValid() && !c.IPv4.Addr().Is4() {
		return format.Errorf("netif: IPv4: %v is not an IPv4 address", c.IPv4)
	}
	if c.IPv4.IsValid() && !usable(c.IPv4.Addr()) {
		return format.Errorf("netif: IPv4: %v is not a unicast address", c.IPv4)
	}
	if err := gateway("Gateway4", c.Gateway4, c.IPv4); err != nil {
		return err
	}
	for i, p := range c.IPv6 {
		if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return format.Errorf("netif: IPv6[%d]: %v is not an IPv6 address", i, p)
		}
		if !usable(p.Addr()) {
			return format.Errorf("netif: IPv6[%d]: %v is not a unicast address", i, p)
		}
	}
	if c.Gateway6.IsValid() && c.Gateway6.IsLinkLocalUnicast() && c.uses6() {
		return nil
	}
	return gateway("Gateway6", c.Gateway6, c.IPv6...)
}

func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// gateway checks that gw, when given, lies in one of the networks.
func gateway(field string, gw netip.Addr, networks ...netip.Prefix) error {
	if !gw.IsValid() {
		return nil
	}
	for _, p := range networks {
		if p.IsValid() && p.Contains(gw) && p.Addr() != gw {
			return nil
		}
	}
	return format.Errorf("netif: %s: %v is not a neighbour in a configured network", field, gw)
}
