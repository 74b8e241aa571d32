// Package config is the static configuration of the TLS terminator. This one has
// no certificate and no backend, so it serves nobody; a build replaces it with what
// it makes of the image's configuration file.
package config

import (
	"ampoule/appliances/tls/tlsd"
	"ampoule/libos/config"
)

// System is the part that all appliances have.
var System = config.System{Hostname: "tls"}

// TLS is the appliance's own part.
var TLS = tlsd.Config{}
