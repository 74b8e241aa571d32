// resume: back to what an upcall interrupted, as the runtime's ucontext now says
// (offsets as in upcall.h). Text for inside a TEXT.
//
// Ring 3 cannot do this itself without a place below the interrupted stack
// pointer, and there may be none: a chain of nosplit functions may have used
// its stack to the last byte. What ring 3 says is trusted with nothing: the
// selectors are fixed, of the flags the arithmetic ones, DF, AC and ID pass, and
// an address that is not canonical is refused, as IRETQ would fault here.
resume:
	MOVQ	D(Data_Context), CX
	STAC
	MOVQ	168(CX), R8	// rip
	MOVQ	R8, R9
	SHRQ	$47, R9
	JNZ	resumebad
	MOVQ	160(CX), R9	// rsp
	MOVQ	R9, R10
	SHRQ	$47, R10
	JNZ	resumebad
	MOVQ	176(CX), R10	// rflags
	ANDL	$const_flagsUser, R10
	ORL	$0x202, R10
	MOVQ	$const_stackTop, SP
	PUSHQ	$const_selUserSS
	PUSHQ	R9
	PUSHQ	R10
	PUSHQ	$const_selUserCS
	PUSHQ	R8
	MOVQ	D(Data_InSignal), AX
	MOVQ	$0, (AX)
	MOVQ	40(CX), R8
	MOVQ	48(CX), R9
	MOVQ	56(CX), R10
	MOVQ	64(CX), R11
	MOVQ	72(CX), R12
	MOVQ	80(CX), R13
	MOVQ	88(CX), R14
	MOVQ	96(CX), R15
	MOVQ	104(CX), DI
	MOVQ	112(CX), SI
	MOVQ	120(CX), BP
	MOVQ	128(CX), BX
	MOVQ	136(CX), DX
	MOVQ	144(CX), AX
	MOVQ	152(CX), CX
	CLAC
	IRETQ
resumebad:
	CLAC
	JMP	violation
