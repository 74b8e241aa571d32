// Tls is a TLS terminator: it takes TLS connections, and passes what is in them on
// to backends over TCP.
package main

import (
	"ampoule/appliances/tls/config"
	"ampoule/appliances/tls/tlsd"
	"ampoule/boot/platform"
	"ampoule/libos/appliance"
)

func main() {
	appliance.Run(platform.Open, config.System, "tls", tlsd.New(config.TLS))
}
