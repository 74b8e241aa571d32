// Package feature says what is linked into an image: constants, and a table of
// the network layers. The one here has everything, for tests and for programs
// without a configuration; the build of an image puts in its place what
// tools/configc makes of the image's configuration file. What a constant turns
// off is dead code, and a layer that the table does not name is not imported,
// so that no symbol of either is in the image.
package feature

import (
	"ampoule/libos/config/zone/nsec3"
	"ampoule/libos/netif/ip4"
	"ampoule/libos/netif/ip6"
	"ampoule/libos/netif/layer"
)

const (
	DHCP   = true // the DHCPv4 client
	SLAAC  = true // IPv6 addresses and routers from router advertisements
	Syslog = true // the log also goes to a collector

	Management = true // there is a management plane, and what it shows is counted
	Capture    = true // frames on the network can be watched
)

// Layers are the network layers.
var Layers = [...]layer.Layer{ip4.Layer, ip6.Advertised}

// NSEC3 hashes names of DNS zones with NSEC3 records; nil when there are none.
var NSEC3 = nsec3.Hash
