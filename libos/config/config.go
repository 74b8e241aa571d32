// Package config is the schema of the configuration that all appliances have
// in common. The values are compiled in: a build writes them as Go source.
package config

import (
	"context"

	"ampoule/libos/device"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/netif"
	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/syslog"
)

// System is the part of an image's configuration that is not the appliance's.
// It is plain data that is never changed.
type System struct {
	// Hostname names the appliance in its log.
	Hostname string
	// Net is the configuration of the first network device.
	Net netif.Config
	// Limits bounds the network; what is zero is sized by the machine's memory
	// (netif.Limits.Fill).
	Limits netif.Limits
	// Console is the lowest level of events that are written to the console.
	Console telemetry.Level
	// Syslog is where the log goes beside the console; nil: nowhere.
	Syslog *syslog.Config
	// Management is the management plane; nil: none.
	Management plane.Management
	// Disk opens the first disk, or returns nil when there is none; nil: the image
	// has no driver for one.
	Disk func(context.Context, *pvboot.Machine) (device.Block, error)
}
