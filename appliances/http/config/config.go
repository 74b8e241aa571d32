// Package config is the static configuration of the HTTP appliance. This one lets
// the program compile and has no site, so that the program refuses to start; the
// build of an image puts in its place what tools/configc makes of the image's
// configuration file.
package config

import (
	"ampoule/appliances/http/httpd"
	"ampoule/libos/config"
)

// System is the part that all appliances have.
var System = config.System{Hostname: "http"}

// HTTP is the appliance's own part.
var HTTP = httpd.Config{}
