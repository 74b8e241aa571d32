// Vector stubs, 16 bytes apart, then the two entry points (const_entryOff,
// const_enterOff) and what all vectors come to. Text for inside a TEXT.

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
	JMP	entry
	PCALIGN	$16
	JMP	enter
	PCALIGN	$16
#ifdef SETUP
	JMP	setup	// const_setupOff
	PCALIGN	$16
#endif

	// All vectors: 0(SP) AX, 8 vector, 16 error, 24 RIP, 32 CS, 40 RFLAGS,
	// 48 RSP, 56 SS.
common:
	CLAC	// an interrupt leaves AC as ring 3 had it
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

