package main

import "regexp"

// rule says what the packages under one folder may import beyond the standard
// library. Paths are without the "ampoule/" of our own modules; a path allows
// everything below it too.
type rule struct {
	under string
	may   []string
}

// Third parties, each allowed to few.
const (
	gvisor   = "gvisor.dev/gvisor"
	xcrypto  = "golang.org/x/crypto"
	miekg    = "github.com/miekg/dns"
	gopacket = "github.com/google/gopacket"
	xsys     = "golang.org/x/sys"
	xarch    = "golang.org/x/arch" // disassembler, in tests
	xtools   = "golang.org/x/tools"
	toml     = "github.com/pelletier/go-toml/v2"
	xtime    = "golang.org/x/time"
	siphash  = "github.com/dchest/siphash"

	brotli   = "github.com/andybalholm/brotli"
	compress = "github.com/klauspost/compress"
	xnet     = "golang.org/x/net"

	h2spec = "github.com/summerwind/h2spec" // judge of HTTP/2, in tests
	ximage = "golang.org/x/image"           // fonts, in tests

	spdx         = "github.com/spdx/tools-golang"
	licensecheck = "github.com/google/licensecheck"
	prometheus   = "github.com/prometheus/common" // reads metrics, in tests
	cobra        = "github.com/spf13/cobra"
)

// rtabi is the contract between ring 0, the runtime overlay and the library
// OS: layouts and constants, so that whoever touches them may import it.
const rtabi = "libos/rt/rtabi"

// rules is the drawing of ARCHITECTURE.md as a table; the first match counts.
var rules = []rule{
	{"boot/cpu", nil},
	{"boot/layout", []string{rtabi}},
	{"boot/gate", []string{rtabi, "boot/layout", xarch}},
	{"boot/probe", []string{rtabi, "boot/layout", "boot/cpu"}},
	{"boot/pvh", []string{rtabi, "boot/layout", "boot/cpu", "boot/gate", "boot/probe"}},
	{"boot/image", []string{"libos/rt"}}, // its tests only
	{"boot/platform", []string{"boot", "drivers", "libos"}},
	{"boot/guests/grants", []string{"boot", "drivers/xen", "libos"}}, // takes netfront's rings over
	{"boot/guests", []string{"boot", "libos", gvisor}},
	{"boot", []string{"boot", "libos"}},

	{"drivers", []string{"drivers", "libos"}},

	{"libos/rt", []string{"libos/rt", "libos/edit"}},
	{"libos/netif", []string{"libos", gvisor, xtime, siphash, gopacket}},
	{"libos/mgmt", []string{"libos", xcrypto}},
	{"libos/telemetry", []string{"libos", xcrypto}},
	{"libos", []string{"libos"}},

	{"appliances/http/h2", []string{"appliances/http", "libos", xnet}},
	{"appliances", []string{"appliances", "boot/platform", "libos", miekg, xcrypto}},

	{"tools/configc/sitefolder", []string{"tools", "libos/config", brotli, compress, xnet}},
	{"tools/configc", []string{"tools", "libos/config", "libos/mgmt/certs", "libos/crl", miekg, toml, xtools, xcrypto}},
	{"tools/httpdiff", []string{"tools", "libos/config", "libos/freeport", xnet}},
	{"tools/guesttest/rotation", []string{"tools", "libos/mgmt/mgmttest", "libos/store", "libos/device"}},
	{"tools/guesttest", []string{"tools", "boot/image", "boot/layout", "libos/freeport", "libos/mgmt/mgmttest", "libos/rt", miekg, gopacket, xsys, xcrypto, prometheus, h2spec, ximage}},
	{"tools/mkimage", []string{"tools", "boot/image", "boot/layout", "libos/config", "libos/netif/trim", "libos/rt", spdx, licensecheck}},
	{"tools/ampctl", []string{"tools/ampctl", "tools/workspace", "libos", toml, cobra, xsys}}, // all of libos in its tests only
	{"tools/netpeer", []string{"tools", gvisor, gopacket, xsys}},
	{"tools", []string{"tools", "boot/image", "boot/layout", "libos/config", "libos/freeport", "libos/mgmt/mgmttest", "libos/rt", "libos/edit", "libos/netif/trim", miekg, toml, gopacket, xsys, xcrypto, prometheus}},
}

// requires says which of our modules each may require in its go.mod.
var requires = map[string][]string{
	"libos":      nil,
	"drivers":    {"libos"},
	"boot":       {"drivers", "libos"},
	"appliances": {"boot", "drivers", "libos"},
	"tools":      {"boot", "drivers", "libos"},
}

// ring0 holds the privileged code, all of which is about raw memory, so that
// the mark in the file name would say nothing.
var ring0 = []string{"boot/cpu", "boot/gate", "boot/probe", "boot/pvh"}

// unsafeFile is the name that a file with package unsafe must have.
var unsafeFile = regexp.MustCompile(`_unsafe(_linux|_amd64|_test)*\.go$`)

// harmless parts of package unsafe are constants of a layout.
var harmless = map[string]bool{"Sizeof": true, "Alignof": true, "Offsetof": true}

const (
	maxFileLines = 400
	maxFuncLines = 60
)
