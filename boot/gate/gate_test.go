package gate

import (
	"bytes"
	"testing"

	"ampoule/boot/layout"
)

// The copy must be the blob but for the SMAP sites, of which there is an exact
// number: another instruction that happens to contain those bytes would be
// destroyed.
func TestCopy(t *testing.T) {
	smap, plain := make([]byte, layout.GateCodeSize), make([]byte, layout.GateCodeSize)
	if !Copy(smap, true) || !Copy(plain, false) {
		t.Fatal("Copy refused the blob: wrong size or number of STAC and CLAC")
	}
	b := Blob()
	if !bytes.Equal(smap[:len(b)], b) {
		t.Error("with SMAP the copy differs from the blob")
	}
	diff := 0
	for i := range b {
		if plain[i] != b[i] {
			diff++
		}
	}
	if diff != 2*smapSites {
		t.Errorf("without SMAP %d bytes differ, want %d", diff, 2*smapSites)
	}
	if Copy(make([]byte, 16), true) {
		t.Error("Copy into too small a place succeeded")
	}
}

// Every vector has its stub at 16 times its number and both entry points are
// where the boot code jumps to.
func TestStubs(t *testing.T) {
	b := Blob()
	withError := map[int]bool{8: true, 10: true, 11: true, 12: true, 13: true, 14: true, 17: true, 21: true, 29: true, 30: true}
	for v := 0; v < layout.Vectors; v++ {
		s := b[v*16:]
		if !withError[v] {
			if s[0] != 0x6a || s[1] != 0 {
				t.Fatalf("vector %d: starts % x, want push 0", v, s[:4])
			}
			s = s[2:]
		}
		if s[0] != 0x6a || s[1] != byte(v) || s[2]&^2 != 0xe9 {
			t.Errorf("vector %d: % x, want push %d and a jump", v, s[:4], v)
		}
	}
	for _, off := range []int{EntryOffset, EnterOffset} {
		if b[off] != 0xe9 && b[off] != 0xeb {
			t.Errorf("offset %#x: % x is no jump", off, b[off:off+4])
		}
	}
}

// The gate may not contain an instruction that changes the address space after
// sealing, nor one that reads or writes other machine state than it must. The
// test looks for the byte patterns at any offset, so it errs on the safe side.
func TestForbidden(t *testing.T) {
	b := Blob()
	for _, f := range []struct {
		name    string
		pattern []byte
		count   int
	}{
		{"mov to cr3", []byte{0x0f, 0x22, 0xd8}, 0},
		{"mov to cr0", []byte{0x0f, 0x22, 0xc0}, 0},
		{"mov to cr4 (on the way to ring 3 only)", []byte{0x0f, 0x22, 0xe0}, 1},
		{"wrmsr", []byte{0x0f, 0x30}, 0},
		{"rdmsr", []byte{0x0f, 0x32}, 0},
		{"lgdt", []byte{0x0f, 0x01, 0x14}, 0},
		{"invlpg", []byte{0x0f, 0x01, 0x38}, 0},
		{"rep string", []byte{0xf3, 0xa4}, 0},
		{"rep string", []byte{0xf3, 0x48, 0xa5}, 0},
	} {
		if n := bytes.Count(b, f.pattern); n != f.count {
			t.Errorf("%s occurs %d times, want %d", f.name, n, f.count)
		}
	}
}
