package gate

import (
	"unsafe"

	"ampoule/boot/layout"
)

// blobStart and xenBlobStart give a blob's first byte.
func blobStart() unsafe.Pointer
func xenBlobStart() unsafe.Pointer

// Numbers of the instructions in each blob that Copy may have to replace: STAC
// and CLAC, and VMMCALL. Addresses within the gate are not counted, but a test
// holds each of them to be an operand.
const (
	smapSites    = 16
	xenSMAPSites = 21
	xenHyperSite = 10
)

// endMark stands behind each blob (macros.h).
const endMark = "\x0f\x0bgate end"

// Blob is the gate's code as linked. It is read-only.
func Blob() []byte { return upToMark(blobStart()) }

// XenBlob is the code of the gate on Xen. It is read-only.
func XenBlob() []byte { return upToMark(xenBlobStart()) }

// upToMark is what lies between start and the end mark, or nothing when that is
// not found within what a gate may have. Text follows a blob, or at least its
// own mark.
func upToMark(start unsafe.Pointer) []byte {
	for n := 0; n <= layout.GateCodeSize; n++ {
		if *(*byte)(unsafe.Add(start, n)) != endMark[0] {
			continue
		}
		k := 1
		// The blob is text of this image, which lives for ever; nothing behind
		// the mark is read.
		for k < len(endMark) && *(*byte)(unsafe.Add(start, n+k)) == endMark[k] {
			k++
		}
		if k == len(endMark) {
			return unsafe.Slice((*byte)(start), n)
		}
	}
	return nil
}

// Copy puts the gate's code at to, which holds layout.GateCodeSize bytes, for a
// gate whose region begins at base, in the topmost 2 GiB and on a page. On a
// CPU without SMAP, where STAC and CLAC are invalid, it turns them into NOPs.
// It answers false if the blob is not what it must be, and then the machine
// cannot start. It neither allocates nor needs the runtime.
func Copy(to []byte, base uint64, smap bool) bool {
	p := patch(to, Blob(), base, smap, false)
	return p.addresses > 0 && p.smap == smapSites && p.hypercalls == 0
}

// CopyXen is Copy for the gate on Xen, whose hypercalls are VMMCALL on an AMD
// CPU and VMCALL on an Intel one.
func CopyXen(to []byte, base uint64, smap, intel bool) bool {
	p := patch(to, XenBlob(), base, smap, intel)
	return p.addresses > 0 && p.smap == xenSMAPSites && p.hypercalls == xenHyperSite
}

// patched counts the places that patch found.
type patched struct{ smap, hypercalls, addresses int }

// patch copies b and counts the places that may need replacing: all other code
// must be free of those byte sequences. An address of the gate is known by the
// upper half of what the assembler knows: it stands in 32 bits, which the CPU
// extends by their sign.
func patch(to, b []byte, base uint64, smap, intel bool) (n patched) {
	if len(b) > layout.GateCodeSize || len(b) > len(to) || base < layout.TopLow || base%layout.Page != 0 {
		return patched{-1, -1, -1}
	}
	copy(to, b)
	const mark = layout.GateLink >> 16 & 0xffff
	for i := 0; i+3 < len(b); i++ {
		switch {
		case b[i+2] != mark&0xff && b[i] != 0x0f: // nearly all
		case b[i+2] == mark&0xff && b[i+3] == mark>>8:
			n.addresses++
			at := uint64(b[i]) | uint64(b[i+1])<<8 | layout.GateLink&^0xffff
			at += base - layout.GateLink
			to[i], to[i+1], to[i+2], to[i+3] = byte(at), byte(at>>8), byte(at>>16), byte(at>>24)
		case b[i] != 0x0f || b[i+1] != 0x01:
		case b[i+2]|1 == 0xcb:
			n.smap++
			if !smap {
				to[i+1], to[i+2] = 0x1f, 0x00 // 0F 1F 00: NOP of three bytes
			}
		case b[i+2] == 0xd9:
			n.hypercalls++
			if intel {
				to[i+2] = 0xc1
			}
		}
	}
	return n
}
