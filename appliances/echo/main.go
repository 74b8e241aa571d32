// Echo is the smallest appliance and the template of all others: it sends back
// what it receives, over UDP and TCP.
package main

import (
	"ampoule/appliances/echo/config"
	"ampoule/appliances/echo/echod"
	"ampoule/boot/platform"
	"ampoule/libos/appliance"
)

func main() {
	appliance.Run(platform.Open, config.System, "echo", echod.New(config.Echo))
}
