package gate

import (
	"bytes"
	"testing"

	"ampoule/boot/layout"

	"golang.org/x/arch/x86/x86asm"
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
	intel := make([]byte, layout.GateCodeSize)
	if !CopyXen(intel, true, true) {
		t.Fatal("CopyXen refused the blob: wrong size or number of STAC, CLAC and VMMCALL")
	}
	diff = 0
	for i, c := range XenBlob() {
		if intel[i] != c {
			diff++
		}
	}
	if diff != xenHyperSite {
		t.Errorf("on Intel %d bytes differ, want %d", diff, xenHyperSite)
	}
}

// Every vector has its stub at 16 times its number and both entry points are
// where the boot code jumps to.
func TestStubs(t *testing.T) {
	t.Run("PC", func(t *testing.T) { checkStubs(t, Blob(), EntryOffset, EnterOffset) })
	t.Run("Xen", func(t *testing.T) { checkStubs(t, XenBlob(), EntryOffset, EnterOffset, SetupOffset) })
}

func checkStubs(t *testing.T, b []byte, entries ...int) {
	t.Helper()
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
	for _, off := range entries {
		if b[off] != 0xe9 && b[off] != 0xeb {
			t.Errorf("offset %#x: % x is no jump", off, b[off:off+4])
		}
	}
}

// Offsets of the registers that the assembly stores into the runtime's
// ucontext: struct sigcontext of Linux on x86-64 behind 40 bytes of ucontext
// (arch/x86/include/uapi/asm/sigcontext.h).
func TestContextOffsets(t *testing.T) {
	order := []string{"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "RDI", "RSI", "RBP", "RBX", "RDX"}
	stores := map[int64]string{}
	loads := map[int64]string{}
	for _, i := range walk(t, Blob()) {
		if i.Op != x86asm.MOV || i.name != "MOV" {
			continue
		}
		if m, ok := i.Args[1].(x86asm.Mem); ok && m.Base == x86asm.RCX && m.Index == 0 && m.Disp >= 40 && m.Disp <= 152 {
			loads[m.Disp] = i.Args[0].(x86asm.Reg).String()
		}
		to, ok1 := i.Args[0].(x86asm.Mem)
		from, ok2 := i.Args[1].(x86asm.Reg)
		if ok1 && ok2 && to.Base == x86asm.RAX && to.Disp >= 40 && to.Disp <= 216 {
			stores[to.Disp] = from.String()
		}
	}
	for n, r := range order {
		if got := stores[40+8*int64(n)]; got != r {
			t.Errorf("offset %d has %q, want %s", 40+8*n, got, r)
		}
		if got := loads[40+8*int64(n)]; got != r {
			t.Errorf("offset %d is resumed to %q, want %s", 40+8*n, got, r)
		}
	}
	// rax, rcx, rsp, rip, eflags, cs, err, trapno, cr2; all but rcx by way of RBX.
	for _, off := range []int64{144, 160, 168, 176, 184, 192, 200, 216} {
		if stores[off] != "RBX" {
			t.Errorf("offset %d has %q, want RBX", off, stores[off])
		}
	}
	if loads[144] != "RAX" || loads[152] != "RCX" {
		t.Errorf("rax is resumed from %q, rcx from %q", loads[144], loads[152])
	}
	if stores[152] != "RCX" || len(stores) != len(order)+9 {
		t.Errorf("rcx is %q of %d stores", stores[152], len(stores))
	}
}
