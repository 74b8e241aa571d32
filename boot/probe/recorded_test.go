//go:build !ampoule

package probe

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "record testdata anew from the QEMU that is installed")

// recorded are the machines whose tables are in testdata.
var recorded = []struct {
	name string
	args []string
	want Platform
}{
	{"microvm", []string{"-M", "microvm"}, Platform{
		ACPI: true, LAPIC: 0xfee00000,
		NIOAPIC: 2, IOAPIC: [MaxIOAPIC]IOAPIC{{0xfec00000, 0}, {0xfec10000, 24}},
		PowerOff: Action{ActMemory, 1, 5<<2 | 1<<5, 0xfea00200},
		Reset:    Action{ActMemory, 1, 0x42, 0xfea00202},
	}},
	{"q35", []string{"-M", "q35"}, pcPlatform(0x604, Action{ActPort, 1, 0xf, 0xcf9})},
	{"pc", []string{"-M", "pc"}, pcPlatform(0x604, Action{})},
}

func pcPlatform(pm1 uint64, reset Action) Platform {
	return Platform{
		ACPI: true, LAPIC: 0xfee00000,
		NIOAPIC: 1, IOAPIC: [MaxIOAPIC]IOAPIC{{0xfec00000, 0}},
		NOverride: 5,
		Override: [MaxOverride]Override{
			{2, 0, 0}, {5, 13, 5}, {9, 13, 9}, {10, 13, 10}, {11, 13, 11},
		},
		PowerOff: Action{ActPort, 2, 1 << 13, pm1},
		Reset:    reset,
	}
}

// TestRecorded reads the tables that QEMU 7.2 gave.
func TestRecorded(t *testing.T) {
	for _, c := range recorded {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join("testdata", c.name+".acpi")
			if *update {
				record(t, file, c.args)
			}
			rsdp, m := load(t, file)
			var out Result
			readACPI(m.machine().bus(), rsdp, &out)
			if out.NFaults != 0 {
				t.Errorf("faults: %+v", out.Faults[:out.NFaults])
			}
			if out.Platform != c.want {
				t.Errorf("got  %+v\nwant %+v", out.Platform, c.want)
			}
		})
	}
}

// record writes one line for each table: address and content in hexadecimal.
// The root pointer comes first.
func record(t *testing.T, file string, args []string) {
	q := startQEMU(t, args...)
	_, rsdp := q.start()
	m := tables{rsdp: q.read(rsdp, 36)}
	if m[rsdp][15] < 2 {
		m[rsdp] = m[rsdp][:20]
	}
	le := binary.LittleEndian
	add := func(at uint64) []byte {
		m[at] = q.read(at, uint64(le.Uint32(q.read(at+4, 4))))
		return m[at]
	}
	var list []uint64
	if root := uint64(le.Uint32(m[rsdp][16:])); root != 0 {
		for b := add(root)[36:]; len(b) >= 4; b = b[4:] {
			list = append(list, uint64(le.Uint32(b)))
		}
	} else {
		for b := add(le.Uint64(m[rsdp][24:]))[36:]; len(b) >= 8; b = b[8:] {
			list = append(list, le.Uint64(b))
		}
	}
	for _, at := range list {
		if b := add(at); string(b[:4]) == "FACP" {
			add(uint64(le.Uint32(b[40:])))
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%x %x\n", rsdp, m[rsdp])
	for _, at := range slices.Sorted(maps.Keys(m)) {
		if at != rsdp {
			fmt.Fprintf(&s, "%x %x\n", at, m[at])
		}
	}
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, file string) (rsdp uint64, m tables) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m = tables{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var at uint64
		var s string
		if _, err := fmt.Sscanf(line, "%x %s", &at, &s); err != nil {
			t.Fatalf("%s:%d: %v", file, i+1, err)
		}
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatalf("%s:%d: %v", file, i+1, err)
		}
		m[at] = b
		if i == 0 {
			rsdp = at
		}
	}
	return rsdp, m
}
