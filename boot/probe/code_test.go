//go:build !ampoule

package probe

import (
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	seen := map[string]Code{}
	for c := OK; c < codes; c++ {
		s := c.String()
		if s == "" || strings.ContainsAny(s, "\r\n") || strings.HasSuffix(s, ".") {
			t.Errorf("code %d: %q is not one line", c, s)
		}
		if o, ok := seen[s]; ok {
			t.Errorf("codes %d and %d share %q", o, c, s)
		}
		seen[s] = c
		for p := InMachine; p <= InACPI; p++ {
			f := Fault{c, p, 1<<64 - 1}
			if n := f.Put(make([]byte, 200)); n > 160 {
				t.Errorf("code %d: a line of %d bytes", c, n)
			}
		}
	}
	if codes.String() != "unknown fault" || Code(255).String() != "unknown fault" {
		t.Error("a code out of range has a sentence")
	}
}

func TestFaultPut(t *testing.T) {
	for _, c := range []struct {
		f    Fault
		want string
	}{
		{Fault{ResetStuck, InMMIO, 0xd0000000}, "virtio-mmio 0xd0000000: the device does not answer a reset"},
		{Fault{CommandIRQ, InCommand, 0}, "command line, byte 0x0: virtio_mmio.device: bad interrupt; it must be a number from 0 to 1023"},
		{Fault{TooManyFaults, InMachine, 7}, "machine: further faults are not listed"},
		{Fault{NoMSIX, 99, 0xf}, "f: the device has no MSI-X capability"},
	} {
		var b [160]byte
		if got := string(b[:c.f.Put(b[:])]); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		for n := range len(c.want) {
			if got := string(b[:c.f.Put(b[:n])]); got != c.want[:n] {
				t.Errorf("cut at %d: %q", n, got)
			}
		}
	}
}
