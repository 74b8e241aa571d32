// The gate on Xen: event channels instead of devices and a local APIC, and the
// hypercalls that ring 3 needs. The set-up that makes them usable is here too,
// since it runs again in a restored VM.

#include "go_asm.h"
#include "textflag.h"
#include "macros.h"

#define SETUP
#define X(f) const_dataAddr+Data_Xen+f

// Hypercall: number in AX, arguments in DI SI DX, result in AX. The argument
// registers are lost. Copy turns it into VMCALL on an Intel CPU.
#define HYPERCALL BYTE $0x0f; BYTE $0x01; BYTE $0xd9

#define CONSOLE const_debugPort
#define PUTC \
	OUTB; \
	MOVQ	X(Xen_Console), CX; \
	MOVL	const_consoleProd(CX), R11; \
	MOVL	R11, R12; \
	ANDL	$(const_consoleSize-1), R12; \
	MOVB	AX, const_consoleOut(CX)(R12*1); \
	INCL	R11; \
	MOVL	R11, const_consoleProd(CX)

TEXT ·xenBlob(SB),NOSPLIT|NOFRAME,$0
#include "stubs.h"

	// The one interrupt is the callback vector, for the timer's event channel:
	// all others are masked.
interrupt:
	PUSHQ	CX
	MOVQ	X(Xen_Shared), AX
	STAC
	MOVB	$0, 0(AX)	// evtchn_upcall_pending
	MOVQ	$0, 8(AX)	// evtchn_pending_sel
	MOVQ	X(Xen_TimerPort), CX
	LOCK
	BTRQ	CX, const_sharedPending(AX)
	CLAC
	TESTQ	$3, 40(SP)
	JZ	leave
	STAC
	MOVQ	D(Data_InSignal), AX
	MOVQ	(AX), CX
	MOVQ	D(Data_InOS), AX
	ORQ	(AX), CX
	CLAC
	TESTQ	CX, CX
	JNZ	leave
	POPQ	CX
	JMP	deliver
leave:
	POPQ	CX
	POPQ	AX
	ADDQ	$16, SP
	IRETQ

#include "upcall.h"
#include "resume.h"

	// SYSCALL, as in the other gate.
entry:
	MOVQ	SP, D(Data_UserSP)
	MOVQ	$const_stackTop, SP
	PUSHQ	CX
	PUSHQ	R11
	CMPQ	AX, $const_opSleep
	JEQ	sleep
	CMPQ	AX, $const_opNotify
	JEQ	notify
	CMPQ	AX, $const_opConsole
	JEQ	console
	CMPQ	AX, $const_opAlloc
	JEQ	alloc
	CMPQ	AX, $const_opClose
	JEQ	close
	CMPQ	AX, $const_opPort
	JEQ	port
	CMPQ	AX, $const_opInUse
	JEQ	inuse
	CMPQ	AX, $const_opSuspend
	JEQ	suspend
	CMPQ	AX, $const_opResume
	JEQ	resume
	CMPQ	AX, $const_opExit
	JEQ	exit
	JMP	violation

	// sleep: until an event of a port in the list, at most until system time
	// DI (0: no limit). SCHEDOP_poll looks at the pending bits itself, so no
	// wake-up is lost; they are cleared here, before ring 3 looks at its rings.
sleep:
	MOVQ	DI, X(Xen_Poll+Poll_Timeout)
	MOVL	$const_hyperSched, AX
	MOVL	$const_schedPoll, DI
	MOVQ	$X(Xen_Poll), SI
	HYPERCALL
	MOVQ	X(Xen_Shared), DI
	MOVL	X(Xen_Poll+Poll_N), SI
	MOVQ	$X(Xen_PollPorts), R8
	STAC
sleepclear:
	DECL	SI
	JL	sleepdone
	MOVL	(R8)(SI*4), CX
	LOCK
	BTRQ	CX, const_sharedPending(DI)
	JMP	sleepclear
sleepdone:
	CLAC
out:
	XORL	AX, AX
ret:
	POPQ	R11
	POPQ	CX
	MOVQ	D(Data_UserSP), SP
	SYSRETQ

	// notify: raise the event of port DI at the other end.
notify:
	CMPQ	DI, $const_maxPort
	JA	violation
	MOVQ	X(Xen_Ports), CX
	BTQ	DI, CX
	JCC	violation
	MOVL	DI, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventSend, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	JMP	out

	// alloc: a new port for the backend, noted as ring 3's.
alloc:
	MOVL	X(Xen_Poll+Poll_N), R8
	CMPL	R8, $const_maxPoll
	JAE	full
	MOVQ	X(Xen_Backend), DI
	SHLQ	$16, DI
	ORQ	$const_domSelf, DI
	MOVQ	DI, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventAlloc, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	TESTQ	AX, AX
	JNZ	ret
	MOVL	X(Xen_Arg+4), AX
	CMPL	AX, $const_maxPort
	JA	toohigh
	MOVQ	X(Xen_Ports), CX
	BTSQ	AX, CX
	MOVQ	CX, X(Xen_Ports)
	MOVQ	X(Xen_Own), CX
	BTSQ	AX, CX
	MOVQ	CX, X(Xen_Own)
	MOVL	X(Xen_Poll+Poll_N), R8
	MOVQ	$X(Xen_PollPorts), CX
	MOVL	AX, (CX)(R8*4)
	INCL	R8
	MOVL	R8, X(Xen_Poll+Poll_N)
	JMP	ret
toohigh:
	MOVL	AX, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventClose, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
full:
	MOVQ	$-const_noSpace, AX
	JMP	ret

	// close: give back port DI, which must be from alloc.
close:
	CMPQ	DI, $const_maxPort
	JA	violation
	MOVQ	X(Xen_Own), CX
	BTRQ	DI, CX
	JCC	violation
	MOVQ	CX, X(Xen_Own)
	MOVQ	X(Xen_Ports), CX
	BTRQ	DI, CX
	MOVQ	CX, X(Xen_Ports)
	MOVQ	$X(Xen_PollPorts), R8
	MOVL	X(Xen_Poll+Poll_N), R9
	DECL	R9
	MOVL	R9, X(Xen_Poll+Poll_N)
	MOVL	(R8)(R9*4), AX	// the last one takes its place
	XORL	R10, R10
find:
	CMPL	DI, (R8)(R10*4)
	JEQ	foundport
	INCL	R10
	CMPL	R10, R9
	JB	find
foundport:
	MOVL	AX, (R8)(R10*4)
	MOVL	DI, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventClose, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	JMP	out

port:
	MOVQ	X(Xen_StorePort), AX
	TESTQ	DI, DI
	JZ	ret
	MOVQ	X(Xen_ConsolePort), AX
	CMPQ	DI, $1
	JEQ	ret
	MOVQ	$const_opPort, AX
	JMP	violation

	// inuse: whether the backend is using the page of reference DI, which must
	// be one of those that the set-up fills in. Xen keeps the two flags.
inuse:
	SUBQ	$const_FirstRef, DI
	MOVQ	X(Xen_NRings), CX
	ADDQ	X(Xen_NIO), CX
	CMPQ	DI, CX
	JAE	notgranted
	MOVQ	X(Xen_Grants), CX
	MOVL	(8*const_FirstRef)(CX)(DI*8), AX
	ANDL	$const_grantBusy, AX
	JMP	ret
notgranted:
	ADDQ	$const_FirstRef, DI
	JMP	violation

	// console: up to 8 bytes of DI, SI of them, into the console ring. The
	// indexes are the other side's too, so they only ever select within it.
console:
	CMPQ	SI, $8
	JA	violation
	MOVQ	X(Xen_Console), R8
	STAC
	MOVL	const_consoleProd(R8), R9
	MOVL	R9, R10
	SUBL	const_consoleCons(R8), R10
	MOVL	$const_consoleSize, R13
	SUBL	R10, R13	// room
	JBE	nothing
	CMPL	R13, $const_consoleSize
	JA	nothing
	CMPQ	SI, R13
	CMOVQHI	R13, SI
	MOVQ	SI, R13
conbyte:
	DECQ	SI
	JL	conend
	MOVL	R9, R10
	ANDL	$(const_consoleSize-1), R10
	MOVB	DI, const_consoleOut(R8)(R10*1)
	SHRQ	$8, DI
	INCL	R9
	JMP	conbyte
conend:
	MOVL	R9, const_consoleProd(R8)
	CLAC
	MOVL	X(Xen_ConsolePort), DI
	MOVL	DI, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventSend, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	MOVQ	R13, AX
	JMP	ret
nothing:
	CLAC
	JMP	out

	// suspend: the hypercall returns in the restored VM, or with 1 if the save
	// was called off.
suspend:
	MOVL	$const_shutdownSuspend, X(Xen_Arg)
	MOVL	$const_hyperSched, AX
	MOVL	$const_schedShutdown, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	TESTQ	AX, AX
	JNZ	ret
	MOVQ	$0, X(Xen_Boot)
	JMP	setup

	// set-up: everything that a fresh or restored VM needs. AX: 0, or the last
	// error of a hypercall.
setup:
	XORL	R13, R13
	MOVQ	$X(Xen_Calls), R12
	MOVQ	X(Xen_NCalls), R15
callnext:
	TESTQ	R15, R15
	JZ	callsdone
	MOVQ	Call_Arg+0(R12), AX
	MOVQ	AX, X(Xen_Arg)
	MOVQ	Call_Arg+8(R12), AX
	MOVQ	AX, X(Xen_Arg+8)
	MOVQ	Call_Arg+16(R12), AX
	MOVQ	AX, X(Xen_Arg+16)
	MOVL	Call_Nr(R12), AX
	MOVL	Call_Op(R12), DI
	MOVQ	$X(Xen_Arg), SI
	MOVQ	SI, DX
	CMPL	Call_VCPU(R12), $0
	JEQ	callnow
	XORL	SI, SI
callnow:
	HYPERCALL
	TESTQ	AX, AX
	JGE	called
	MOVQ	AX, R13
called:
	MOVQ	Call_Result(R12), DI
	TESTQ	DI, DI
	JZ	noresult
	MOVL	Call_Offset(R12), SI
	MOVQ	$X(Xen_Arg), AX
	MOVL	(AX)(SI*1), AX
	MOVQ	AX, (DI)
noresult:
	ADDQ	$Call__size, R12
	DECQ	R15
	JMP	callnext
callsdone:
	MOVQ	X(Xen_Shared), AX
	MOVL	$const_sharedWords, CX
	STAC
mask:
	MOVQ	$0, const_sharedPending(AX)
	MOVQ	$-1, const_sharedMask(AX)
	ADDQ	$8, AX
	DECL	CX
	JNZ	mask
	MOVQ	X(Xen_Shared), AX
	MOVQ	$0, 8(AX)
	MOVB	$0, 0(AX)
	MOVQ	X(Xen_TimerPort), CX
	LOCK
	BTRQ	CX, const_sharedMask(AX)
	CLAC

	// Grants: entry = frame << 32 | domain << 16 | GTF_permit_access.
	MOVQ	X(Xen_Grants), R8
	ADDQ	$(8*const_FirstRef), R8
	MOVQ	X(Xen_Backend), R9
	SHLQ	$16, R9
	ORQ	$1, R9
	MOVQ	X(Xen_RingFrame), R10
	SHLQ	$32, R10
	ORQ	R9, R10
	MOVQ	$(1<<32), DX
	MOVQ	X(Xen_NRings), CX
	XORL	SI, SI
grant:
	TESTQ	CX, CX
	JZ	granted
	MOVQ	R10, (R8)
	ADDQ	DX, R10
	ADDQ	$8, R8
	DECQ	CX
	JMP	grant
granted:
	TESTL	SI, SI
	JNZ	ports
	INCL	SI
	MOVQ	X(Xen_IOFrame), R10
	SHLQ	$32, R10
	ORQ	R9, R10
	MOVQ	X(Xen_NIO), CX
	JMP	grant

ports:
	XORL	AX, AX
	MOVQ	X(Xen_StorePort), CX
	MOVL	CX, X(Xen_PollPorts)
	BTSQ	CX, AX
	MOVQ	X(Xen_ConsolePort), CX
	MOVL	CX, X(Xen_PollPorts+4)
	BTSQ	CX, AX
	MOVQ	AX, X(Xen_Ports)
	MOVQ	$0, X(Xen_Own)
	MOVL	$2, X(Xen_Poll+Poll_N)
	MOVQ	$X(Xen_PollPorts), AX
	MOVQ	AX, X(Xen_Poll+Poll_Ports)
	MOVQ	R13, AX
	CMPQ	X(Xen_Boot), $0
	JEQ	ret
	BYTE	$0xc3	// RET; spelt so, or the assembler would want the stack balanced here

exit:
	MOVQ	DI, BX
	CMPQ	SI, $1
	JNE	power
	MOVL	$const_shutdownReboot, X(Xen_Arg)
	JMP	shutdown

#include "report.h"

	// power: end the VM with exit code BX: 0 powers it off, all others are a
	// crash to the toolstack. The code itself is on the console.
	MOVL	X(Xen_ConsolePort), DI
	MOVL	DI, X(Xen_Arg)
	MOVL	$const_hyperEvent, AX
	MOVL	$const_eventSend, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
power:
	MOVL	$const_shutdownOff, AX
	TESTQ	BX, BX
	JZ	reason
	MOVL	$const_shutdownCrash, AX
reason:
	MOVL	AX, X(Xen_Arg)
shutdown:
	MOVL	$const_hyperSched, AX
	MOVL	$const_schedShutdown, DI
	MOVQ	$X(Xen_Arg), SI
	HYPERCALL
	HLT
	JMP	shutdown
	ENDMARK

// func xenBlobStart() unsafe.Pointer
TEXT ·xenBlobStart(SB),NOSPLIT,$0-8
	LEAQ	·xenBlob(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
