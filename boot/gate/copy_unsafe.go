package gate

import (
	"unsafe"

	"ampoule/boot/layout"
)

// blobRange and xenBlobRange give a blob's first byte and its length.
func blobRange() (start unsafe.Pointer, n uintptr)
func xenBlobRange() (start unsafe.Pointer, n uintptr)

// Numbers of the instructions in each blob that Copy may have to replace: STAC
// and CLAC, and VMMCALL.
const (
	smapSites    = 15
	xenSMAPSites = 21
	xenHyperSite = 10
)

// Blob is the gate's code as linked. It is read-only.
func Blob() []byte {
	start, n := blobRange()
	// The range is text of this image, which lives for ever.
	return unsafe.Slice((*byte)(start), n)
}

// XenBlob is the code of the gate on Xen. It is read-only.
func XenBlob() []byte {
	start, n := xenBlobRange()
	// As in Blob.
	return unsafe.Slice((*byte)(start), n)
}

// Copy puts the gate's code at to, which holds layout.GateCodeSize bytes. On a
// CPU without SMAP, where STAC and CLAC are invalid, it turns them into NOPs.
// It answers false if the blob is not what it must be, and then the machine
// cannot start. It neither allocates nor needs the runtime.
func Copy(to []byte, smap bool) bool {
	n, h := patch(to, Blob(), smap, false)
	return n == smapSites && h == 0
}

// CopyXen is Copy for the gate on Xen, whose hypercalls are VMMCALL on an AMD
// CPU and VMCALL on an Intel one.
func CopyXen(to []byte, smap, intel bool) bool {
	n, h := patch(to, XenBlob(), smap, intel)
	return n == xenSMAPSites && h == xenHyperSite
}

// patch copies b and counts the places that may need replacing: all other code
// must be free of those byte sequences.
func patch(to, b []byte, smap, intel bool) (sites, hypercalls int) {
	if len(b) > layout.GateCodeSize || len(b) > len(to) {
		return -1, -1
	}
	copy(to, b)
	for i := 0; i+2 < len(b); i++ {
		if b[i] != 0x0f || b[i+1] != 0x01 {
			continue
		}
		switch {
		case b[i+2]|1 == 0xcb:
			sites++
			if !smap {
				to[i+1], to[i+2] = 0x1f, 0x00 // 0F 1F 00: NOP of three bytes
			}
		case b[i+2] == 0xd9:
			hypercalls++
			if intel {
				to[i+2] = 0xc1
			}
		}
	}
	return sites, hypercalls
}
