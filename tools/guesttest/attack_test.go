package guesttest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/expect"
	"ampoule/tools/guesttest/guest"
)

// optional is what a CPU with UMIP and XSAVE refuses besides.
var optional = []string{"sgdt", "sidt", "sldt", "str", "smsw", "xsetbv"}

// onVirtio is what is the machine's own among those that can be recovered.
var onVirtio = []string{"write-clock", "execute-ring-0-0"}

// TestAttacksRecovered runs every attack that must end in a recoverable fault:
// in one boot, since each leaves the machine as it was. The exit code is 1 as
// soon as one succeeds.
func TestAttacksRecovered(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		lines := ends(t, 0, vm.Config{Image: images.Program(t, attackGuest, v.GOAMD64), Machine: v.Machine,
			CPU: guest.CPU(v.GOAMD64), RAM: 32, RNG: true, Append: "attack=all"})
		want := slices.Concat(expect.Recovered(), onVirtio)
		if v.GOAMD64 == "v3" { // CPU max
			want = slices.Concat(want, optional)
		}
		for _, name := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "stopped "+name+": runtime error") }) {
				t.Errorf("%s: no fault reported", name)
			}
		}
		if last := lines[len(lines)-1]; !regexp.MustCompile(`^attack: 1\d\d stopped$`).MatchString(last) {
			t.Errorf("last line %q", last)
		}
	})
}

// attackAlone boots one attack and holds its end to code and report.
func attackAlone(t *testing.T, name string, n, code int, want string) (report string, at expect.Places) {
	t.Helper()
	level := []string{"v1", "v3"}[n%2]
	c := vm.Config{Image: images.Program(t, attackGuest, level), Machine: vm.Machines[n/2%2],
		CPU: "max", RAM: 32, RNG: true, Append: "attack=" + name}
	transmits := strings.HasPrefix(name, "transmit-")
	if transmits || strings.HasPrefix(name, "receive-") {
		c.Net = vm.Net{Kind: vm.NetUser}
	}
	lines := ends(t, code, c)
	for _, l := range lines {
		if strings.HasPrefix(l, expect.PlacesPrefix) {
			at = placesOf(t, l)
		}
	}
	if !slices.Contains(lines, "trying "+name) {
		t.Errorf("was not tried:\n%s", strings.Join(lines, "\n"))
	}
	if transmits && !slices.Contains(lines, "armed") {
		t.Errorf("what is allowed was refused:\n%s", strings.Join(lines, "\n"))
	}
	re := regexp.MustCompile(want)
	for _, l := range lines {
		if re.MatchString(l) {
			return l, at
		}
	}
	t.Errorf("no line %q:\n%s", want, strings.Join(lines, "\n"))
	return "", at
}

func TestAttacksFinal(t *testing.T) {
	all := append(expect.Final(), expect.End{Name: "vmmcall", Code: rtabi.ExitFatal, Want: "^SIGILL"})
	for i, a := range all {
		t.Run(a.Name, func(t *testing.T) {
			l, at := attackAlone(t, a.Name, i, a.Code, a.Want)
			if want := fmt.Sprintf(" %016x ", at["gate"]+layout.GateData); a.Name == "write-gate-pointer" && !strings.Contains(l, want) {
				t.Errorf("the fault is not at%s: %s", want, l)
			}
		})
	}
}

// TestStackGuards overflows each fixed stack of ring 3. The first fault is a
// signal like any other, whose handler then faults on the same guard page as it
// pushes the call of a panic: the gate reports that, with the address.
func TestStackGuards(t *testing.T) {
	offset := uint64(0)
	for i, s := range []struct {
		name string
		size uint64
	}{{"main", layout.MainStack}, {"signal", layout.SignalStack}, {"system", layout.SystemStack}} {
		t.Run(s.name, func(t *testing.T) {
			l, at := attackAlone(t, "overflow-"+s.name+"-stack", i, rtabi.ExitFault, expect.FaultText)
			f := strings.Fields(l[len("ampoule: fault in ring 0 or nested:"):])
			if len(f) != 6 {
				t.Fatalf("report %q", l)
			}
			guard := at["stacks"] + offset
			cr2, err := strconv.ParseUint(f[3], 16, 64)
			if err != nil || f[0] != fmt.Sprintf("%016x", 14) || cr2 < guard || cr2 >= guard+layout.Page {
				t.Errorf("fault at %#x, want a page fault in the guard page at %#x: %s", cr2, guard, l)
			}
		})
		offset += layout.Page + s.size
	}
}

// gateCalls are calls of the gate that it must refuse, with the number of the
// operation as the report shows it.
var gateCalls = []struct {
	op    uint64
	names []string
}{
	{99, []string{"op-unknown"}},
	{^uint64(0), []string{"op-huge"}},
	{1<<32 | rtabi.GatePost, []string{"op-high-bits"}},
	{rtabi.GateAlloc, []string{"op-alloc"}}, {rtabi.GateClose, []string{"op-close"}},
	{rtabi.GateSuspend, []string{"op-suspend"}}, {rtabi.GatePort, []string{"op-port"}},
	{rtabi.GateInUse, []string{"op-inuse"}},
	{rtabi.GateConsole, []string{"console-9", "console-huge", "console-negative"}},
	{rtabi.GateNotify, []string{"notify-queue", "notify-huge"}},
	{rtabi.GateGive, []string{"give-queue", "give-queue-huge", "give-queue-wrap", "give-missing-queue", "give-41", "give-65535",
		"give-high-bits", "give-huge",
		"give-id", "give-id-huge", "give-next", "give-next-idle", "give-indirect", "give-flags", "give-len-0", "give-offset",
		"give-offset-huge", "give-len", "give-len-page", "give-len-huge", "give-end", "give-wrap", "give-wrap-huge"}},
	{rtabi.GatePost, []string{"post-queue", "post-queue-huge", "post-queue-wrap", "post-missing-queue", "post-41", "post-huge",
		"desc-id", "desc-id-huge", "desc-next", "desc-next-idle", "desc-indirect", "desc-flags", "desc-len-0", "desc-offset",
		"desc-offset-huge", "desc-len", "desc-len-page", "desc-len-huge", "desc-end", "desc-wrap", "desc-wrap-huge",
		"desc-second-id", "desc-second-next", "desc-second-indirect", "desc-second-offset", "desc-second-len",
		"desc-second-wrap",
		"transmit-write", "transmit-write-const", "transmit-const-behind", "transmit-const-end", "transmit-const-huge",
		"transmit-const-wrap", "transmit-const-len-0", "transmit-const-len", "transmit-const-len-huge",
		"transmit-const-indirect", "transmit-io-behind", "receive-const-read", "receive-const-write",
		"other-const-read", "other-const-write"}},
}

func TestGateRefuses(t *testing.T) {
	n := 0
	for _, c := range gateCalls {
		for _, name := range c.names {
			n++
			t.Run(name, func(t *testing.T) {
				attackAlone(t, name, n, rtabi.ExitViolation, expect.Violation+fmt.Sprintf("%016x ", c.op))
			})
		}
	}
}
