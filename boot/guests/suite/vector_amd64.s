//go:build ampoule

#include "textflag.h"

#define LOAD(n, r) VMOVDQU (n*32)(SI), r
#define STORE(n, r) VMOVDQU r, (n*32)(DI)
#define LOADX(n, r) MOVOU (n*32)(SI), r
#define STOREX(n, r) MOVOU r, (n*32)(DI)

// func holdYMM(in, out *[512]byte, spins uint64)
//
// Loads sixteen 32-byte registers, counts, and stores them again: whatever
// interrupts the count must leave them as they were.
TEXT ·holdYMM(SB),NOSPLIT,$0-24
	MOVQ	in+0(FP), SI
	MOVQ	out+8(FP), DI
	MOVQ	spins+16(FP), CX
	LOAD(0, Y0)
	LOAD(1, Y1)
	LOAD(2, Y2)
	LOAD(3, Y3)
	LOAD(4, Y4)
	LOAD(5, Y5)
	LOAD(6, Y6)
	LOAD(7, Y7)
	LOAD(8, Y8)
	LOAD(9, Y9)
	LOAD(10, Y10)
	LOAD(11, Y11)
	LOAD(12, Y12)
	LOAD(13, Y13)
	LOAD(14, Y14)
	LOAD(15, Y15)
spin:
	DECQ	CX
	JNZ	spin
	STORE(0, Y0)
	STORE(1, Y1)
	STORE(2, Y2)
	STORE(3, Y3)
	STORE(4, Y4)
	STORE(5, Y5)
	STORE(6, Y6)
	STORE(7, Y7)
	STORE(8, Y8)
	STORE(9, Y9)
	STORE(10, Y10)
	STORE(11, Y11)
	STORE(12, Y12)
	STORE(13, Y13)
	STORE(14, Y14)
	STORE(15, Y15)
	VZEROUPPER
	PXOR	X15, X15
	RET

// func holdXMM(in, out *[512]byte, spins uint64) does so with 16 bytes each.
TEXT ·holdXMM(SB),NOSPLIT,$0-24
	MOVQ	in+0(FP), SI
	MOVQ	out+8(FP), DI
	MOVQ	spins+16(FP), CX
	LOADX(0, X0)
	LOADX(1, X1)
	LOADX(2, X2)
	LOADX(3, X3)
	LOADX(4, X4)
	LOADX(5, X5)
	LOADX(6, X6)
	LOADX(7, X7)
	LOADX(8, X8)
	LOADX(9, X9)
	LOADX(10, X10)
	LOADX(11, X11)
	LOADX(12, X12)
	LOADX(13, X13)
	LOADX(14, X14)
	LOADX(15, X15)
spinx:
	DECQ	CX
	JNZ	spinx
	STOREX(0, X0)
	STOREX(1, X1)
	STOREX(2, X2)
	STOREX(3, X3)
	STOREX(4, X4)
	STOREX(5, X5)
	STOREX(6, X6)
	STOREX(7, X7)
	STOREX(8, X8)
	STOREX(9, X9)
	STOREX(10, X10)
	STOREX(11, X11)
	STOREX(12, X12)
	STOREX(13, X13)
	STOREX(14, X14)
	STOREX(15, X15)
	PXOR	X15, X15
	RET

// func standOn(floor *byte, spins uint64)
//
// Counts with the stack pointer at floor, below which nothing is its own.
TEXT ·standOn(SB),NOSPLIT,$0-16
	MOVQ	floor+0(FP), AX
	MOVQ	spins+8(FP), CX
	MOVQ	SP, BX
	MOVQ	AX, SP
stand:
	DECQ	CX
	JNZ	stand
	MOVQ	BX, SP
	RET
