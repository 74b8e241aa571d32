//go:build ampoule

// Instructions that ring 3 must not get away with. Each is a function of its
// own; most are spelt in bytes, as the assembler knows few of them.

#include "textflag.h"

#define A1(name, a) TEXT name(SB),NOSPLIT,$0-0; BYTE $a; RET
#define A2(name, a, b) TEXT name(SB),NOSPLIT,$0-0; BYTE $a; BYTE $b; RET
#define A3(name, a, b, c) TEXT name(SB),NOSPLIT,$0-0; BYTE $a; BYTE $b; BYTE $c; RET
#define M3(name, a, b, c) TEXT name(SB),NOSPLIT,$32-0; MOVQ SP, AX; BYTE $a; BYTE $b; BYTE $c; RET

A1(·cli, 0xfa)
A1(·sti, 0xfb)
A1(·hlt, 0xf4)
A2(·rdmsr, 0x0f, 0x32)
A2(·wrmsr, 0x0f, 0x30)
A2(·rdpmc, 0x0f, 0x33)
A2(·clts, 0x0f, 0x06)
A2(·invd, 0x0f, 0x08)
A2(·wbinvd, 0x0f, 0x09)
A3(·readCR0, 0x0f, 0x20, 0xc0)
A3(·writeCR0, 0x0f, 0x22, 0xc0)
A3(·readCR2, 0x0f, 0x20, 0xd0)
A3(·readCR3, 0x0f, 0x20, 0xd8)
A3(·writeCR3, 0x0f, 0x22, 0xd8)
A3(·readCR4, 0x0f, 0x20, 0xe0)
A3(·writeCR4, 0x0f, 0x22, 0xe0)
A3(·readDR7, 0x0f, 0x21, 0xf8)
A3(·writeDR7, 0x0f, 0x23, 0xf8)
A3(·swapgs, 0x0f, 0x01, 0xf8)
A3(·xsetbv, 0x0f, 0x01, 0xd1)
A1(·inb, 0xec)
A1(·inl, 0xed)
A1(·outb, 0xee)
A1(·outl, 0xef)
A2(·insb, 0xf3, 0x6c)
A2(·outsb, 0xf3, 0x6e)
M3(·invlpg, 0x0f, 0x01, 0x38)
M3(·lgdt, 0x0f, 0x01, 0x10)
M3(·lidt, 0x0f, 0x01, 0x18)
M3(·sgdt, 0x0f, 0x01, 0x00)
M3(·sidt, 0x0f, 0x01, 0x08)
A3(·sldt, 0x0f, 0x00, 0xc0)
A3(·str, 0x0f, 0x00, 0xc8)
A3(·lldt, 0x0f, 0x00, 0xd0)
A3(·ltr, 0x0f, 0x00, 0xd8)
A3(·smsw, 0x0f, 0x01, 0xe0)
A3(·lmsw, 0x0f, 0x01, 0xf0)
A3(·sysret, 0x48, 0x0f, 0x07)
A2(·sysexit, 0x0f, 0x35)
A2(·int2, 0xcd, 0x02)
A2(·int8, 0xcd, 0x08)
A2(·int14, 0xcd, 0x0e)
A2(·int32, 0xcd, 0x20)
A2(·int48, 0xcd, 0x30)
A2(·int63, 0xcd, 0x3f)
A2(·int64, 0xcd, 0x40)
A2(·int128, 0xcd, 0x80)
A2(·int255, 0xcd, 0xff)

// These end a program on Linux too: no panic, but a report.
A2(·int3, 0xcd, 0x03)
A2(·ud2, 0x0f, 0x0b)
A3(·stac, 0x0f, 0x01, 0xcb)
A3(·clac, 0x0f, 0x01, 0xca)
A3(·vmcall, 0x0f, 0x01, 0xc1)
A3(·vmmcall, 0x0f, 0x01, 0xd9)
A3(·monitor, 0x0f, 0x01, 0xc8)

TEXT ·movDS(SB),NOSPLIT,$0-0
	MOVL	$0x10, AX
	BYTE	$0x8e; BYTE $0xd8
	RET

TEXT ·movSS(SB),NOSPLIT,$0-0
	MOVL	$0x10, AX
	BYTE	$0x8e; BYTE $0xd0
	RET

// farJump, farCall and farReturn go for the gate's code segment.
TEXT ·farCall(SB),NOSPLIT,$16-0
	LEAQ	landing<>(SB), AX
	MOVL	AX, 0(SP)
	MOVL	$8, 4(SP)
	BYTE	$0xff; BYTE $0x1c; BYTE $0x24	// LCALL (SP), m16:32
	RET

TEXT ·farJump(SB),NOSPLIT,$16-0
	LEAQ	landing<>(SB), AX
	MOVL	AX, 0(SP)
	MOVL	$8, 4(SP)
	BYTE	$0xff; BYTE $0x2c; BYTE $0x24	// LJMP (SP), m16:32
	RET

TEXT ·farReturn(SB),NOSPLIT,$0-0
	LEAQ	landing<>(SB), AX
	PUSHQ	$8
	PUSHQ	AX
	BYTE	$0x48; BYTE $0xcb	// LRETQ
	POPQ	AX
	POPQ	AX
	RET

// iret returns to ring 0, to the instruction after it.
TEXT ·iret(SB),NOSPLIT,$0-0
	MOVQ	SP, AX
	LEAQ	landing<>(SB), CX
	PUSHQ	$0x10
	PUSHQ	AX
	PUSHQ	$0x3002	// IOPL 3
	PUSHQ	$8
	PUSHQ	CX
	IRETQ
	POPQ	AX
	POPQ	AX
	POPQ	AX
	POPQ	AX
	POPQ	AX
	RET

TEXT landing<>(SB),NOSPLIT,$0-0
	RET

// ioplOut asks for IOPL 3 by way of the flags, and then uses a port.
TEXT ·ioplOut(SB),NOSPLIT,$0-0
	PUSHFQ
	ORQ	$0x3000, 0(SP)
	POPFQ
	MOVL	$0x3f8, DX
	MOVL	$0x21, AX
	OUTB
	RET

// keepIF clears the interrupt flag by POPFQ, which ring 3 cannot; it answers
// the flags as they are then.
TEXT ·keepIF(SB),NOSPLIT,$0-8
	PUSHFQ
	ANDQ	$~0x200, 0(SP)
	POPFQ
	PUSHFQ
	POPQ	AX
	MOVQ	AX, ret+0(FP)
	RET

// gateAC makes a gate call with AC set, which is what overrides SMAP, and
// with the direction flag set; it answers what the gate did.
TEXT ·gateAC(SB),NOSPLIT,$0-8
	PUSHFQ
	ORQ	$0x40400, 0(SP)
	POPFQ
	XORL	AX, AX	// console, no bytes
	XORL	DI, DI
	XORL	SI, SI
	SYSCALL
	CLD
	PUSHFQ
	ANDQ	$~0x40000, 0(SP)
	POPFQ
	MOVQ	AX, ret+0(FP)
	RET

// wildStack makes a gate call with the stack pointer in the gate's own data.
TEXT ·wildStack(SB),NOSPLIT,$0-16
	MOVQ	sp+0(FP), CX
	MOVQ	SP, BX
	MOVQ	CX, SP
	XORL	AX, AX
	XORL	DI, DI
	XORL	SI, SI
	SYSCALL
	MOVQ	BX, SP
	MOVQ	AX, ret+8(FP)
	RET

// trapFlag single-steps into a gate call.
TEXT ·trapFlag(SB),NOSPLIT,$0-0
	PUSHFQ
	ORQ	$0x100, 0(SP)
	XORL	AX, AX
	XORL	DI, DI
	XORL	SI, SI
	POPFQ
	SYSCALL
	PUSHFQ
	ANDQ	$~0x100, 0(SP)
	POPFQ
	RET

// hypercallAMD and hypercallIntel make a hypercall from ring 3.
TEXT ·hypercallAMD(SB),NOSPLIT,$0-40
	MOVQ	nr+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	BYTE	$0x0f; BYTE $0x01; BYTE $0xd9
	MOVQ	AX, ret+32(FP)
	RET

TEXT ·hypercallIntel(SB),NOSPLIT,$0-40
	MOVQ	nr+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	BYTE	$0x0f; BYTE $0x01; BYTE $0xc1
	MOVQ	AX, ret+32(FP)
	RET

// overflow pushes from the top of a stack down, for ever.
TEXT ·overflow(SB),NOSPLIT,$0-8
	MOVQ	top+0(FP), SP
more:
	PUSHQ	$0x5a
	JMP	more

// lostG faults after it has made the runtime forget which goroutine runs: the
// signal handler faults in turn.
TEXT ·lostG(SB),NOSPLIT,$0-0
	MOVQ	$0x123, AX
	MOVQ	AX, (TLS)
	XORL	AX, AX
	MOVQ	AX, 0(AX)
	RET
