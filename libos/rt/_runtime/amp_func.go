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

// ampNumbers reads numbers in groups of seven bits, lowest first. The address is
// one of the image, and a number here so that it needs no write barrier.
type ampNumbers struct{ at uintptr }

func (r *ampNumbers) next() uint32 {
	v := uint32(*(*uint8)(unsafe.Pointer(r.at)))
	r.at++
	if v >= 0x80 {
		return r.rest(v & 0x7f)
	}
	return v
}

// rest reads what follows the lowest seven bits of a number.
func (r *ampNumbers) rest(v uint32) uint32 {
	for shift := uint32(7); ; shift += 7 {
		b := *(*uint8)(unsafe.Pointer(r.at))
		r.at++
		v |= uint32(b&0x7f) << (shift & 31)
		if b < 0x80 {
			return v
		}
	}
}

// place reads where something is: even numbers say how far behind the last that
// was met for the first time, odd ones the place itself.
func (r *ampNumbers) place(last *uint32) uint32 {
	v := r.next()
	if v&1 != 0 {
		return v >> 1
	}
	*last += v >> 1
	return *last
}

func ampUnpackBatch(datap *moduledata, packed unsafe.Pointer, batch uint32) {
	r := &ampNumbers{uintptr(packed) + uintptr(*(*uint32)(add(packed, 4+4*uintptr(batch))))}
	last := r.next()
	for _, ft := range datap.ftab[batch*ampBatch : min(int(batch+1)*ampBatch, len(datap.ftab)-1)] {
		f := (*_func)(unsafe.Pointer(&datap.pclntable[ft.funcoff]))
		head, kind := r.next(), r.next()
		f.entryOff = ft.entryoff
		f.nameOff = int32(r.place(&last))
		args := r.next()
		f.args = int32(-(args & 1) ^ args>>1)
		if kind&1 != 0 {
			f.deferreturn = r.next()
		}
		f.pcsp = r.place(&last)
		f.cuOffset = ^uint32(0)
		if kind&2 != 0 {
			f.pcfile = r.place(&last)
			f.pcln = r.place(&last)
			f.cuOffset = r.next()
			f.startLine = int32(r.next())
		}
		f.flag = abi.FuncFlag(kind >> 2 & 0x1f)
		f.funcID = abi.FuncID(kind >> 7)
		f.npcdata = head & 7
		f.nfuncdata = uint8(head >> 3)
		p := add(unsafe.Pointer(f), unsafe.Sizeof(*f))
		for range f.npcdata {
			*(*uint32)(p) = r.place(&last)
			p = add(p, 4)
		}
		for range f.nfuncdata {
			off := ^uint32(0)
			if v := r.place(&last); v != 0 {
				off = v
			}
			*(*uint32)(p) = off
			p = add(p, 4)
		}
	}
}

// ampCall is inlined call i of u's function.
func (u *inlineUnwinder) ampCall(i int32) inlinedCall {
	packed := ampPacked(u.f.datap)
	if packed == nil {
		return u.inlTree[i]
	}
	r := &ampNumbers{uintptr(unsafe.Pointer(u.inlTree))}
	var callee uint32
	call := inlinedCall{}
	for ; i >= 0; i-- {
		callee = r.next()
		d := r.next()
		call.parentPc += int32(-(d & 1) ^ d>>1)
	}
	f := (*[2]uint32)(add(packed, uintptr(*(*uint32)(packed))+uintptr(callee)*8))
	call.nameOff, call.funcID, call.startLine = int32(f[0]&(1<<24-1)), abi.FuncID(f[0]>>24), int32(f[1])
	return call
}
