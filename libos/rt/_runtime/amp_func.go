package runtime

import (
	"internal/abi"
	"internal/goarch"
	"internal/runtime/atomic"
	"unsafe"
)

// The function tables of an image are packed (boot/image, pack.go): a _func and
// a tree of inlined calls are read from a string of small numbers. The records
// of the functions that are asked for are written, eight neighbours at a time,
// to memory behind the image's BSS that moduledata.pclntable names, and stay.
//
// The tables that the linker wrote are understood as well: ampPacked is nil.

// ampBatch is how many functions are unpacked together.
const ampBatch = 8

// ampPacked is where the packed functions are. The linker leaves this word of
// pcHeader zero, which held the start of the text once.
//
//go:nosplit
func ampPacked(datap *moduledata) unsafe.Pointer {
	return *(*unsafe.Pointer)(add(unsafe.Pointer(datap.pcHeader), 8+2*goarch.PtrSize))
}

// ampUnpack makes sure that function idx has its record. A tick may come in the
// middle and want the same one: each word is written once and with its final
// value, so that it does not matter who does.
//
//go:nosplit
func ampUnpack(datap *moduledata, idx uint32) {
	packed := ampPacked(datap)
	if packed == nil {
		return
	}
	done := (*uint8)(add(unsafe.Pointer(unsafe.SliceData(datap.pclntable)), uintptr(len(datap.pclntable))+uintptr(idx/ampBatch)))
	if atomic.Load8(done) == 0 {
		systemstack(func() {
			ampUnpackBatch(datap, packed, idx/ampBatch)
			atomic.Store8(done, 1)
		})
	}
}

// ampNumber reads a number in groups of seven bits, lowest first, and returns it with
// the address behind it. The address is one of the image, and a number here so that
// it needs no write barrier.
//
//go:nosplit
func ampNumber(at uintptr) (uint32, uintptr) {
	b := uint32(*(*uint8)(unsafe.Pointer(at)))
	if at++; b < 0x80 {
		return b, at
	}
	v := b & 0x7f
	for shift := uint32(7); ; shift += 7 {
		b = uint32(*(*uint8)(unsafe.Pointer(at)))
		if at++; b < 0x80 {
			return v | b<<(shift&31), at
		}
		v |= (b & 0x7f) << (shift & 31)
	}
}

// ampPlace is where something is, by the number that was read: even numbers say how far
// behind the last that was met for the first time, odd ones the place itself.
func ampPlace(v, last uint32) (place, newLast uint32) {
	if v&1 != 0 {
		return v >> 1, last
	}
	last += v >> 1
	return last, last
}

func ampUnpackBatch(datap *moduledata, packed unsafe.Pointer, batch uint32) {
	at := uintptr(packed) + uintptr(*(*uint32)(add(packed, 4+4*uintptr(batch))))
	last, at := ampNumber(at)
	for _, ft := range datap.ftab[batch*ampBatch : min(int(batch+1)*ampBatch, len(datap.ftab)-1)] {
		f := (*_func)(unsafe.Pointer(&datap.pclntable[ft.funcoff]))
		var head, kind, v uint32
		head, at = ampNumber(at)
		kind, at = ampNumber(at)
		f.entryOff = ft.entryoff
		v, at = ampNumber(at)
		v, last = ampPlace(v, last)
		f.nameOff = int32(v)
		v, at = ampNumber(at)
		f.args = int32(-(v & 1) ^ v>>1)
		if kind&1 != 0 {
			f.deferreturn, at = ampNumber(at)
		}
		v, at = ampNumber(at)
		f.pcsp, last = ampPlace(v, last)
		f.cuOffset = ^uint32(0)
		if kind&2 != 0 {
			v, at = ampNumber(at)
			f.pcfile, last = ampPlace(v, last)
			v, at = ampNumber(at)
			f.pcln, last = ampPlace(v, last)
			f.cuOffset, at = ampNumber(at)
			v, at = ampNumber(at)
			f.startLine = int32(v)
		}
		f.flag = abi.FuncFlag(kind >> 2 & 0x1f)
		f.funcID = abi.FuncID(kind >> 7)
		f.npcdata = head & 7
		f.nfuncdata = uint8(head >> 3)
		p := uintptr(unsafe.Pointer(f)) + unsafe.Sizeof(*f)
		for n, npcdata := uint32(0), head&7; n < npcdata+head>>3; n++ {
			v, at = ampNumber(at)
			v, last = ampPlace(v, last)
			if n >= npcdata && v == 0 {
				v = ^uint32(0) // no function data
			}
			*(*uint32)(unsafe.Pointer(p)) = v
			p += 4
		}
	}
}

// ampCall is inlined call i of u's function.
func (u *inlineUnwinder) ampCall(i int32) inlinedCall {
	packed := ampPacked(u.f.datap)
	if packed == nil {
		return u.inlTree[i]
	}
	at := uintptr(unsafe.Pointer(u.inlTree))
	var callee, d uint32
	call := inlinedCall{}
	for ; i >= 0; i-- {
		callee, at = ampNumber(at)
		d, at = ampNumber(at)
		call.parentPc += int32(-(d & 1) ^ d>>1)
	}
	f := (*[2]uint32)(add(packed, uintptr(*(*uint32)(packed))+uintptr(callee)*8))
	call.nameOff, call.funcID, call.startLine = int32(f[0]&(1<<24-1)), abi.FuncID(f[0]>>24), int32(f[1])
	return call
}
