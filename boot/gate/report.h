// The end of a VM whose gate was misused or that faulted where nothing can
// handle it. Text for inside a TEXT; it falls through to what ends the VM.

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
	// end with exit code BX. It does not wait for the console
	// (I/O port CONSOLE in DX; PUTC writes AL and may use CX, R11 and R12).
report:
	STAC	// PUTC may write to a page of ring 3's
	MOVL	$CONSOLE, DX
text:
	MOVBLZX	(SI), AX
	TESTL	AX, AX
	JZ	words
	PUTC
	INCQ	SI
	JMP	text
words:
	LEAQ	8(SP), SI
	MOVL	$6, R9
word:
	MOVL	$0x20, AX
	PUTC
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
	PUTC
	DECL	R10
	JNZ	hex
	ADDQ	$8, SI
	DECL	R9
	JNZ	word
	MOVL	$10, AX
	PUTC

