//go:build !ampoule

package probe

import (
	"strings"
	"testing"
)

func TestParseWindow(t *testing.T) {
	for _, c := range []struct {
		in   string
		want window
		at   int
		code Code
	}{
		{"4K@0xd0000000:5", window{0xd0000000, 4096, 5}, 15, OK},
		{"512@0xfeb00e00:12", window{0xfeb00e00, 512, 12}, 17, OK},
		{"0x1000@3489660928:0x17:3 more", window{0xd0000000, 4096, 23}, 24, OK},
		{"1m@0xC0000000:0\x00junk", window{0xc0000000, 1 << 20, 0}, 15, OK},
		{"", window{}, 0, CommandSize},
		{"@0xd0000000:5", window{}, 0, CommandSize},
		{"K@0xd0000000:5", window{}, 0, CommandSize},
		{"255@0xd0000000:5", window{}, 0, CommandSize},
		{"4G@0:5", window{}, 0, CommandSize},
		{"4T@0xd0000000:5", window{}, 0, CommandSize},
		{"010@0xd0000000:5", window{}, 0, CommandSize},
		{"0x@0xd0000000:5", window{}, 0, CommandSize},
		{"99999999999999999999@0xd0000000:5", window{}, 0, CommandSize},
		{"18446744073709551615K@0xd0000000:5", window{}, 0, CommandSize},
		{"-4096@0xd0000000:5", window{}, 0, CommandSize},
		{"4K", window{}, 0, CommandSize},
		{"4K@", window{}, 3, CommandBase},
		{"4K@0xd0000010:5", window{}, 3, CommandBase},
		{"4K@0xfffff100:5", window{}, 3, CommandBase},
		{"4K@0x100000000:5", window{}, 3, CommandBase},
		{"4K@0xfffffffffffff000:5", window{}, 3, CommandBase},
		{"4K@0xd0000000", window{}, 3, CommandBase},
		{"4K@0xd0000000:", window{}, 14, CommandIRQ},
		{"4K@0xd0000000:x", window{}, 14, CommandIRQ},
		{"4K@0xd0000000:1024", window{}, 14, CommandIRQ},
		{"4K@0xd0000000:5x", window{}, 15, CommandTail},
		{"4K@0xd0000000:5:", window{}, 16, CommandTail},
		{"4K@0xd0000000:5:1,", window{}, 17, CommandTail},
	} {
		w, at, code := parseWindow([]byte(c.in), 0)
		if code != c.code || at != c.at || code == OK && w != c.want {
			t.Errorf("%q: %+v at %d: %v; want %+v at %d: %v", c.in, w, at, code, c.want, c.at, c.code)
		}
	}
}

// TestCommandFaults checks that each bad device is reported with its place and
// that the good ones start.
func TestCommandFaults(t *testing.T) {
	f := newFake()
	f.mmio[0xd0000000], f.mmio[0xd0001000] = newVirtio(kindNet), newVirtio(kindEntropy)
	line := "virtio_mmio.device=4K@0xd0000000:5 xvirtio_mmio.device=1 virtio_mmio.device=4K@:6" +
		" virtio_mmio.device=8K@0xd0000000:7 virtio_mmio.device=4K@0xd0001000:6"
	var out Result
	code := Find(f.bus(), []byte(line), 0, testRequest(), &out)
	want := []Fault{
		{CommandBase, InCommand, uint64(strings.Index(line, "@:") + 1)},
		{CommandOverlap, InCommand, uint64(strings.Index(line, "virtio_mmio.device=8K"))},
	}
	if code != CommandBase || out.NDevices != 2 || int(out.NFaults) != len(want) {
		t.Fatalf("%v, %d devices, %+v", code, out.NDevices, out.Faults[:out.NFaults])
	}
	for i := range want {
		if out.Faults[i] != want[i] {
			t.Errorf("fault %d: %+v, want %+v", i, out.Faults[i], want[i])
		}
	}
}

// TestManyFaults fills every table that a command line can fill.
func TestManyFaults(t *testing.T) {
	f := newFake()
	var out Result
	line := strings.Repeat("virtio_mmio.device=x ", 100)
	for i := range 40 {
		line += " virtio_mmio.device=4K@0xd00" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "000:5"
	}
	if c := Find(f.bus(), []byte(line), 0, testRequest(), &out); c != CommandSize {
		t.Error(c)
	}
	if out.NFaults != MaxFaults || out.Faults[MaxFaults-1].Code != TooManyFaults || out.nwindow != maxWindows {
		t.Errorf("%d faults, the last %+v, %d windows", out.NFaults, out.Faults[MaxFaults-1], out.nwindow)
	}
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte("virtio_mmio.device=4K@0xd0000000:5 console=ttyS0"))
	f.Add([]byte("virtio_mmio.device=512@0xfeb00e00:12:3 virtio_mmio.device="))
	f.Add([]byte("virtio_mmio.device=18446744073709551615G@0xffffffffffffffff:4294967296"))
	f.Fuzz(func(t *testing.T, line []byte) {
		m := &fake{}
		var out Result
		named := scanCommand(m.bus(), line, testRequest(), &out)
		if named != hasWord(string(line)) {
			t.Errorf("named %v", named)
		}
		for i, w := range out.windows[:out.nwindow] {
			if w.base%256 != 0 || w.size < 256 || w.base+w.size > 1<<32 || w.gsi > maxGSI {
				t.Errorf("window %d: %+v", i, w)
			}
		}
		for _, fl := range out.Faults[:out.NFaults] {
			if fl.Place == InCommand && fl.At > uint64(len(line)) {
				t.Errorf("fault outside the line: %+v", fl)
			}
		}
	})
}

// hasWord is a plain way to say what scanCommand must find.
func hasWord(line string) bool {
	for _, w := range strings.FieldsFunc(line, func(r rune) bool { return r <= ' ' }) {
		if strings.HasPrefix(w, deviceParam) {
			return true
		}
	}
	return false
}
