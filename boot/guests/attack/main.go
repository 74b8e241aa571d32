//go:build ampoule

// Command attack is the guest of the attack suite: an appliance that was taken
// over and tries to get out. The kernel command line says what it tries:
// attack=NAME one thing, attack=all everything that must end in a fault which
// Go code can recover from. Each attempt prints "stopped NAME: fault", or
// "SUCCEEDED NAME" and the VM ends with code 1.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"ampoule/boot/guests/bare"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

// attack is one attempt.
type attack struct {
	name string
	do   func()
	at   uintptr // where the fault must be, if it is known
}

func main() {
	debug.SetTraceback("all")
	bare.PrintPlaces()
	name := bare.Option("attack")
	n := 0
	for _, list := range [][]attack{accesses(), executions(), privileged, optional()} {
		for _, a := range list {
			if name == "all" || name == a.name {
				n++
				stopped(a)
			}
		}
	}
	if name == "all" {
		harmless()
		fmt.Printf("features %#x\n", bare.Info().Features)
		fmt.Println("attack:", n, "stopped")
		return
	}
	for _, list := range [][]attack{endings(), gateCalls(), dmaAttacks()} {
		for _, a := range list {
			if name == a.name {
				fmt.Println("trying", a.name)
				a.do()
				succeeded(a.name)
			}
		}
	}
	if n != 1 {
		fmt.Printf("%d attacks are called %q\n", n, name)
		os.Exit(99)
	}
}

func stopped(a attack) {
	f := bare.Try(a.do)
	if f == nil {
		succeeded(a.name)
	}
	// Go tells no address in the null page, and the CPU none that is not
	// canonical.
	if a.at >= 0x1000 && (a.at>>47 == 0 || a.at>>47 == 1<<17-1) && f.Addr != a.at {
		fmt.Printf("ELSEWHERE %s: fault at %#x instead of %#x\n", a.name, f.Addr, a.at)
		os.Exit(1)
	}
	fmt.Printf("stopped %s: %v (%#x)\n", a.name, f.Err, f.Addr)
}

func succeeded(name string) {
	fmt.Println("SUCCEEDED", name)
	os.Exit(1)
}

// optional is what only some CPUs know, or refuse.
func optional() (list []attack) {
	features := bare.Info().Features
	if features&rtabi.FeatureUMIP != 0 {
		list = append(list, leaks...)
	}
	if features&rtabi.FeatureXSave != 0 {
		list = append(list, attack{name: "xsetbv", do: xsetbv})
	}
	return list
}

// harmless is what needs no fault: it has no effect.
func harmless() {
	if keepIF()&0x200 == 0 {
		succeeded("popf-if")
	}
	afterTick()
	if gateAC() != 0 || wildStack(bare.Info().Places.Gate+layout.GateData+0x800) != 0 || wildStack(0xffff800000000000) != 0 {
		succeeded("gate-flags")
	}
	if onXen() {
		hypercalls()
		ports()
	}
}

// afterTick waits for a tick, so that none comes in the next moments: a tick
// while the stack pointer is one of the upper half ends the VM, as the gate does
// not resume that.
func afterTick() {
	first, _, _ := bare.Stats()
	for now := first; now == first; now, _, _ = bare.Stats() {
	}
}
