#include "textflag.h"

// Elements of GF(2^255-19) are four words, least first, of any value below 2^256. What
// runs over 2^256 comes in again as 38 of it, since 2^256 = 38 modulo the prime. No branch
// and no address depends on a value.

// Offsets in the state of a step of the ladder (amp_x25519.go).
#define x1 0
#define x2 32
#define z2 64
#define x3 96
#define z3 128
#define t0 160
#define t1 192

// FOLD stores at z(DI) the sum of AX, BX, R13, R14 and 38 times R15, which is less than
// 2^20. What a carry leaves is then less than 2^26, so that 38 more do not carry again.
#define FOLD(z) \
	IMUL3Q $38, R15, R15; \
	ADDQ   R15, AX;       \
	ADCQ   $0, BX;        \
	ADCQ   $0, R13;       \
	ADCQ   $0, R14;       \
	SBBQ   DX, DX;        \
	ANDQ   $38, DX;       \
	ADDQ   DX, AX;        \
	MOVQ   AX, (z+0)(DI); \
	MOVQ   BX, (z+8)(DI); \
	MOVQ   R13, (z+16)(DI); \
	MOVQ   R14, (z+24)(DI)

// REDUCE stores R8 to R15, eight words, at z(DI): the upper four come in as 38 of the
// lower ones, which leaves 38 at most above those.
#define REDUCE(z) \
	MOVL  $38, DX;       \
	MULXQ R12, AX, BX;   \
	MULXQ R13, R12, R13; \
	ADDQ  R12, BX;       \
	MULXQ R14, R12, R14; \
	ADCQ  R12, R13;      \
	MULXQ R15, R12, R15; \
	ADCQ  R12, R14;      \
	ADCQ  $0, R15;       \
	ADDQ  R8, AX;        \
	ADCQ  R9, BX;        \
	ADCQ  R10, R13;      \
	ADCQ  R11, R14;      \
	ADCQ  $0, R15;       \
	FOLD(z)

// ROW adds DX times b(CX) to r1, r2, r3, r4, and makes r5 the word above. MULX leaves
// the carry as it is.
#define ROW(b, r1, r2, r3, r4, r5) \
	MULXQ (b+0)(CX), AX, BX;  \
	ADDQ  AX, r1;             \
	ADCQ  BX, r2;             \
	MULXQ (b+16)(CX), AX, BX; \
	ADCQ  AX, r3;             \
	ADCQ  BX, r4;             \
	MOVL  $0, r5;             \
	ADCQ  r5, r5;             \
	MULXQ (b+8)(CX), AX, BX;  \
	ADDQ  AX, r2;             \
	ADCQ  BX, r3;             \
	MULXQ (b+24)(CX), AX, BX; \
	ADCQ  AX, r4;             \
	ADCQ  BX, r5

// MUL is z(DI) = a(SI) times b(CX); they may be the same.
#define MUL(z, a, b) \
	MOVQ  (a+0)(SI), DX;        \
	MULXQ (b+0)(CX), R8, R9;    \
	MULXQ (b+8)(CX), AX, R10;   \
	ADDQ  AX, R9;               \
	MULXQ (b+16)(CX), AX, R11;  \
	ADCQ  AX, R10;              \
	MULXQ (b+24)(CX), AX, R12;  \
	ADCQ  AX, R11;              \
	ADCQ  $0, R12;              \
	MOVQ  (a+8)(SI), DX;        \
	ROW(b, R9, R10, R11, R12, R13);  \
	MOVQ  (a+16)(SI), DX;       \
	ROW(b, R10, R11, R12, R13, R14); \
	MOVQ  (a+24)(SI), DX;       \
	ROW(b, R11, R12, R13, R14, R15); \
	REDUCE(z)

// SQR is z(DI) = a(SI) squared: products of two different words are made once, and
// doubled.
#define SQR(z, a) \
	MOVQ  (a+0)(SI), DX;       \
	MULXQ (a+8)(SI), R9, R10;  \
	MULXQ (a+16)(SI), AX, R11; \
	ADDQ  AX, R10;             \
	MULXQ (a+24)(SI), AX, R12; \
	ADCQ  AX, R11;             \
	ADCQ  $0, R12;             \
	MOVQ  (a+8)(SI), DX;       \
	MULXQ (a+16)(SI), AX, BX;  \
	MULXQ (a+24)(SI), R14, R13; \
	ADDQ  AX, R11;             \
	ADCQ  BX, R12;             \
	ADCQ  $0, R13;             \
	ADDQ  R14, R12;            \
	MOVQ  (a+16)(SI), DX;      \
	MULXQ (a+24)(SI), AX, R14; \
	ADCQ  AX, R13;             \
	ADCQ  $0, R14;             \
	XORL  R15, R15;            \
	ADDQ  R9, R9;              \
	ADCQ  R10, R10;            \
	ADCQ  R11, R11;            \
	ADCQ  R12, R12;            \
	ADCQ  R13, R13;            \
	ADCQ  R14, R14;            \
	ADCQ  R15, R15;            \
	MOVQ  (a+0)(SI), DX;       \
	MULXQ DX, R8, AX;          \
	ADDQ  AX, R9;              \
	MOVQ  (a+8)(SI), DX;       \
	MULXQ DX, AX, BX;          \
	ADCQ  AX, R10;             \
	ADCQ  BX, R11;             \
	MOVQ  (a+16)(SI), DX;      \
	MULXQ DX, AX, BX;          \
	ADCQ  AX, R12;             \
	ADCQ  BX, R13;             \
	MOVQ  (a+24)(SI), DX;      \
	MULXQ DX, AX, BX;          \
	ADCQ  AX, R14;             \
	ADCQ  BX, R15;             \
	REDUCE(z)

// ADD is z(DI) = a(SI) + b(CX). A first carry brings in 38, a second one then leaves
// less than 38 in the lowest word.
#define ADD(z, a, b) \
	MOVQ (a+0)(SI), R8;   \
	MOVQ (a+8)(SI), R9;   \
	MOVQ (a+16)(SI), R10; \
	MOVQ (a+24)(SI), R11; \
	ADDQ (b+0)(CX), R8;   \
	ADCQ (b+8)(CX), R9;   \
	ADCQ (b+16)(CX), R10; \
	ADCQ (b+24)(CX), R11; \
	SBBQ DX, DX;          \
	ANDQ $38, DX;         \
	ADDQ DX, R8;          \
	ADCQ $0, R9;          \
	ADCQ $0, R10;         \
	ADCQ $0, R11;         \
	SBBQ DX, DX;          \
	ANDQ $38, DX;         \
	ADDQ DX, R8;          \
	MOVQ R8, (z+0)(DI);   \
	MOVQ R9, (z+8)(DI);   \
	MOVQ R10, (z+16)(DI); \
	MOVQ R11, (z+24)(DI)

// SUB is z(DI) = a(SI) - b(CX). A first borrow takes out 38, a second one then leaves
// more than 2^64-38 in the lowest word.
#define SUB(z, a, b) \
	MOVQ (a+0)(SI), R8;   \
	MOVQ (a+8)(SI), R9;   \
	MOVQ (a+16)(SI), R10; \
	MOVQ (a+24)(SI), R11; \
	SUBQ (b+0)(CX), R8;   \
	SBBQ (b+8)(CX), R9;   \
	SBBQ (b+16)(CX), R10; \
	SBBQ (b+24)(CX), R11; \
	SBBQ DX, DX;          \
	ANDQ $38, DX;         \
	SUBQ DX, R8;          \
	SBBQ $0, R9;          \
	SBBQ $0, R10;         \
	SBBQ $0, R11;         \
	SBBQ DX, DX;          \
	ANDQ $38, DX;         \
	SUBQ DX, R8;          \
	MOVQ R8, (z+0)(DI);   \
	MOVQ R9, (z+8)(DI);   \
	MOVQ R10, (z+16)(DI); \
	MOVQ R11, (z+24)(DI)

// SCALE is z(DI) = a(SI) times 121666.
#define SCALE(z, a) \
	MOVL  $121666, DX;         \
	MULXQ (a+0)(SI), AX, BX;   \
	MULXQ (a+8)(SI), R8, R13;  \
	ADDQ  R8, BX;              \
	MULXQ (a+16)(SI), R8, R14; \
	ADCQ  R8, R13;             \
	MULXQ (a+24)(SI), R8, R15; \
	ADCQ  R8, R14;             \
	ADCQ  $0, R15;             \
	FOLD(z)

// SWAP exchanges a(DI) and b(DI) where DX is all ones, and not where it is 0.
#define SWAP(a, b) \
	MOVQ (a)(DI), AX; \
	MOVQ (b)(DI), BX; \
	MOVQ AX, R8;      \
	XORQ BX, R8;      \
	ANDQ DX, R8;      \
	XORQ R8, AX;      \
	XORQ R8, BX;      \
	MOVQ AX, (a)(DI); \
	MOVQ BX, (b)(DI)

// func ampStep(s *ampLadder, swap uint64)
TEXT ·ampStep(SB), NOSPLIT, $0-16
	MOVQ s+0(FP), DI
	MOVQ swap+8(FP), DX
	MOVQ DI, SI
	MOVQ DI, CX
	NEGQ DX
	SWAP(x2+0, x3+0)
	SWAP(x2+8, x3+8)
	SWAP(x2+16, x3+16)
	SWAP(x2+24, x3+24)
	SWAP(z2+0, z3+0)
	SWAP(z2+8, z3+8)
	SWAP(z2+16, z3+16)
	SWAP(z2+24, z3+24)

	// RFC 7748 section 5: AA is t1, BB is t0.
	SUB(t0, x3, z3) // D
	SUB(t1, x2, z2) // B
	ADD(x2, x2, z2) // A
	ADD(z2, x3, z3) // C
	MUL(z3, t0, x2) // DA
	MUL(z2, z2, t1) // CB
	SQR(t0, t1)     // BB
	SQR(t1, x2)     // AA
	ADD(x3, z3, z2)
	SUB(z2, z3, z2)
	MUL(x2, t1, t0) // x2 = AA * BB
	SUB(t1, t1, t0) // E
	SQR(z2, z2)
	SCALE(z3, t1)
	SQR(x3, x3)     // x3 = (DA + CB)^2
	ADD(t0, t0, z3) // BB + 121666 * E, which is AA + 121665 * E
	MUL(z3, x1, z2) // z3 = x1 * (DA - CB)^2
	MUL(z2, t1, t0) // z2 = E * (AA + 121665 * E)
	RET

// func ampMultiply(z, x, y *ampElement)
TEXT ·ampMultiply(SB), NOSPLIT, $0-24
	MOVQ z+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ y+16(FP), CX
	MUL(0, 0, 0)
	RET

// func ampSquare(z, x *ampElement)
TEXT ·ampSquare(SB), NOSPLIT, $0-16
	MOVQ z+0(FP), DI
	MOVQ x+8(FP), SI
	SQR(0, 0)
	RET
