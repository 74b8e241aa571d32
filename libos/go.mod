module ampoule/libos

go 1.26.0

require (
	github.com/google/gopacket v1.1.19
	golang.org/x/time v0.12.0
	gvisor.dev/gvisor v0.0.0-20260224225140-573d5e7127a8
)

require (
	github.com/dchest/siphash v1.2.3 // indirect
	github.com/google/btree v1.1.2 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/exp v0.0.0-20231110203233-9a3e6036ecaa // indirect
	golang.org/x/sys v0.47.0 // indirect
)
