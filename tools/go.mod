module ampoule/tools

go 1.26.0

require ampoule/libos v0.0.0

replace ampoule/libos => ../libos

require (
	ampoule/boot v0.0.0
	github.com/miekg/dns v1.1.73
	github.com/pelletier/go-toml/v2 v2.4.3
	golang.org/x/sys v0.47.0
	golang.org/x/tools v0.48.0
)

require golang.org/x/net v0.57.0 // indirect

replace ampoule/boot => ../boot
