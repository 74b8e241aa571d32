// Http serves static web sites that were compiled into it, over HTTP/1.1.
package main

import (
	"ampoule/appliances/http/config"
	"ampoule/appliances/http/httpd"
	"ampoule/boot/platform"
	"ampoule/libos/appliance"
)

func main() {
	appliance.Run(platform.Open, config.System, "http", httpd.New(config.HTTP))
}
