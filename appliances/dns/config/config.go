// Package config is the static configuration of the DNS appliance. This one
// lets the program compile and has no zones, so that the program refuses to
// start; the build of an image puts in its place what tools/configc makes of
// the image's configuration file.
package config

import (
	"ampoule/appliances/dns/dnsd"
	"ampoule/libos/config"
)

// System is the part that all appliances have.
var System = config.System{Hostname: "dns"}

// DNS is the appliance's own part.
var DNS = dnsd.Config{}
