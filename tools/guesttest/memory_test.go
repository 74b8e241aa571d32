package guesttest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/space"
)

// snapshot is a machine as QEMU's monitor shows it, standing still: registers,
// all of RAM, and the address space that follows from both.
type snapshot struct {
	space.Space
	regs string
}

// snap stops g, takes its picture and lets it go on.
func snap(t *testing.T, g *vm.VM, ram int) *snapshot {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ram")
	s := &snapshot{}
	for _, cmd := range []string{"stop", "info registers", fmt.Sprintf("pmemsave 0 %d %q", ram<<20, file), "cont"} {
		text, err := g.Monitor(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if cmd == "info registers" {
			s.regs = text
		} else if text != "" { // a word about the guest's doings, perhaps
			t.Logf("%s: %s", cmd, text)
		}
	}
	var err error
	if s.RAM, err = os.ReadFile(file); err != nil || len(s.RAM) != ram<<20 {
		t.Fatalf("%d bytes of RAM: %v", len(s.RAM), err)
	}
	s.Walk(t, s.reg(t, "CR3")&space.Address)
	return s
}

// reg is a register of info registers: CR0=80010033.
func (s *snapshot) reg(t *testing.T, name string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`\b` + name + `\s*=\s*([0-9a-f]+)`).FindStringSubmatch(s.regs)
	if m == nil {
		t.Fatalf("no register %s in\n%s", name, s.regs)
	}
	v, err := strconv.ParseUint(m[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
