// Package config is the schema of the configuration that all appliances have
// in common. The values are compiled in: a build writes them as Go source.
package config

import "ampoule/libos/netif"

// System is the part of an image's configuration that is not the appliance's.
// It is plain data that is never changed.
type System struct {
	// Hostname names the appliance in its log.
	Hostname string
	// Net is the configuration of the first network device.
	Net netif.Config
	// Limits bounds the network; where nil, netif.DefaultLimits sizes it by
	// the machine's memory.
	Limits *netif.Limits
}
