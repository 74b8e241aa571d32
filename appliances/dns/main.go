// Dns is an authoritative DNS server: it answers for the zones that were
// compiled into it, over UDP and TCP.
package main

import (
	"ampoule/appliances/dns/config"
	"ampoule/appliances/dns/dnsd"
	"ampoule/boot/platform"
	"ampoule/libos/appliance"
)

func main() {
	appliance.Run(platform.Open, config.System, "dns", dnsd.New(config.DNS))
}
