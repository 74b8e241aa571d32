package gate

import (
	"unsafe"

	"ampoule/boot/layout"
)

// blobRange gives the blob's first byte and its length.
func blobRange() (start unsafe.Pointer, n uintptr)

// smapSites is the number of STAC and CLAC instructions in the blob.
const smapSites = 10

// Blob is the gate's code as linked. It is read-only.
func Blob() []byte {
	start, n := blobRange()
	// The range is text of this image, which lives for ever.
	return unsafe.Slice((*byte)(start), n)
}

// Copy puts the gate's code at to, which holds layout.GateCodeSize bytes. On a
// CPU without SMAP, where STAC and CLAC are invalid, it turns them into NOPs.
// It answers false if the blob is not what it must be, and then the machine
// cannot start. It neither allocates nor needs the runtime.
func Copy(to []byte, smap bool) bool {
	b := Blob()
	if len(b) > layout.GateCodeSize || len(b) > len(to) {
		return false
	}
	copy(to, b)
	sites := 0
	for i := 0; i+2 < len(b); i++ {
		if b[i] == 0x0f && b[i+1] == 0x01 && b[i+2]|1 == 0xcb {
			sites++
			if !smap {
				to[i+1], to[i+2] = 0x1f, 0x00 // 0F 1F 00: NOP of three bytes
			}
		}
	}
	return sites == smapSites
}
