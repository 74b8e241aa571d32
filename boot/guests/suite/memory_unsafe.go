//go:build ampoule

package main

import _ "unsafe" // for go:linkname

// forceGCPeriod is the runtime's time between forced collections, in ns.
//
//go:linkname forceGCPeriod runtime.forcegcperiod
var forceGCPeriod int64
