package counter

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ampoule/tools/boottest/tinyguest"
	"ampoule/tools/boottest/vm"
)

// count runs g to its end and returns what it and the firmware executed.
func count(t *testing.T, p *Plugin, g *tinyguest.Guest, withBlocks bool) (Counts, map[Block]uint64) {
	t.Helper()
	img := filepath.Join(t.TempDir(), "guest.elf")
	if err := os.WriteFile(img, g.ELF(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := p.New(withBlocks)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := vm.Run(t.Context(), vm.Config{Image: img, RAM: 16, Args: c.Args()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 3 {
		t.Fatalf("exit code %d", r.Code)
	}
	var b map[Block]uint64
	if withBlocks {
		if b, err = c.Blocks(); err != nil {
			t.Fatal(err)
		}
	}
	return c.Read(), b
}

func plugin(t *testing.T) *Plugin {
	t.Helper()
	for _, tool := range []string{"gcc", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not installed: run make setup", tool)
		}
	}
	p, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// near allows for what firmware does differently from boot to boot: it waits
// for devices.
func near(got, want uint64) bool {
	const slack = 2000
	return got+slack >= want && got <= want+slack
}

func TestCounts(t *testing.T) {
	p := plugin(t)
	floor, _ := count(t, p, new(tinyguest.Guest).Exit(3), false)
	if floor.Instructions == 0 || floor.Ports == 0 {
		t.Fatalf("floor %+v", floor)
	}
	loop, _ := count(t, p, new(tinyguest.Guest).Loop(1_000_000).Exit(3), false)
	if d := loop.Sub(floor); !near(d.Plain(), 2_000_001) || !near(d.Repeats, 0) {
		t.Errorf("a loop of 2,000,001 instructions: %+v", d)
	}
	clear, _ := count(t, p, new(tinyguest.Guest).Clear(1_000_000).Exit(3), false)
	if d := clear.Sub(floor); !near(d.Repeats, 1_000_000) || !near(d.Plain(), 3) {
		t.Errorf("clearing 1,000,000 bytes: %+v", d)
	}
}

func TestBlocks(t *testing.T) {
	p := plugin(t)
	total, m := count(t, p, new(tinyguest.Guest).Loop(500_000).Exit(3), true)
	var sum uint64
	var hot Block
	for _, b := range Since(nil, m) {
		sum += b.Entered * (b.Instructions + b.Repeats)
		if b.Entered > hot.Entered {
			hot = b
		}
	}
	if sum != total.Instructions {
		t.Errorf("blocks hold %d instructions, the total is %d", sum, total.Instructions)
	}
	if hot.Instructions != 2 || hot.Entered < 499_990 || hot.Address < 0x100000 || hot.Address > 0x101000 {
		t.Errorf("hottest block %+v", hot)
	}
	if left := Since(m, m); len(left) != 0 {
		t.Errorf("%d blocks since now", len(left))
	}
}
