// Package config is the static configuration of the echo appliance. This one
// suits QEMU's user-mode network; a build replaces it with what it makes of the
// image's configuration file.
package config

import (
	"net/netip"

	"ampoule/appliances/echo/echod"
	"ampoule/libos/config"
	"ampoule/libos/netif"
)

// System is the part that all appliances have.
var System = config.System{
	Hostname: "echo",
	Net: netif.Config{
		IPv4:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 2, 15}), 24),
		Gateway4: netip.AddrFrom4([4]byte{10, 0, 2, 2}),
		IPv6:     []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0xc0, 15: 0x15}), 64)},
		Gateway6: netip.AddrFrom16([16]byte{0: 0xfe, 1: 0xc0, 15: 0x02}),
	},
}

// Echo is the appliance's own part.
var Echo = echod.Config{Port: 7}
