// Package tinyguest assembles the smallest PVH guests by hand: a few bytes of
// 32-bit code that print, count and exit. They test the tools that boot and
// measure images without any image of the product, and give the floor of every
// boot figure.
//
// The boot protocol is Xen's PVH: an ELF note of type 18 holds the physical
// address where execution starts in 32-bit protected mode, flat segments,
// paging off, EBX pointing to the start info.
package tinyguest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

const (
	base      = 0x100000 // where the file is loaded, headers included
	headers   = 52 + 2*32
	noteSize  = 12 + 4 + 4
	codeStart = base + headers + noteSize

	notePhys32Entry = 18 // XEN_ELFNOTE_PHYS32_ENTRY

	portTHR  = 0x3f8 // COM1: transmit holding register
	portLSR  = 0x3fd // COM1: line status, bit 5: transmitter empty
	portExit = 0x501

	portDebug = 0xe9
)

// Guest is code under construction; its methods append to it.
type Guest struct {
	code []byte
}

func (g *Guest) emit(b ...byte) { g.code = append(g.code, b...) }

func (g *Guest) emit32(v uint32) { g.code = binary.LittleEndian.AppendUint32(g.code, v) }

// Print writes s to the first serial port.
func (g *Guest) Print(s string) *Guest {
	g.emit(0xbe) // mov esi, address of s behind the jump
	g.emit32(codeStart + uint32(len(g.code)) + 4 + 5)
	g.emit(0xe9) // jmp over s
	g.emit32(uint32(len(s)))
	g.emit([]byte(s)...)
	g.emit(0xb9) // mov ecx, len(s)
	g.emit32(uint32(len(s)))
	return g.put()
}

// PrintDebug writes s to port 0xe9, the debug console of Xen and QEMU.
func (g *Guest) PrintDebug(s string) *Guest {
	for _, c := range []byte(s) {
		g.emit(0xb0, c, 0xe6, portDebug) // mov al, c; out 0xe9, al
	}
	return g
}

// put writes ECX bytes at ESI.
func (g *Guest) put() *Guest {
	g.emit(
		0xba, portLSR&0xff, portLSR>>8, 0, 0, // next: mov edx, LSR
		0xec,       // wait: in al, dx
		0xa8, 0x20, // test al, transmitter empty
		0x74, 0xfb, // jz wait
		0xac,                                 // lodsb
		0xba, portTHR&0xff, portTHR>>8, 0, 0, // mov edx, THR
		0xee,       // out dx, al
		0x49,       // dec ecx
		0x75, 0xec, // jnz next
	)
	return g
}

// PrintCommandLine writes the kernel command line and a line feed. The start
// info must still be in EBX, which nothing here changes.
func (g *Guest) PrintCommandLine() *Guest {
	g.emit(
		0x8b, 0x7b, 24, // mov edi, [ebx+24]: hvm_start_info.cmdline_paddr
		0x89, 0xfe, // mov esi, edi
		0x31, 0xc9, // xor ecx, ecx
		0x80, 0x3c, 0x0f, 0, // next: cmp byte [edi+ecx], 0
		0x74, 0x03, // je done
		0x41,       // inc ecx
		0xeb, 0xf7, // jmp next
		0xe3, 20, // done: jecxz past put
	)
	return g.put().Print("\n")
}

// Loop executes dec and jnz n times each, between one mov.
func (g *Guest) Loop(n uint32) *Guest {
	g.emit(0xb9) // mov ecx, n
	g.emit32(n)
	g.emit(0x49, 0x75, 0xfd) // dec ecx; jnz -3
	return g
}

// Clear runs rep stosb over n bytes of free memory: 4 instructions and n
// iterations.
func (g *Guest) Clear(n uint32) *Guest {
	g.emit(0xbf) // mov edi, 2 MiB
	g.emit32(2 << 20)
	g.emit(0x31, 0xc0) // xor eax, eax
	g.emit(0xb9)       // mov ecx, n
	g.emit32(n)
	g.emit(0xf3, 0xaa) // rep stosb
	return g
}

// Exit ends the VM with code, 0 to 127.
func (g *Guest) Exit(code byte) *Guest {
	g.emit(0xba, portExit&0xff, portExit>>8, 0, 0) // mov edx, port
	g.emit(0xb0, code, 0xee)                       // mov al, code; out dx, al
	return g
}

// Reasons for XenShutdown (SHUTDOWN_* in Xen's public/sched.h).
const (
	XenPoweroff = 0
	XenReboot   = 1
	XenCrash    = 3
)

// XenShutdown ends a Xen domain by the hypercall sched_op(SCHEDOP_shutdown),
// in the form of AMD processors.
func (g *Guest) XenShutdown(reason byte) *Guest {
	g.emit(
		0xbc, 0, 0, 8, 0, // mov esp, 512 KiB, in low memory
		0x6a, reason, // push reason: struct sched_shutdown
		0x89, 0xe1, // mov ecx, esp
		0xbb, 2, 0, 0, 0, // mov ebx, SCHEDOP_shutdown
		0xb8, 29, 0, 0, 0, // mov eax, __HYPERVISOR_sched_op
		0x0f, 0x01, 0xd9, // vmmcall
	)
	return g
}

// Hang stops the processor for ever.
func (g *Guest) Hang() *Guest {
	g.emit(0xfa, 0xf4, 0xeb, 0xfd) // cli; hlt; jmp -3
	return g
}

// Forever keeps the processor busy.
func (g *Guest) Forever() *Guest {
	g.emit(0xeb, 0xfe) // jmp itself
	return g
}

// Crash causes a triple fault, which resets the machine.
func (g *Guest) Crash() *Guest {
	g.emit(0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0xcc) // push 0 twice; lidt [esp]; int3
	return g
}

// ELF is the guest as a file that QEMU's -kernel takes.
func (g *Guest) ELF() []byte {
	size := uint32(headers + noteSize + len(g.code))
	var b bytes.Buffer
	w := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	w(elf.Header32{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_386),
		Version: uint32(elf.EV_CURRENT),
		Entry:   codeStart,
		Phoff:   52, Ehsize: 52, Phentsize: 32, Phnum: 2, Shentsize: 40,
	})
	w(elf.Prog32{Type: uint32(elf.PT_LOAD), Vaddr: base, Paddr: base, Filesz: size, Memsz: size + 4096,
		Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Align: 4096})
	w(elf.Prog32{Type: uint32(elf.PT_NOTE), Off: headers, Vaddr: base + headers, Paddr: base + headers,
		Filesz: noteSize, Memsz: noteSize, Flags: uint32(elf.PF_R), Align: 4})
	w([3]uint32{4, 4, notePhys32Entry})
	w([4]byte{'X', 'e', 'n', 0})
	w(uint32(codeStart))
	b.Write(g.code)
	return b.Bytes()
}
