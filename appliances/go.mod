module ampoule/appliances

go 1.26.0

require ampoule/libos v0.0.0

replace ampoule/libos => ../libos

require ampoule/drivers v0.0.0

replace ampoule/drivers => ../drivers

require (
	ampoule/boot v0.0.0
	github.com/miekg/dns v1.1.73
	golang.org/x/net v0.57.0
)

require (
	github.com/google/btree v1.1.2 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/exp v0.0.0-20231110203233-9a3e6036ecaa // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/time v0.12.0 // indirect
	gvisor.dev/gvisor v0.0.0-20260224225140-573d5e7127a8 // indirect
)

replace ampoule/boot => ../boot
