//go:build ampoule

package probe

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"runtime"
	"testing"
)

// TestBusMemory checks width and address of each access.
func TestBusMemory(t *testing.T) {
	var bus Bus
	mem := &[16]byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}
	at := address(mem)
	if v := bus.Read8(at + 1); v != 0x22 {
		t.Errorf("Read8: %#x", v)
	}
	if v := bus.Read16(at + 2); v != 0x4433 {
		t.Errorf("Read16: %#x", v)
	}
	if v := bus.Read32(at + 4); v != 0x88776655 {
		t.Errorf("Read32: %#x", v)
	}
	if v := bus.Read64(at); v != 0x8877665544332211 {
		t.Errorf("Read64: %#x", v)
	}
	for _, c := range []struct {
		write func()
		want  [16]byte
	}{
		{func() { bus.Write8(at+1, 0xff) }, [16]byte{1: 0xff}},
		{func() { bus.Write16(at+2, 0x1234) }, [16]byte{2: 0x34, 3: 0x12}},
		{func() { bus.Write32(at+4, 0x12345678) }, [16]byte{4: 0x78, 5: 0x56, 6: 0x34, 7: 0x12}},
		{func() { bus.Write64(at+8, 1<<56|2) }, [16]byte{8: 2, 15: 1}},
	} {
		*mem = [16]byte{}
		c.write()
		if *mem != c.want {
			t.Errorf("got % x, want % x", *mem, c.want)
		}
	}
}

// TestBusPorts looks for the instruction in each port function, as a process
// may not run it.
func TestBusPorts(t *testing.T) {
	var bus Bus
	linked := []any{bus.In8, bus.In16, bus.In32, bus.Out8, bus.Out16, bus.Out32}
	defer runtime.KeepAlive(linked)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		t.Skip("SKIPPED: go test strips what it runs; TestAccessors of the host runs this with symbols")
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{
		"in8": {0xec}, "in16": {0x66, 0xed}, "in32": {0xed},
		"out8": {0xee}, "out16": {0x66, 0xef}, "out32": {0xef},
	}
	text := f.Section(".text")
	for _, s := range syms {
		for name, code := range want {
			if s.Name != "ampoule/boot/probe."+name+".abi0" {
				continue
			}
			b := make([]byte, s.Size)
			if _, err := text.ReadAt(b, int64(s.Value-text.Addr)); err != nil {
				t.Fatal(err)
			}
			// MOVW 8(SP), DX comes first in each.
			if !bytes.HasPrefix(b, []byte{0x66, 0x8b, 0x54, 0x24, 0x08}) || !bytes.Contains(b[5:], code) ||
				len(code) == 1 && bytes.Contains(b[5:], append([]byte{0x66}, code...)) {
				t.Errorf("%s: % x", name, b)
			}
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("%s not found in the program", name)
	}
}
