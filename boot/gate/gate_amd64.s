// The gate on a machine with a local APIC, virtio devices and a 16550 console.
// See gate.go for what a gate promises, and layout for where it runs.

#include "go_asm.h"
#include "textflag.h"
#include "macros.h"

#define CONSOLE const_uart
#define PUTC OUTB

// blob is copied to the gate's pages and must not refer to anything outside
// itself but Data.
TEXT ·blob(SB),NOSPLIT|NOFRAME,$0
#include "stubs.h"

interrupt:
	PUSHQ	CX
	MOVQ	16(SP), CX
	SUBQ	$const_vecDevice, CX
	CMPQ	CX, $(const_vecEnd-const_vecDevice)
	JAE	other
	SHLQ	$3, CX
	MOVQ	D(Data_Ports)(CX*1), CX
	TESTQ	CX, CX
	JZ	noack
	MOVL	$const_ackAll, (CX)	// what comes later raises the line again
noack:
	MOVQ	D(Data_LAPIC), AX
	MOVL	$0, const_lapicEOI(AX)
	TESTQ	$3, 40(SP)
	JZ	rouse
	MOVQ	$1, D(Data_Pending)
leave:
	POPQ	CX
	POPQ	AX
	ADDQ	$16, SP
	IRETQ

	// Ring 0 takes interrupts nowhere but at the HLT of sleep, and goes on from
	// there without an IRETQ. R9 is as sleep has left it.
rouse:
	MOVQ	$(const_stackTop-16), SP
	TESTL	R9, R9
	JZ	out
	JMP	woke

other:
	CMPQ	CX, $(const_vecTick-const_vecDevice)
	JNE	leave	// spurious: no end of interrupt

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
	POPQ	CX

#include "upcall.h"
#include "resume.h"

	// SYSCALL: operation in AX, arguments in DI and SI, return address in CX,
	// flags in R11; interrupts are off. Only SP, BP, R14 and X15 must survive.
entry:
	MOVQ	SP, D(Data_UserSP)
	MOVQ	$const_stackTop, SP
	PUSHQ	CX
	PUSHQ	R11
	CMPQ	AX, $const_opGive
	JEQ	give
	CMPQ	AX, $const_opSleep
	JEQ	sleep
	CMPQ	AX, $const_opPost
	JEQ	post
	CMPQ	AX, $const_opNotify
	JEQ	notify
	CMPQ	AX, $const_opConsole
	JEQ	console
	CMPQ	AX, $const_opResume
	JEQ	resume
	CMPQ	AX, $const_opExit
	JEQ	exit
	JMP	violation

	// post: write SI descriptors of queue DI from its submission area. Nothing
	// keeps ring 3 from writing a descriptor that a device is reading, which
	// then sees the address of one and the length of the other. So a length is
	// a page at most, and the last page of a region is never named (IOSize,
	// ConstSize): no address with any length leads out of it. Where constants may be
	// named no descriptor ever says that the device may write, so that it cannot
	// see that of one with the address of another.
post:
	XORL	R15, R15
	JMP	postall

	// give: post, then show the device an available index, and notify it if it
	// wants that (virtio 1.2, section 2.7.10). All that is read and written for that
	// is the ring page, which is ring 3's too.
give:
	MOVQ	SI, R15
	MOVQ	SI, DX
	SHRQ	$48, DX
	JNZ	violation
	BTSQ	$48, R15
	MOVWLZX	SI, SI
postall:
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
	TESTL	BX, BX
	JZ	violation	// a device has fewer queues than its share of the table
	STAC
	TESTQ	SI, SI
	JZ	postdone
postnext:
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
	TESTL	Queue_Refused(R10), DX
	JNZ	postbad
	MOVL	CX, R12
	SHRQ	$32, CX
	JZ	postbad
	CMPQ	CX, $const_maxLen
	JA	postbad
	LEAQ	(R12)(CX*1), R13
	CMPQ	R13, D(Data_IOSize)
	JA	postconst
	ADDQ	D(Data_IOPhys), R12
postwrite:
	SHLQ	$4, AX
	ADDQ	R9, AX
	MOVQ	R12, 0(AX)
	MOVL	CX, 8(AX)
	MOVW	DX, 12(AX)
	MOVW	R11, 14(AX)
	ADDQ	$16, R8
	DECQ	SI
	JNZ	postnext
postdone:
	TESTQ	R15, R15
	JNZ	publish
	CLAC
	JMP	out
publish:
	MOVQ	Queue_Submit(R10), R8
	SHRQ	$16, R15
	MOVWLZX	R15, AX
	MOVL	AX, DX
	SHLL	$16, DX
	XCHGL	DX, const_availWord(R8)	// a fence too: the device may look at it at once
	MOVWLZX	const_availEvent(R8)(BX*8), CX
	CLAC
	SHRQ	$16, R15
	NOTL	CX
	ADDL	AX, CX	// the index less the event's less one
	SUBL	R15, AX
	CMPW	CX, AX
	JAE	out
	MOVQ	R10, DI
	JMP	ring

	// An offset that is not in the I/O region: within the image's constants, for a
	// queue in which no descriptor is for the device to write.
postconst:
	BTRL	$const_constBit, R12
	JCC	postbad
	TESTL	$const_descWrite, Queue_Refused(R10)
	JZ	postbad
	LEAQ	(R12)(CX*1), R13
	CMPQ	R13, D(Data_ConstSize)
	JA	postbad
	ADDQ	D(Data_ConstPhys), R12
	JMP	postwrite
postbad:
	CLAC
	MOVQ	$const_opPost, AX
	TESTQ	R15, R15
	JZ	violation
	MOVQ	$const_opGive, AX
	JMP	violation

	// notify: tell the device of queue DI to look.
notify:
	CMPQ	DI, D(Data_NQueues)
	JAE	violation
	SHLQ	$6, DI
	ADDQ	$D(Data_Queues), DI
ring:
	MOVQ	Queue_Notify(DI), DX
	MOVL	Queue_NotifyValue(DI), AX
	TESTQ	DX, DX
	JZ	out
	CMPL	Queue_NotifyWidth(DI), $2
	JEQ	notify2
	MOVL	AX, (DX)
	MOVL	$1, AX
	JMP	ret
notify2:
	MOVW	AX, (DX)
	MOVL	$1, AX
	JMP	ret

	// sleep: until a device interrupt, or until the TSC is DI (0: no limit). The
	// timer is left alone when it fires early enough: programming it is an exit to
	// the hypervisor. So a busy guest pays for it once a tick, and an idle one
	// sleeps without ticks. R9 says that the tick has to be set again.
sleep:
	LEAQ	-1(DI), R8
	XORL	R9, R9
sleepcheck:
	CMPQ	D(Data_Pending), $0
	JNE	woke
	MOVQ	D(Data_Expiry), CX
	TESTQ	CX, CX
	JZ	sleeparm
	CMPQ	CX, R8
	JBE	halt
sleeparm:
	MOVL	$1, R9
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
	CMPQ	SI, $1
	JNE	power
	MOVL	$const_debugExit, DX
	MOVL	BX, AX
	OUTB
	JMP	reset

#include "report.h"

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
	ENDMARK

// func blobStart() unsafe.Pointer
TEXT ·blobStart(SB),NOSPLIT,$0-8
	LEAQ	·blob(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
