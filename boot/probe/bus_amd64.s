//go:build ampoule

#include "textflag.h"

// Device access, one instruction each, and RAM; x86 needs no fences here, since the
// memory of a device is uncached and stores keep their order (Intel SDM volume
// 3, section 9.2).

// func load8(addr uint64) uint8
TEXT ·load8(SB), NOSPLIT, $0-9
	MOVQ addr+0(FP), DX
	MOVB (DX), AX
	MOVB AX, ret+8(FP)
	RET

// func load16(addr uint64) uint16
TEXT ·load16(SB), NOSPLIT, $0-10
	MOVQ addr+0(FP), DX
	MOVW (DX), AX
	MOVW AX, ret+8(FP)
	RET

// func load32(addr uint64) uint32
TEXT ·load32(SB), NOSPLIT, $0-12
	MOVQ addr+0(FP), DX
	MOVL (DX), AX
	MOVL AX, ret+8(FP)
	RET

// func load64(addr uint64) uint64
TEXT ·load64(SB), NOSPLIT, $0-16
	MOVQ addr+0(FP), DX
	MOVQ (DX), AX
	MOVQ AX, ret+8(FP)
	RET

// func store8(addr uint64, v uint8)
TEXT ·store8(SB), NOSPLIT, $0-9
	MOVQ addr+0(FP), DX
	MOVB v+8(FP), AX
	MOVB AX, (DX)
	RET

// func store16(addr uint64, v uint16)
TEXT ·store16(SB), NOSPLIT, $0-10
	MOVQ addr+0(FP), DX
	MOVW v+8(FP), AX
	MOVW AX, (DX)
	RET

// func store32(addr uint64, v uint32)
TEXT ·store32(SB), NOSPLIT, $0-12
	MOVQ addr+0(FP), DX
	MOVL v+8(FP), AX
	MOVL AX, (DX)
	RET

// func store64(addr uint64, v uint64)
TEXT ·store64(SB), NOSPLIT, $0-16
	MOVQ addr+0(FP), DX
	MOVQ v+8(FP), AX
	MOVQ AX, (DX)
	RET

// func clearPage(addr uint64)
TEXT ·clearPage(SB), NOSPLIT, $0-8
	MOVQ addr+0(FP), DI
	MOVL $512, CX
	XORL AX, AX
	CLD
	REP; STOSQ
	RET

// func in8(port uint16) uint8
TEXT ·in8(SB), NOSPLIT, $0-9
	MOVW port+0(FP), DX
	INB
	MOVB AX, ret+8(FP)
	RET

// func in16(port uint16) uint16
TEXT ·in16(SB), NOSPLIT, $0-10
	MOVW port+0(FP), DX
	INW
	MOVW AX, ret+8(FP)
	RET

// func in32(port uint16) uint32
TEXT ·in32(SB), NOSPLIT, $0-12
	MOVW port+0(FP), DX
	INL
	MOVL AX, ret+8(FP)
	RET

// func out8(port uint16, v uint8)
TEXT ·out8(SB), NOSPLIT, $0-3
	MOVW port+0(FP), DX
	MOVB v+2(FP), AX
	OUTB
	RET

// func out16(port uint16, v uint16)
TEXT ·out16(SB), NOSPLIT, $0-4
	MOVW port+0(FP), DX
	MOVW v+2(FP), AX
	OUTW
	RET

// func out32(port uint16, v uint32)
TEXT ·out32(SB), NOSPLIT, $0-8
	MOVW port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET
