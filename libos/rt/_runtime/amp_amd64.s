// The way into the library OS (calls that were SYSCALL instructions), the way
// into the gate, the upcall from the gate, and the clock. Ring 3 throughout.

#include "go_asm.h"
#include "go_tls.h"
#include "textflag.h"

// ampTLS tells the boot code, in AX and R14, where FS must point (once and for
// ever, as there is one M) and where g0 is. It uses no stack but its return
// address.
TEXT ·ampTLS(SB),NOSPLIT|NOFRAME,$0
	LEAQ	runtime·m0+(m_tls+8)(SB), AX
	LEAQ	runtime·g0(SB), R14
	RET

// func ampGate(op, a, b uintptr) uintptr
//
// SYSCALL destroys CX and R11; the gate keeps everything else but AX.
TEXT ·ampGate<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	BX, DI
	MOVQ	CX, SI
	SYSCALL
	RET

// ampClockNow leaves the monotonic time in ns in AX, using BX CX DX R8 R9 R10
// only. It reads the clock page that the hypervisor (or boot, from a calibrated
// TSC) keeps, again while the version is odd or moves.
TEXT ·ampClockNow<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	runtime·ampBoot+ampBootInfo_Clock(SB), R8
retry:
	MOVL	ampClock_Version(R8), R9
	LFENCE
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	SUBQ	ampClock_TSC(R8), AX
	MOVBLSX	ampClock_Shift(R8), CX
	TESTL	CX, CX
	JGE	left
	NEGL	CX
	SHRQ	CX, AX
	JMP	scaled
left:
	SHLQ	CX, AX
scaled:
	MOVL	ampClock_Mul(R8), DX
	MULQ	DX
	SHRQ	$32, DX, AX
	ADDQ	ampClock_System(R8), AX
	CMPL	R9, ampClock_Version(R8)
	JNE	retry
	TESTL	$1, R9
	JNE	retry
	SUBQ	runtime·ampEpoch(SB), AX
	RET

// func nanotime1() int64, in place of the stock one.
TEXT runtime·nanotime1<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	JMP	·ampClockNow<ABIInternal>(SB)

// func time.now() (sec int64, nsec int32, mono int64), in place of the stock
// one: one reading of the clock serves both.
TEXT time·now<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	CALL	·ampClockNow<ABIInternal>(SB)
	MOVQ	AX, R10
	ADDQ	runtime·ampWall(SB), AX
	XORL	DX, DX
	MOVQ	$1000000000, CX
	DIVQ	CX
	MOVQ	DX, BX
	MOVQ	R10, CX
	RET

// func ampRDRAND() (v uint64, ok bool). The carry flag says whether the value
// is random; Intel asks for ten tries before giving up.
TEXT ·ampRDRAND<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$10, CX
again:
	RDRANDQ	AX
	JCS	ok
	DECL	CX
	JNZ	again
	XORL	AX, AX
	XORL	BX, BX
	RET
ok:
	MOVL	$1, BX
	RET

// func ampRDSEED() (v uint64, ok bool)
TEXT ·ampRDSEED<ABIInternal>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$100, CX
again:
	RDSEEDQ	AX
	JCS	ok
	PAUSE
	DECL	CX
	JNZ	again
	XORL	AX, AX
	XORL	BX, BX
	RET
ok:
	MOVL	$1, BX
	RET

// ampSyscall stands where the runtime and package syscall had SYSCALL: the
// Linux register contract (number in AX, arguments in DI SI DX R10 R8 R9,
// result in AX, CX and R11 lost), as a call. It runs on a stack of its own,
// since the caller's may have a few hundred bytes left.
TEXT runtime·ampSyscall(SB),NOSPLIT|NOFRAME,$0
	MOVQ	SP, CX
	ADDQ	$1, runtime·ampInOS(SB)
	MOVQ	runtime·ampBoot+ampBootInfo_System(SB), SP
	SUBQ	$160, SP
	MOVQ	AX, 32(SP)
	MOVQ	DI, 40(SP)
	MOVQ	SI, 48(SP)
	MOVQ	DX, 56(SP)
	MOVQ	R10, 64(SP)
	MOVQ	R8, 72(SP)
	MOVQ	R9, 80(SP)
	MOVQ	BX, 88(SP)
	MOVQ	BP, 96(SP)
	MOVQ	R12, 104(SP)
	MOVQ	R13, 112(SP)
	MOVQ	R14, 120(SP)
	MOVQ	R15, 128(SP)
	MOVQ	CX, 136(SP)
	PXOR	X15, X15
	LEAQ	32(SP), AX	// 0(SP)..31(SP) are the callee's spill slots
	MOVQ	$·ampDispatch<ABIInternal>(SB), CX
	CALL	CX
	MOVQ	40(SP), DI
	MOVQ	48(SP), SI
	MOVQ	56(SP), DX
	MOVQ	64(SP), R10
	MOVQ	72(SP), R8
	MOVQ	80(SP), R9
	MOVQ	88(SP), BX
	MOVQ	96(SP), BP
	MOVQ	104(SP), R12
	MOVQ	112(SP), R13
	MOVQ	120(SP), R14
	MOVQ	128(SP), R15
	MOVQ	136(SP), SP
	SUBQ	$1, runtime·ampInOS(SB)
	RET

// ampUpcall is where the gate resumes ring 3 after a fault or a tick. The
// interrupted state is in ampContext; interrupts are on, but no tick is
// delivered while ampInSignal is set. The gate has set that.
TEXT ·ampUpcall(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ	runtime·ampBoot+ampBootInfo_Signal(SB), SP
	SUBQ	$64, SP
	ANDQ	$~15, SP
	CLD
	LEAQ	runtime·ampVector(SB), CX
	ADDQ	$63, CX
	ANDQ	$~63, CX
	CMPB	runtime·ampXSave(SB), $0
	JEQ	fx
	MOVL	$7, AX
	XORL	DX, DX
	XSAVE64	(CX)
	JMP	saved
fx:
	FXSAVE64 (CX)
saved:
	PXOR	X15, X15
	XORL	BP, BP
	get_tls(R12)
	MOVQ	g(R12), R14
	MOVQ	$·ampTrap<ABIInternal>(SB), CX
	CALL	CX
	TESTQ	AX, AX
	JZ	done
	MOVQ	AX, DI
	LEAQ	runtime·ampSigInfo(SB), SI
	LEAQ	runtime·ampContext(SB), DX
	MOVQ	$runtime·sigtramp(SB), AX
	CALL	AX
done:
	LEAQ	runtime·ampVector(SB), CX
	ADDQ	$63, CX
	ANDQ	$~63, CX
	CMPB	runtime·ampXSave(SB), $0
	JEQ	fx2
	MOVL	$7, AX
	XORL	DX, DX
	XRSTOR64 (CX)
	JMP	restored
fx2:
	FXRSTOR64 (CX)
restored:
	// The gate resumes what ampContext now says, and clears ampInSignal.
	MOVQ	$const_ampGateResume, AX
	SYSCALL
	INT	$3	// the gate does not come back
