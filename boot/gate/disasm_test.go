package gate

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"ampoule/boot/layout"

	"golang.org/x/arch/x86/x86asm"
)

// inst is one instruction of the blob. Those that the disassembler does not
// know have a name only.
type inst struct {
	x86asm.Inst
	name string
	len  int
}

func decode(b []byte) (inst, error) {
	if len(b) >= 3 && b[0] == 0x0f && b[1] == 0x01 && b[2]|1 == 0xcb {
		return inst{name: [2]string{"CLAC", "STAC"}[b[2]&1], len: 3}, nil
	}
	if len(b) >= 3 && b[0] == 0x0f && b[1] == 0x01 && b[2] == 0xd9 {
		return inst{name: "VMMCALL", len: 3}, nil
	}
	i, err := x86asm.Decode(b, 64)
	if err != nil || i.Op == 0 {
		return inst{}, fmt.Errorf("% x: no instruction: %v", b[:min(8, len(b))], err)
	}
	return inst{i, name(i), i.Len}, nil
}

// name is the opcode, with the control register that a MOV is about.
func name(i x86asm.Inst) string {
	for n, a := range i.Args[:2] {
		if r, ok := a.(x86asm.Reg); ok && i.Op == x86asm.MOV && r >= x86asm.CR0 && r <= x86asm.DR15 {
			return i.Op.String() + [2]string{" to ", " from "}[n] + r.String()
		}
	}
	return i.Op.String()
}

// walk disassembles what can be reached from the entry points: the stub of
// each vector, the target of SYSCALL and the way to ring 3.
func walk(t *testing.T, b []byte) map[int]inst {
	t.Helper()
	todo := []int{EntryOffset, EnterOffset}
	if isXen(b) {
		todo = append(todo, SetupOffset)
	}
	for v := range layout.Vectors {
		todo = append(todo, v*16)
	}
	seen := map[int]inst{}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, ok := seen[at]; ok {
			continue
		}
		if at < 0 || at >= len(b) {
			t.Fatalf("control leaves the blob at %#x", at)
		}
		i, err := decode(b[at:])
		if err != nil {
			t.Fatalf("offset %#x: %v", at, err)
		}
		seen[at] = i
		next := true
		if i.name != "STAC" && i.name != "CLAC" && i.name != "VMMCALL" {
			if rel, ok := i.Args[0].(x86asm.Rel); ok {
				todo = append(todo, at+i.len+int(rel))
			} else if i.Op == x86asm.JMP || i.Op == x86asm.CALL {
				t.Errorf("offset %#x: %v goes where its operand says", at, i.Inst)
			}
			next = i.Op != x86asm.JMP && i.Op != x86asm.IRETQ && i.Op != x86asm.SYSRET && i.Op != x86asm.RET
		}
		if next {
			todo = append(todo, at+i.len)
		}
	}
	return seen
}

// privileged is every instruction of the gate that ring 3 may not execute, or
// not with effect, with the number of places where it stands. Whoever changes
// it says why in the same commit. That MOV to CR4 can only set bits, by an OR
// with the gate's data, and runs before ring 3 does.
var privileged = map[string]int{
	"CLAC":         10, // one for each way out of a STAC, and of ring 3
	"STAC":         6,  // flags before a fault and a tick, the context twice, the submission area, the report
	"CLI":          1,  // woken from sleep
	"STI":          1,  // before sleep
	"HLT":          2,  // sleep; the end
	"IN":           1,  // console status
	"OUT":          9,  // console, fault reports, exit, restart
	"IRETQ":        4,  // from interrupts, to the upcall and back from it, first way to ring 3
	"SYSRET":       1,
	"LIDT":         1, // of no table: the triple fault that ends the VM
	"MOV from CR2": 2,
	"MOV from CR4": 1,
	"MOV to CR4":   1,
}

// privilegedXen is the same for the gate on Xen.
var privilegedXen = map[string]int{
	"CLAC":         12,
	"STAC":         9,  // shared info thrice, flags twice, the context twice, the console ring, the report
	"VMMCALL":      10, // sleep, notify, alloc, close twice, console, suspend, set-up, report, shutdown
	"HLT":          1,  // should a shutdown return
	"OUT":          4,  // the report, to the hypervisor's log
	"IRETQ":        4,
	"SYSRET":       1,
	"MOV from CR2": 2,
	"MOV from CR4": 1,
	"MOV to CR4":   1,
}

// ordinary instructions of the gate. What is in neither list is refused:
// WRMSR, MOV to CR0 or CR3, INVLPG, LGDT, LTR, string instructions, far jumps.
var ordinary = []string{
	"ADD", "AND", "CMP", "CMOVA", "DEC", "INC", "INT", "JA", "JAE", "JB", "JBE", "JE", "JL", "JMP", "JNE",
	"LEA", "MOV", "MOVZX", "MUL", "NOP", "OR", "POP", "PUSH", "RDTSC", "ROL", "SHL", "SHLD", "SHR", "SHRD",
	"SUB", "TEST", "XOR", "XCHG", "NOT", "BT", "BTR", "BTS", "JGE", "RET",
}

// isXen tells the two blobs apart.
func isXen(b []byte) bool { return &b[0] == &XenBlob()[0] }

func TestInstructions(t *testing.T) {
	t.Run("PC", func(t *testing.T) { checkInstructions(t, Blob(), privileged) })
	t.Run("Xen", func(t *testing.T) { checkInstructions(t, XenBlob(), privilegedXen) })
}

func checkInstructions(t *testing.T, b []byte, privileged map[string]int) {
	t.Helper()
	seen := walk(t, b)
	if len(seen) < 400 {
		t.Fatalf("only %d instructions can be reached", len(seen))
	}
	count := map[string]int{}
	for at, i := range seen {
		if _, ok := privileged[i.name]; ok {
			count[i.name]++
		} else if !slices.Contains(ordinary, i.name) {
			t.Errorf("offset %#x: %s (%v) is in no list", at, i.name, i.Inst)
		}
	}
	if !maps.Equal(count, privileged) {
		for n := range privileged {
			if count[n] != privileged[n] {
				t.Errorf("%s stands in %d places, want %d", n, count[n], privileged[n])
			}
		}
	}
	checkCover(t, b, seen)
}

// checkCover: what is not reached is padding, and no instruction begins within
// another, so that the list above is of all there is.
func checkCover(t *testing.T, b []byte, seen map[int]inst) {
	t.Helper()
	end := 0
	for _, at := range slices.Sorted(maps.Keys(seen)) {
		if at < end {
			t.Errorf("offset %#x lies within an instruction", at)
		}
		for end < at {
			pad, err := decode(b[end:])
			if err != nil || pad.Op != x86asm.NOP && !(pad.Op == x86asm.INT && pad.len == 1) {
				t.Fatalf("offset %#x is never reached: %v %v", end, pad.Inst, err)
			}
			end += pad.len
		}
		end = at + seen[at].len
	}
	if len(b)-end > 32 {
		t.Errorf("%d bytes behind the last instruction", len(b)-end)
	}
}
