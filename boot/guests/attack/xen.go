//go:build ampoule

package main

import (
	"fmt"

	"ampoule/boot/cpu"
	"ampoule/boot/gate"
	"ampoule/boot/guests/bare"
	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

func onXen() bool { return bare.Info().Features&rtabi.FeatureXen != 0 }

// gateCopy is the code of this target's gate as it is linked.
func gateCopy() []byte {
	if onXen() {
		return gate.XenBlob()
	}
	return gate.Blob()
}

// xenAccesses are reads and writes of what only a guest of Xen has: the grant
// table, of which ring 3 must not even see who has mapped what, and the end of
// the shared pages.
func xenAccesses() (all []attack) {
	info := &bare.Info().Xen
	first := bare.Info().Places.Descriptors
	entry := func(ref uint32) uintptr { return first + 8*uintptr(ref) }
	for _, p := range []struct {
		name string
		addr uintptr
	}{
		{"grant-table", first}, {"grant-console", entry(0)}, {"grant-store", entry(1)},
		{"grant-ring", entry(info.RingRef)}, {"grant-io", entry(info.IORef)}, {"grant-end", first + layout.Page - 1},
		{"before-shared", info.Shared - 1}, {"behind-rings", info.Rings + uintptr(info.NRings)*layout.Page},
	} {
		all = append(all, read(p.name, p.addr), write(p.name, p.addr))
	}
	return all
}

// xenExecutions jumps to each kind of page that a backend can write.
func xenExecutions() []attack {
	info := &bare.Info().Xen
	return []attack{
		execute("shared-info", info.Shared+layout.Page-8), execute("store", info.Store), execute("console", info.Console),
		execute("first-ring", info.Rings), execute("last-ring", info.Rings+uintptr(info.NRings-1)*layout.Page),
		execute("grant-table", bare.Info().Places.Descriptors),
	}
}

// hypercalls makes every hypercall from ring 3, which Xen refuses with EPERM.
// What would tell if it did not: operation 2 with this argument powers the VM
// off (SCHEDOP_shutdown), and operation 7 makes the grant table appear at an I/O
// page (XENMEM_add_to_physmap).
func hypercalls() {
	const ePerm, numbers = 1, 64
	call := hypercallAMD
	if _, b, _, _ := cpu.ID(0, 0); b == 0x756e6547 { // "Genu"
		call = hypercallIntel
	}
	const domSelf, grantTable, frame = 0x7ff0, 1, 0x150
	args := [2][3]uint64{{}, {domSelf | grantTable<<32, 0, frame}}
	for nr := range uintptr(numbers) {
		for i, op := range []uintptr{2, 7} {
			at := bare.Address(&args[i])
			if r := call(nr, op, at, at); r != ^uintptr(ePerm-1) {
				succeeded(fmt.Sprintf("hypercall %d, operation %d: %d", nr, op, int(r)))
			}
		}
	}
}

// ports allocates as many event channels as the gate gives, twice: no more than
// it has room for, none with a number beyond what it can check.
func ports() {
	const most, noSpace, highest = 14, 28, 63
	for range 2 {
		var got []uintptr
		for {
			p := bare.Gate(rtabi.GateAlloc, 0, 0)
			if int(p) == -noSpace {
				break
			}
			if p > highest || len(got) >= most {
				succeeded(fmt.Sprintf("event channel %d, the %dth", int(p), len(got)+1))
			}
			got = append(got, p)
		}
		if len(got) != most {
			succeeded(fmt.Sprintf("only %d event channels", len(got)))
		}
		for _, p := range got {
			bare.Gate(rtabi.GateClose, p, 0)
		}
	}
}

// timerPort is the port of the tick: the only one that is not masked
// (evtchn_mask in the shared info page).
func timerPort() uintptr {
	const mask = 2560
	for i, b := range bare.Memory(bare.Info().Xen.Shared+mask, 512) {
		for bit := range 8 {
			if b>>bit&1 == 0 {
				return uintptr(8*i + bit)
			}
		}
	}
	return 0
}

// xenGateCalls hands the gate on Xen what it must refuse.
func xenGateCalls() []attack {
	store, console := bare.Gate(rtabi.GatePort, 0, 0), bare.Gate(rtabi.GatePort, 1, 0)
	const unbound, tooHigh = 61, 64
	closed := func(op uintptr) func() {
		return func() {
			p := bare.Gate(rtabi.GateAlloc, 0, 0)
			bare.Gate(rtabi.GateClose, p, 0)
			bare.Gate(op, p, 0)
		}
	}
	return []attack{
		call("op-unknown", 99, 0, 0), call("op-huge", wide, 0, 0), call("op-high-bits", 1<<32|rtabi.GateNotify, store, 0),
		call("op-post", rtabi.GatePost, 0, 0),
		call("console-9", rtabi.GateConsole, 0, 9), call("console-huge", rtabi.GateConsole, 0, wide),
		call("console-negative", rtabi.GateConsole, 0, 1<<63),
		call("notify-0", rtabi.GateNotify, 0, 0), call("notify-unbound", rtabi.GateNotify, unbound, 0),
		call("notify-64", rtabi.GateNotify, tooHigh, 0), call("notify-wrap", rtabi.GateNotify, tooHigh+store, 0),
		call("notify-high-bits", rtabi.GateNotify, 1<<32|store, 0), call("notify-huge", rtabi.GateNotify, wide, 0),
		call("notify-timer", rtabi.GateNotify, timerPort(), 0), {name: "notify-closed", do: closed(rtabi.GateNotify)},
		call("close-0", rtabi.GateClose, 0, 0), call("close-store", rtabi.GateClose, store, 0),
		call("close-console", rtabi.GateClose, console, 0), call("close-timer", rtabi.GateClose, timerPort(), 0),
		call("close-unbound", rtabi.GateClose, unbound, 0), call("close-64", rtabi.GateClose, tooHigh, 0),
		call("close-high-bits", rtabi.GateClose, 1<<32|store, 0), call("close-huge", rtabi.GateClose, wide, 0),
		{name: "close-twice", do: closed(rtabi.GateClose)},
		call("port-2", rtabi.GatePort, 2, 0), call("port-huge", rtabi.GatePort, wide, 0),
		call("port-high-bits", rtabi.GatePort, 1<<32, 0),
		call("inuse-first", rtabi.GateInUse, uintptr(bare.Info().Xen.RingRef)-1, 0),
		call("inuse-last", rtabi.GateInUse, uintptr(bare.Info().Xen.IORef)+bare.Info().IOSize/rtabi.PageSize, 0),
		call("inuse-0", rtabi.GateInUse, 0, 0), call("inuse-huge", rtabi.GateInUse, wide, 0),
		call("inuse-high-bits", rtabi.GateInUse, 1<<32|uintptr(bare.Info().Xen.RingRef), 0),
	}
}
