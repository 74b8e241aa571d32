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
	if !Copy(smap, layout.GateLink, true) || !Copy(plain, layout.GateLink, false) {
		t.Fatalf("Copy refused the blob: %+v", patch(smap, Blob(), layout.GateLink, true, false))
	}
	b := Blob()
	if !bytes.Equal(smap[:len(b)], b) {
		t.Error("with SMAP the copy differs from the blob")
	}
	if diff := differ(plain, b); diff != 2*smapSites {
		t.Errorf("without SMAP %d bytes differ, want %d", diff, 2*smapSites)
	}
	intel := make([]byte, layout.GateCodeSize)
	if !CopyXen(intel, layout.GateLink, true, true) {
		t.Fatalf("CopyXen refused the blob: %+v", patch(intel, XenBlob(), layout.GateLink, true, true))
	}
	if diff := differ(intel, XenBlob()); diff != xenHyperSite {
		t.Errorf("on Intel %d bytes differ, want %d", diff, xenHyperSite)
	}
	if Copy(make([]byte, 16), layout.GateLink, true) || Copy(smap, layout.GateLink+1, true) || Copy(smap, 0x40000000, true) {
		t.Error("Copy into too small a place, or for a place that code cannot reach, succeeded")
	}
}

func differ(a, b []byte) (n int) {
	for i := range b {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// TestCopyMoves takes the gate apart that was moved: every address in it, as an
// operand of an instruction, lies where it lay in the gate's region, and nothing
// else has changed.
func TestCopyMoves(t *testing.T) {
	for _, base := range []uint64{layout.TopLow, layout.GateLink, layout.TopEnd - layout.GateSize, 0xffffffffdcba9000} {
		for name, b := range map[string][]byte{"PC": Blob(), "Xen": XenBlob()} {
			moved := make([]byte, layout.GateCodeSize)
			if name == "PC" && !Copy(moved, base, true) || name == "Xen" && !CopyXen(moved, base, true, false) {
				t.Fatalf("%s: no copy for %#x", name, base)
			}
			sites := 0
			for at, i := range walk(t, b) {
				m, err := decode(moved[at:])
				if err != nil || m.name != i.name || m.len != i.len {
					t.Fatalf("%s at %#x: %v became %v, %v", name, at, i.Inst, m.Inst, err)
				}
				for k := range i.Args {
					was, ok := address(i.Args[k])
					is, ok2 := address(m.Args[k])
					if ok != ok2 || ok && is-base != was-layout.GateLink {
						t.Errorf("%s at %#x: %v became %v for a gate at %#x", name, at, i.Inst, m.Inst, base)
					}
					if ok {
						sites++
					}
				}
			}
			if n := patch(moved, b, base, true, false).addresses; sites != n || n < 20 {
				t.Errorf("%s: %d operands are addresses of the gate, %d were moved", name, sites, n)
			}
		}
	}
}

// address is an operand that points into the topmost 2 GiB.
func address(a x86asm.Arg) (uint64, bool) {
	v := int64(0)
	switch a := a.(type) {
	case x86asm.Mem:
		v = int64(int32(a.Disp))
		if a.Base != 0 { // a small offset
			v = 0
		}
	case x86asm.Imm:
		v = int64(a)
	}
	return uint64(v), v < -1<<20
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
