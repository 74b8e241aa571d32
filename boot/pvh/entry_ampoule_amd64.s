//go:build ampoule

// The first instructions of an appliance: from the 32-bit environment of a PVH
// guest (Xen, docs/misc/pvh.pandoc; x86/HVM direct boot ABI) to Go in long
// mode, at the addresses that the image is linked for, on page tables that only
// last until sealing.

#include "textflag.h"

// The ELF note that names the entry point (XEN_ELFNOTE_PHYS32_ENTRY, 18).
// boot/image points the image's PT_NOTE at it and makes the address physical.
DATA ·note+0(SB)/4, $4
DATA ·note+4(SB)/4, $8
DATA ·note+8(SB)/4, $18
DATA ·note+12(SB)/4, $0x006e6558	// "Xen"
DATA ·note+16(SB)/8, $·entry(SB)
GLOBL ·note(SB), RODATA, $24

// Low memory while boot runs (layout.Low); sealing leaves all of it unmapped.
#define PML4	0x100000
#define PDPT	0x101000
#define PD	0x102000	// four tables: 4 GiB in large pages
#define GDT	0x106000
#define IMAGEPD	0x107000	// two tables: the first two of PD, and the image where it is linked
#define DIRECT	0x109000	// PD at layout.Direct, which is in entry 256 of PML4
#define STACK	0x110000	// top, and the first of the image's page tables
#define BASE	0x200000	// layout.Image
#define LINKED	BASE+64+16	// address in the first program header, PT_PHDR: its own

#define LGDT(a)	BYTE $0x0f; BYTE $0x01; BYTE $0x14; BYTE $0x25; LONG $a
#define LOADSEG	BYTE $0x8e; BYTE $0xd8; BYTE $0x8e; BYTE $0xc0; BYTE $0x8e; BYTE $0xd0 // DS, ES, SS from AX
#define LRET	BYTE $0xcb

// entry runs in 32-bit mode with paging off, written in the 64-bit
// instructions that have the same encoding in both: none with a REX prefix,
// none relative to RIP but CALL and jumps. EBX points to the start info.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	CLI
	CLD
	MOVL	$STACK, SP
	MOVL	BX, SI
	MOVL	$0x80000001, AX
	CPUID
	TESTL	$(1<<29), DX	// long mode
	JNZ	long
	CALL	·noLongMode(SB)
long:
	MOVL	$PML4, DI
	XORL	AX, AX
	MOVL	$(10*4096/4), CX
	REP; STOSL
	MOVL	$(PDPT+3), PML4
	MOVL	$(DIRECT+3), PML4+2048
	MOVL	$(IMAGEPD+0x0003), PDPT+0
	MOVL	$(IMAGEPD+0x1003), PDPT+8
	MOVL	$(PD+0x2003), PDPT+16
	MOVL	$(PD+0x3003), PDPT+24
	MOVL	$(PD+0x0003), DIRECT+0
	MOVL	$(PD+0x1003), DIRECT+8
	MOVL	$(PD+0x2003), DIRECT+16
	MOVL	$(PD+0x3003), DIRECT+24
	MOVL	$PD, DI
	MOVL	$0x83, AX	// present, writable, large
	MOVL	$2048, CX
fill:
	MOVL	AX, (DI)
	ADDL	$8, DI
	ADDL	$0x200000, AX
	DECL	CX
	JNZ	fill
	PUSHQ	SI
	MOVL	$PD, SI
	MOVL	$IMAGEPD, DI
	MOVL	$(2*4096/4), CX
	REP; MOVSL
	CALL	·mapLinked(SB)
	POPQ	SI
	MOVL	$0x0000ffff, GDT+0x08
	MOVL	$0x00af9b00, GDT+0x0c
	MOVL	$0x0000ffff, GDT+0x10
	MOVL	$0x00cf9300, GDT+0x14
	MOVW	$0x17, GDT+0x80
	MOVL	$GDT, GDT+0x82
	MOVQ	CR4, AX
	ORL	$0x620, AX	// PAE, OSFXSR, OSXMMEXCPT
	MOVQ	AX, CR4
	MOVL	$PML4, AX
	MOVQ	AX, CR3
	MOVL	$0xc0000080, CX	// EFER
	RDMSR
	ORL	$0x901, AX	// SCE, LME, NXE
	WRMSR
	MOVQ	CR0, AX
	ANDL	$0x9ffffff3, AX	// not: CD, NW, TS, EM
	ORL	$0x80010033, AX	// PG, WP, NE, ET, MP, PE
	MOVQ	AX, CR0
	LGDT(GDT+0x80)
	MOVL	$0x10, AX
	LOADSEG
	PUSHQ	$8
	CALL	·farReturn(SB)	// pops its return address and the 8 into CS:EIP

	// 64-bit from here, and on to the address that the linker knows.
	LEAQ	·linked(SB), AX	// relative to where this runs
	MOVL	LINKED, CX
	LEAQ	-(BASE+64)(AX)(CX*1), AX
	JMP	AX

TEXT ·linked(SB),NOSPLIT|NOFRAME,$0
	MOVL	SI, SI
	MOVL	DI, DI
	MOVQ	$STACK, SP
	MOVQ	DI, BX	// which survives what follows, but not CPUID
	PUSHQ	BX
	CALL	·enableVector(SB)
	PXOR	X15, X15
	CALL	runtime·ampTLS(SB)
	MOVQ	R14, -8(AX)	// g
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX	// FS base
	WRMSR
	POPQ	BX
	SUBQ	$32, SP
	MOVQ	BX, 16(SP)
	MOVQ	SI, 0(SP)
	MOVQ	$_rt0_amd64_linux(SB), AX
	MOVQ	AX, 8(SP)
	CALL	·start(SB)
	INT	$3	// start does not return

TEXT ·farReturn(SB),NOSPLIT|NOFRAME,$0
	LRET

// mapLinked maps the image, from the page of its ELF header to its end, at the
// addresses that it is linked for, in tables from STACK upwards whose end it
// leaves in DI; 32-bit. The ELF header tells the addresses: the linker writes
// them relative to RIP in code.
TEXT ·mapLinked(SB),NOSPLIT|NOFRAME,$0
	MOVL	LINKED, DX
	SUBL	$64, DX	// the image's first address
	MOVL	BASE+56, CX
	ANDL	$0xffff, CX	// program headers
	MOVL	$(BASE+64), SI
segment:
	CMPL	(SI), $1	// PT_LOAD
	JNE	skip
	MOVL	16(SI), BX
	ADDL	40(SI), BX	// the last one's end is the image's
skip:
	ADDL	$56, SI
	SUBL	$1, CX
	JNZ	segment
	MOVL	DX, SI
	SHRL	$21, SI
	LEAL	-1(BX), CX
	SHRL	$21, CX
	SUBL	SI, CX
	ADDL	$1, CX	// large pages touched, a table for each
	SHLL	$3, SI
	ADDL	$IMAGEPD, SI
	MOVL	$(STACK+3), AX
table:
	MOVL	AX, (SI)
	ADDL	$8, SI
	ADDL	$4096, AX
	SUBL	$1, CX
	JNZ	table
	LEAL	-3(AX), SI	// the end
	MOVL	$STACK, DI
	MOVL	SI, CX
	SUBL	DI, CX
	SHRL	$2, CX
	XORL	AX, AX
	REP; STOSL
	MOVL	DX, DI
	SHRL	$12, DI
	ANDL	$511, DI
	SHLL	$3, DI
	ADDL	$STACK, DI
	MOVL	$(BASE+3), AX
page:
	MOVL	AX, (DI)
	ADDL	$8, DI
	ADDL	$4096, AX
	ADDL	$4096, DX
	CMPL	DX, BX
	JB	page
	MOVL	SI, DI
	RET

// noLongMode writes the bytes behind its CALL of print32 and stops; 32-bit.
TEXT ·noLongMode(SB),NOSPLIT|NOFRAME,$0
	CALL	·print32(SB)
	BYTE $'a'; BYTE $'m'; BYTE $'p'; BYTE $'o'; BYTE $'u'; BYTE $'l'; BYTE $'e'; BYTE $':'; BYTE $' '
	BYTE $'C'; BYTE $'P'; BYTE $'U'; BYTE $' '; BYTE $'i'; BYTE $'s'; BYTE $' '
	BYTE $'n'; BYTE $'o'; BYTE $'t'; BYTE $' '; BYTE $'6'; BYTE $'4'; BYTE $'-'
	BYTE $'b'; BYTE $'i'; BYTE $'t'; BYTE $10; BYTE $0

TEXT ·print32(SB),NOSPLIT|NOFRAME,$0
	POPQ	SI
	MOVL	$0x3f8, DX
next:
	MOVB	(SI), AX
	TESTB	AX, AX
	JZ	end
	OUTB
	ADDL	$1, SI
	JMP	next
end:
	MOVL	$0x501, DX
	MOVL	$46, AX	// rtabi.ExitBoot
	OUTB
	MOVL	$0x64, DX
	MOVL	$0xfe, AX
	OUTB
	HLT

// enableVector turns on the state that compiled code may use (AVX where the
// CPU has it), and refuses a CPU below the GOAMD64 level of the image before
// any Go code can trip over it. SI must survive.
TEXT ·enableVector(SB),NOSPLIT|NOFRAME,$0
	MOVL	$1, AX
	XORL	CX, CX
	CPUID
	MOVL	CX, R8
	TESTL	$(1<<26), CX	// XSAVE
	JZ	check
	MOVQ	CR4, AX
	ORQ	$(1<<18), AX	// OSXSAVE
	MOVQ	AX, CR4
	MOVL	$3, AX
	TESTL	$(1<<28), R8	// AVX
	JZ	set
	MOVL	$7, AX
set:
	XORL	DX, DX
	XORL	CX, CX
	BYTE	$0x0f; BYTE $0x01; BYTE $0xd1	// XSETBV
check:
#ifdef GOAMD64_v2
#define NEED1 (1<<0 | 1<<9 | 1<<13 | 1<<19 | 1<<20 | 1<<23) // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT
#endif
#ifdef GOAMD64_v3
#define NEED1 (1<<0 | 1<<9 | 1<<13 | 1<<19 | 1<<20 | 1<<23 | 1<<12 | 1<<22 | 1<<26 | 1<<28) // FMA MOVBE XSAVE AVX
#define NEED7 (1<<3 | 1<<5 | 1<<8) // BMI1 AVX2 BMI2
#define NEED81 (1<<5) // LZCNT
#endif
#ifdef NEED1
	ANDL	$NEED1, R8
	CMPL	R8, $NEED1
	JNE	old
#endif
#ifdef NEED7
	MOVL	$7, AX
	XORL	CX, CX
	CPUID
	ANDL	$NEED7, BX
	CMPL	BX, $NEED7
	JNE	old
#endif
#ifdef NEED81
	MOVL	$0x80000001, AX
	CPUID
	ANDL	$NEED81, CX
	CMPL	CX, $NEED81
	JNE	old
#endif
	RET
old:
	CALL	·tooOld(SB)	// does not return

TEXT ·tooOld(SB),NOSPLIT|NOFRAME,$0
	LEAQ	·tooOldText(SB), SI
	PUSHQ	SI
	JMP	·print32(SB)

DATA ·tooOldText+0(SB)/8, $"ampoule:"
DATA ·tooOldText+8(SB)/8, $" CPU lac"
DATA ·tooOldText+16(SB)/8, $"ks the i"
DATA ·tooOldText+24(SB)/8, $"mage's G"
DATA ·tooOldText+32(SB)/8, $"OAMD64 l"
DATA ·tooOldText+40(SB)/8, $"evel\n\000\000\000"
GLOBL ·tooOldText(SB), RODATA, $48
