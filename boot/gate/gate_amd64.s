// The gate. See gate.go for what it promises, and layout for where it runs.

#include "go_asm.h"
#include "textflag.h"

#define D(f) const_dataAddr+f
#define STAC BYTE $0x0f; BYTE $0x01; BYTE $0xcb
#define CLAC BYTE $0x0f; BYTE $0x01; BYTE $0xca
#define SYSRETQ BYTE $0x48; BYTE $0x0f; BYTE $0x07

// Vector stubs, 16 bytes apart; E is for exceptions that push an error code.
// The pushes are spelt in bytes, or the assembler would add them all up.
#define PUSHB(v) BYTE $0x6a; BYTE $v
#define STUB(v) PUSHB(0); PUSHB(v); JMP common; PCALIGN $16
#define STUBE(v) PUSHB(v); JMP common; PCALIGN $16

// blob is copied to the gate's pages and must not refer to anything outside
// itself but Data.
TEXT ·blob(SB),NOSPLIT|NOFRAME,$0
	STUB(0)
	STUB(1)
	STUB(2)
	STUB(3)
	STUB(4)
	STUB(5)
	STUB(6)
	STUB(7)
	STUBE(8)
	STUB(9)
	STUBE(10)
	STUBE(11)
	STUBE(12)
	STUBE(13)
	STUBE(14)
	STUB(15)
	STUB(16)
	STUBE(17)
	STUB(18)
	STUB(19)
	STUB(20)
	STUBE(21)
	STUB(22)
	STUB(23)
	STUB(24)
	STUB(25)
	STUB(26)
	STUB(27)
	STUB(28)
	STUBE(29)
	STUBE(30)
	STUB(31)
	STUB(32)
	STUB(33)
	STUB(34)
	STUB(35)
	STUB(36)
	STUB(37)
	STUB(38)
	STUB(39)
	STUB(40)
	STUB(41)
	STUB(42)
	STUB(43)
	STUB(44)
	STUB(45)
	STUB(46)
	STUB(47)
	STUB(48)
	STUB(49)
	STUB(50)
	STUB(51)
	STUB(52)
	STUB(53)
	STUB(54)
	STUB(55)
	STUB(56)
	STUB(57)
	STUB(58)
	STUB(59)
	STUB(60)
	STUB(61)
	STUB(62)
	STUB(63)
	JMP	entry	// const_entryOff
	PCALIGN	$16
	JMP	enter	// const_enterOff
	PCALIGN	$16

	// All vectors: 0(SP) AX, 8 vector, 16 error, 24 RIP, 32 CS, 40 RFLAGS,
	// 48 RSP, 56 SS.
common:
	PUSHQ	AX
	CMPQ	8(SP), $32
	JAE	interrupt
	CMPQ	8(SP), $8	// double fault
	JEQ	fatal
	CMPQ	8(SP), $2	// NMI
	JEQ	fatal
	CMPQ	8(SP), $18	// machine check
	JEQ	fatal
	TESTQ	$3, 32(SP)
	JZ	fatal
	STAC
	MOVQ	D(Data_InSignal), AX
	CMPQ	(AX), $0
	JNE	fatal
	MOVQ	D(Data_InOS), AX
	CMPQ	(AX), $0
	JNE	osfault
	CLAC
	JMP	deliver

interrupt:
	PUSHQ	CX
	MOVQ	16(SP), CX
	CMPQ	CX, $const_vecTick
	JEQ	tick
	CMPQ	CX, $const_vecDevice
	JB	leave	// spurious: no end of interrupt
	CMPQ	CX, $const_vecEnd
	JAE	leave
	SUBQ	$const_vecDevice, CX
	SHLQ	$4, CX
	MOVQ	D(Data_Ports+Port_ISR)(CX*1), AX
	TESTQ	AX, AX
	JZ	noack
	MOVL	(AX), AX
	MOVQ	D(Data_Ports+Port_Ack)(CX*1), CX
	MOVL	AX, (CX)
noack:
	MOVQ	$1, D(Data_Pending)
	MOVQ	D(Data_LAPIC), AX
	MOVL	$0, const_lapicEOI(AX)
leave:
	POPQ	CX
	POPQ	AX
	ADDQ	$16, SP
	IRETQ

tick:
	MOVQ	$0, D(Data_Expiry)
	MOVQ	D(Data_LAPIC), AX
	MOVL	$0, const_lapicEOI(AX)
	TESTQ	$3, 40(SP)
	JZ	leave	// asleep: the sleep loop sees that Expiry is 0
	MOVQ	D(Data_TickCount), CX
	MOVL	CX, const_lapicCount(AX)
	PUSHQ	DX
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	ADDQ	D(Data_Tick), AX
	MOVQ	AX, D(Data_Expiry)
	POPQ	DX
	STAC
	MOVQ	D(Data_InSignal), AX
	MOVQ	(AX), CX
	MOVQ	D(Data_InOS), AX
	ORQ	(AX), CX
	CLAC
	TESTQ	CX, CX
	JNZ	leave
	MOVQ	32(SP), AX
	CMPQ	AX, D(Data_Resume)
	JB	ticked
	CMPQ	AX, D(Data_ResumeEnd)
	JB	leave
ticked:
	POPQ	CX

	// Upcall: save the interrupted state as a Linux ucontext (offsets of
	// struct sigcontext in it) and resume ring 3 at Upcall.
deliver:
	MOVQ	D(Data_Context), AX
	STAC
	MOVQ	R8, 40(AX)
	MOVQ	R9, 48(AX)
	MOVQ	R10, 56(AX)
	MOVQ	R11, 64(AX)
	MOVQ	R12, 72(AX)
	MOVQ	R13, 80(AX)
	MOVQ	R14, 88(AX)
	MOVQ	R15, 96(AX)
	MOVQ	DI, 104(AX)
	MOVQ	SI, 112(AX)
	MOVQ	BP, 120(AX)
	MOVQ	BX, 128(AX)
	MOVQ	DX, 136(AX)
	MOVQ	0(SP), BX
	MOVQ	BX, 144(AX)	// rax
	MOVQ	CX, 152(AX)
	MOVQ	48(SP), BX
	MOVQ	BX, 160(AX)	// rsp
	MOVQ	24(SP), BX
	MOVQ	BX, 168(AX)	// rip
	MOVQ	40(SP), BX
	MOVQ	BX, 176(AX)	// rflags
	MOVQ	$const_selUserCS, BX
	MOVQ	BX, 184(AX)
	MOVQ	16(SP), BX
	MOVQ	BX, 192(AX)	// err
	MOVQ	8(SP), BX
	MOVQ	BX, 200(AX)	// trapno
	MOVQ	CR2, BX
	MOVQ	BX, 216(AX)
	MOVQ	D(Data_InSignal), AX
	MOVQ	$1, (AX)
	CLAC
	MOVQ	D(Data_Upcall), AX
	MOVQ	AX, 24(SP)
	MOVQ	$0x202, 40(SP)	// interrupts on, single step and alignment checks off
	POPQ	AX
	ADDQ	$16, SP
	IRETQ

	// Way to ring 3 after sealing: DI is its stack pointer, SI its first
	// instruction.
enter:
	MOVQ	CR4, AX
	ORQ	D(Data_CR4), AX
	MOVQ	AX, CR4
	MOVQ	$const_stackTop, SP
	PUSHQ	$const_selUserSS
	PUSHQ	DI
	PUSHQ	$0x202
	PUSHQ	$const_selUserCS
	PUSHQ	SI
	XORL	AX, AX
	XORL	BX, BX
	XORL	CX, CX
	XORL	DX, DX
	XORL	SI, SI
	XORL	DI, DI
	XORL	BP, BP
	IRETQ

	// SYSCALL: operation in AX, arguments in DI and SI, return address in CX,
	// flags in R11; interrupts are off. Only SP, BP, R14 and X15 must survive.
entry:
	MOVQ	SP, D(Data_UserSP)
	MOVQ	$const_stackTop, SP
	PUSHQ	CX
	PUSHQ	R11
	CMPQ	AX, $const_opPost
	JEQ	post
	CMPQ	AX, $const_opNotify
	JEQ	notify
	CMPQ	AX, $const_opSleep
	JEQ	sleep
	CMPQ	AX, $const_opConsole
	JEQ	console
	CMPQ	AX, $const_opExit
	JEQ	exit
	JMP	violation

	// post: write SI descriptors of queue DI from its submission area.
post:
	CMPQ	DI, D(Data_NQueues)
	JAE	violation
	CMPQ	SI, $const_maxSubmit
	JA	violation
	MOVQ	DI, R10
	SHLQ	$6, R10
	ADDQ	$D(Data_Queues), R10
	MOVQ	Queue_Submit(R10), R8
	MOVQ	Queue_Desc(R10), R9
	MOVL	Queue_Size(R10), BX
	STAC
postnext:
	TESTQ	SI, SI
	JZ	postdone
	MOVQ	0(R8), DX	// ID, Next, Flags: each word of ring 3's is read once
	MOVQ	8(R8), CX	// Offset, Len
	MOVWLZX	DX, AX
	CMPL	AX, BX
	JAE	postbad
	MOVQ	DX, R11
	SHRQ	$16, R11
	MOVWLZX	R11, R11
	CMPL	R11, BX
	JAE	postbad
	SHRQ	$32, DX
	MOVWLZX	DX, DX
	TESTL	$const_descFlags, DX
	JNZ	postbad
	MOVL	CX, R12
	SHRQ	$32, CX
	JZ	postbad
	MOVQ	R12, R13
	ADDQ	CX, R13
	CMPQ	R13, D(Data_IOSize)
	JA	postbad
	ADDQ	D(Data_IOPhys), R12
	SHLQ	$4, AX
	ADDQ	R9, AX
	MOVQ	R12, 0(AX)
	MOVL	CX, 8(AX)
	MOVW	DX, 12(AX)
	MOVW	R11, 14(AX)
	ADDQ	$16, R8
	DECQ	SI
	JMP	postnext
postbad:
	CLAC
	MOVQ	$const_opPost, AX
	JMP	violation
postdone:
	CLAC
	JMP	out

	// notify: tell the device of queue DI to look.
notify:
	CMPQ	DI, D(Data_NQueues)
	JAE	violation
	SHLQ	$6, DI
	ADDQ	$D(Data_Queues), DI
	MOVQ	Queue_Notify(DI), DX
	MOVL	Queue_NotifyValue(DI), AX
	TESTQ	DX, DX
	JZ	out
	CMPL	Queue_NotifyWidth(DI), $2
	JEQ	notify2
	MOVL	AX, (DX)
	JMP	out
notify2:
	MOVW	AX, (DX)
	JMP	out

	// sleep: until a device interrupt, at most DI ns (0: no limit). The timer
	// is left alone when it fires early enough: programming it is an exit to
	// the hypervisor. So a busy guest pays for it once a tick, and an idle one
	// sleeps without ticks.
sleep:
	MOVQ	$-1, R8
	TESTQ	DI, DI
	JZ	sleepcheck
	MOVQ	DI, AX
	MULQ	D(Data_TSCPerNS)
	SHRQ	$32, DX, AX
	MOVQ	AX, DI
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	ADDQ	DI, AX
	JCS	sleepcheck
	MOVQ	AX, R8
sleepcheck:
	CMPQ	D(Data_Pending), $0
	JNE	woke
	MOVQ	D(Data_Expiry), CX
	TESTQ	CX, CX
	JZ	sleeparm
	CMPQ	CX, R8
	JBE	halt
sleeparm:
	CMPQ	R8, $-1
	JEQ	disarm
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	R8, DI
	SUBQ	AX, DI
	JBE	woke
	MOVQ	DI, AX
	MULQ	D(Data_CountScale)
	SHRQ	$32, DX, AX
	INCQ	AX
	MOVL	$const_maxCount, DX
	CMPQ	AX, DX
	CMOVQHI	DX, AX
	MOVQ	D(Data_LAPIC), CX
	MOVL	AX, const_lapicCount(CX)
	MOVQ	R8, D(Data_Expiry)
	JMP	halt
disarm:
	TESTQ	CX, CX
	JZ	halt
	MOVQ	D(Data_LAPIC), CX
	MOVL	$0, const_lapicCount(CX)
	MOVQ	$0, D(Data_Expiry)
halt:
	STI
	HLT
	CLI
	JMP	sleepcheck
woke:
	MOVQ	$0, D(Data_Pending)
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	ADDQ	D(Data_Tick), AX
	MOVQ	D(Data_Expiry), CX
	TESTQ	CX, CX
	JZ	retick
	CMPQ	CX, AX
	JBE	out
retick:
	MOVQ	AX, D(Data_Expiry)
	MOVQ	D(Data_LAPIC), CX
	MOVQ	D(Data_TickCount), AX
	MOVL	AX, const_lapicCount(CX)
out:
	XORL	AX, AX
ret:
	POPQ	R11
	POPQ	CX
	MOVQ	D(Data_UserSP), SP
	SYSRETQ

	// console: up to 8 bytes of DI, SI of them, when the transmitter is empty.
console:
	CMPQ	SI, $8
	JA	violation
	MOVL	$(const_uart+5), DX	// line status
	INB
	TESTB	$0x20, AL
	JZ	out
	MOVQ	SI, R8
	MOVL	$const_uart, DX
console1:
	DECQ	SI
	JL	console2
	MOVL	DI, AX
	OUTB
	SHRQ	$8, DI
	JMP	console1
console2:
	MOVQ	R8, AX
	JMP	ret

exit:
	MOVQ	DI, BX
	JMP	power

violation:	// AX operation, DI and SI arguments, return address on the stack
	MOVQ	8(SP), R11
	SUBQ	$64, SP
	MOVQ	AX, 8(SP)
	MOVQ	DI, 16(SP)
	MOVQ	SI, 24(SP)
	MOVQ	R11, 32(SP)
	MOVQ	$0, 40(SP)
	MOVQ	$0, 48(SP)
	MOVQ	$const_exitViol, BX
	MOVQ	$D(Data_ViolText), SI
	JMP	report

osfault:
	CLAC
	MOVQ	$const_exitOS, BX
	MOVQ	$D(Data_OSText), SI
	JMP	frame
fatal:
	MOVQ	$const_exitFault, BX
	MOVQ	$D(Data_FaultText), SI
frame:	// vector, error, RIP, CR2 (in place of CS), RFLAGS, RSP
	MOVQ	CR2, AX
	MOVQ	AX, 32(SP)

	// report: the text at SI, six words from 8(SP) in hexadecimal, and the
	// end with exit code BX. It does not wait for the console.
report:
	MOVL	$const_uart, DX
text:
	MOVBLZX	(SI), AX
	TESTL	AX, AX
	JZ	words
	OUTB
	INCQ	SI
	JMP	text
words:
	LEAQ	8(SP), SI
	MOVL	$6, R9
word:
	MOVL	$0x20, AX
	OUTB
	MOVQ	(SI), R8
	MOVL	$16, R10
hex:
	ROLQ	$4, R8
	MOVL	R8, AX
	ANDL	$15, AX
	ADDL	$0x30, AX
	CMPL	AX, $0x3a
	JB	digit
	ADDL	$0x27, AX
digit:
	OUTB
	DECL	R10
	JNZ	hex
	ADDQ	$8, SI
	DECL	R9
	JNZ	word
	MOVL	$10, AX
	OUTB

	// power: end the VM with exit code BX. QEMU's debug exit device carries
	// the code where there is one; then ACPI, the keyboard controller's reset,
	// and last a triple fault.
power:
	MOVL	$const_debugExit, DX
	MOVL	BX, AX
	OUTB
	MOVQ	D(Data_PowerPort), DX
	TESTQ	DX, DX
	JZ	powerreg
	MOVQ	D(Data_PowerValue), AX
	OUTW
powerreg:
	MOVQ	D(Data_PowerReg), DX
	TESTQ	DX, DX
	JZ	reset
	MOVQ	D(Data_PowerByte), AX
	MOVB	AX, (DX)
reset:
	MOVL	$0x64, DX
	MOVL	$0xfe, AX
	OUTB
	XORL	AX, AX
	PUSHQ	AX
	PUSHQ	AX
	BYTE	$0x0f; BYTE $0x01; BYTE $0x1c; BYTE $0x24	// LIDT (SP): no handlers
	INT	$3
	HLT
	JMP	reset

TEXT ·blobEnd(SB),NOSPLIT|NOFRAME,$0
	RET

// func blobRange() (start unsafe.Pointer, n uintptr)
TEXT ·blobRange(SB),NOSPLIT,$0-16
	LEAQ	·blob(SB), AX
	MOVQ	AX, start+0(FP)
	LEAQ	·blobEnd(SB), BX
	SUBQ	AX, BX
	MOVQ	BX, n+8(FP)
	RET
