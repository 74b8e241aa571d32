package rig

import (
	"errors"
	"strings"
	"testing"

	"ampoule/tools/boottest/vm"
)

func TestConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		g    Guest
		want string
	}{
		"least": {Guest{Image: "i", Memory: 16}, `name="n"
type="pvh"
kernel="/guest/i"
memory=16
vcpus=1
on_poweroff="destroy"
on_reboot="destroy"
on_crash="destroy"
vif=[]
`},
		"all": {Guest{Image: "i", Memory: 32, Cmdline: `a "b"`, OnCrash: "preserve", OnReboot: "restart", ShadowMemory: 8,
			VIFs: []VIF{{}, {MAC: "00:16:3e:00:00:03"}}, Config: []string{`tsc_mode="native"`}}, `name="n"
type="pvh"
kernel="/guest/i"
memory=32
vcpus=1
cmdline="a \"b\""
on_poweroff="destroy"
on_reboot="restart"
on_crash="preserve"
shadow_memory=8
vif=["bridge=xenbr0,script=/etc/xen/scripts/vif-rig,mac=00:16:3e:00:00:02","bridge=xenbr0,script=/etc/xen/scripts/vif-rig,mac=00:16:3e:00:00:03"]
tsc_mode="native"
`},
	} {
		if got := tc.g.config("n"); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}

func TestParseList(t *testing.T) {
	const out = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n" +
		"Domain-0                                     0   512     1     r-----      11.2\n" +
		"go                                           3    64     1     --p---       0.9\n"
	if s, err := parseList(out, "go"); err != nil || s != (State{3, 64, "--p---"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := parseList(out, "gone"); !errors.Is(err, ErrGone) {
		t.Errorf("no such domain: %v", err)
	}
}

func TestEnds(t *testing.T) {
	var e ends
	for range 5 {
		e.write([]byte(strings.Repeat("x", OutputLimit/2-1) + "\n"))
	}
	e.write([]byte("last"))
	s := e.String()
	if len(s) > OutputLimit+100 || !strings.HasSuffix(s, "last") || !strings.Contains(s, "bytes dropped]") {
		t.Errorf("%d bytes, end %q", len(s), s[len(s)-20:])
	}
	var small ends
	small.write([]byte("a"))
	if small.String() != "a" {
		t.Errorf("%q", small.String())
	}
}

func TestNetwork(t *testing.T) {
	if n := network([]vm.Forward{{Proto: "tcp", Port: 1}}); !strings.Contains(n, "restrict=on") {
		t.Errorf("without UDP: %s", n)
	}
	if n := network([]vm.Forward{{Proto: "tcp", Port: 1}, {Proto: "udp", Port: 1}}); !strings.Contains(n, "restrict=off") {
		t.Errorf("with UDP: %s", n)
	}
}
