//go:build ampoule

package bare

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Option is the value of the word key=value of the kernel command line, or "".
func Option(key string) string {
	info := Info()
	for _, w := range strings.Fields(string(info.Command[:info.CommandLen])) {
		if k, v, ok := strings.Cut(w, "="); ok && k == key {
			return v
		}
	}
	return ""
}

// PrintPlaces writes where everything is to the console, for the host's half of a
// test.
func PrintPlaces() {
	i, at := Info(), Info().Places
	text, _ := Text()
	fmt.Printf("places: gate=%#x registers=%#x descriptors=%#x shared=%#x stacks=%#x io=%#x iosize=%#x window=%#x windowend=%#x text=%#x heap=%#x\n",
		at.Gate, at.Registers, at.Descriptors, at.Shared, at.Stacks, i.IO, i.IOSize, i.Window, i.WindowEnd, text, Address(new(int64)))
}

// Fault is how an attempt ended that the machine stopped.
type Fault struct {
	Err  runtime.Error
	Addr uintptr // what could not be accessed; 0 when the CPU does not say
}

// Try calls f and returns the fault that ended it, or nil if nothing did. A
// panic that is no runtime.Error goes on.
func Try(f func()) (fault *Fault) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch e := recover().(type) {
		case nil:
		case runtime.Error:
			fault = &Fault{Err: e}
			if a, ok := e.(interface{ Addr() uintptr }); ok {
				fault.Addr = a.Addr()
			}
		default:
			panic(e)
		}
	}()
	f()
	return nil
}
