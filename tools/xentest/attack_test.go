package xen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
	"ampoule/tools/guesttest/expect"
)

// onXen is what only a guest of Xen has among the attacks that end in a fault
// which Go code recovers from.
var onXen = strings.Fields(`
	read-grant-table write-grant-table write-grant-console write-grant-store write-grant-ring write-grant-io write-grant-end
	read-before-shared write-before-shared read-behind-rings write-behind-rings
	execute-shared-info execute-store execute-console execute-first-ring execute-last-ring execute-grant-table`)

// attacksRecovered runs every attack that must end in a recoverable fault, and
// then those that must have no effect: hypercalls from ring 3, gate calls with
// odd flags and stacks, more event channels than there are. The processor has
// SMEP and SMAP, so that the gate works with them.
func attacksRecovered(h *host) {
	lines := h.ends(h.program(expect.Attack), "attack=all", 32, rtabi.ExitOK)
	for _, name := range slices.Concat(expect.Recovered(), onXen) {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "stopped "+name+": runtime error") }) {
			h.t.Errorf("%s: no fault reported", name)
		}
	}
	line(h.t, lines[len(lines)-1:], `^attack: 1\d\d stopped$`)
	var features uint64
	fmt.Sscanf(line(h.t, lines, "^features 0x[0-9a-f]+$"), "features 0x%x", &features)
	if want := uint64(rtabi.FeatureXen | rtabi.FeatureSMEP | rtabi.FeatureSMAP); features&want != want {
		h.t.Errorf("features %#x, want SMEP and SMAP among them", features)
	}
}

// attackAlone boots one attack that ends the VM and answers the line of the
// report, and where the guest's regions were.
func attackAlone(h *host, image, name string, code int, want string) (report string, at expect.Places) {
	h.t.Run(name, func(t *testing.T) {
		lines := (&host{h.Rig, t}).ends(image, "attack="+name, 32, code)
		if !slices.Contains(lines, "trying "+name) {
			t.Errorf("was not tried:\n%s", strings.Join(lines, "\n"))
		}
		report = line(t, lines, want)
		var err error
		if at, err = expect.ParsePlaces(line(t, lines, "^"+expect.PlacesPrefix)); err != nil {
			t.Error(err)
		}
	})
	return report, at
}

func attacksFinal(h *host) {
	image := h.program(expect.Attack)
	for _, a := range expect.Final() {
		l, at := attackAlone(h, image, a.Name, a.Code, a.Want)
		if want := fmt.Sprintf(" %016x ", at["gate"]+layout.GateData); a.Name == "write-gate-pointer" && !strings.Contains(l, want) {
			h.t.Errorf("the fault is not at%s: %s", want, l)
		}
	}
}

// stackGuards overflows each fixed stack of ring 3 into its guard page, as
// TestStackGuards of tools/guesttest does.
func stackGuards(h *host) {
	image := h.program(expect.Attack)
	offset := uint64(0)
	for _, s := range []struct {
		name string
		size uint64
	}{{"main", layout.MainStack}, {"signal", layout.SignalStack}, {"system", layout.SystemStack}} {
		l, at := attackAlone(h, image, "overflow-"+s.name+"-stack", rtabi.ExitFault, expect.FaultText)
		guard := at["stacks"] + offset
		f := strings.Fields(l)
		if len(f) < 6 {
			h.t.Fatalf("%s: report %q", s.name, l)
		}
		f = f[len(f)-6:]
		cr2, err := strconv.ParseUint(f[3], 16, 64)
		if err != nil || f[0] != fmt.Sprintf("%016x", 14) || cr2 < guard || cr2 >= guard+layout.Page {
			h.t.Errorf("%s: fault at %#x, want a page fault in the guard page at %#x: %s", s.name, cr2, guard, l)
		}
		offset += layout.Page + s.size
	}
}

// gateCalls are calls of the gate on Xen that it must refuse, with the number of
// the operation as the report shows it.
var gateCalls = []struct {
	op    uint64
	names []string
}{
	{99, []string{"op-unknown"}},
	{^uint64(0), []string{"op-huge"}},
	{1<<32 | rtabi.GateNotify, []string{"op-high-bits"}},
	{rtabi.GatePost, []string{"op-post"}},
	{rtabi.GateConsole, []string{"console-9", "console-huge", "console-negative"}},
	{rtabi.GateNotify, []string{"notify-0", "notify-unbound", "notify-64", "notify-wrap", "notify-high-bits", "notify-huge",
		"notify-timer", "notify-closed"}},
	{rtabi.GateClose, []string{"close-0", "close-store", "close-console", "close-timer", "close-unbound", "close-64",
		"close-high-bits", "close-huge", "close-twice"}},
	{rtabi.GatePort, []string{"port-2", "port-huge", "port-high-bits"}},
	{rtabi.GateInUse, []string{"inuse-first", "inuse-last", "inuse-0", "inuse-huge", "inuse-high-bits"}},
}

// gateRefuses: the gate reports each of them and ends the VM (exit code 45).
func gateRefuses(h *host) {
	image := h.program(expect.Attack)
	for _, c := range gateCalls {
		for _, name := range c.names {
			attackAlone(h, image, name, rtabi.ExitViolation, expect.Violation+fmt.Sprintf("%016x ", c.op))
		}
	}
}
