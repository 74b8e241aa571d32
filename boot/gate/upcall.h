// The way from a fault or a tick to ring 3. Text for inside a TEXT; the labels
// deliver and enter are its own.

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

