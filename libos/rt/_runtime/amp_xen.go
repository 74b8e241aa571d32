package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// Places in Xen's shared info page (public/xen.h on x86-64).
const (
	ampWallVersion = 3072
	ampWallSec     = 3076
	ampWallNS      = 3080
	ampWallSecHigh = 3084
)

// ampSuspend gives the VM up for a save and answers what the gate does: 0 in
// the restored VM, 1 if the save was called off. The monotonic clock goes on
// where it stopped; the wall clock is read anew, and so is the randomness.
//
//go:linkname ampSuspend
func ampSuspend() int {
	r := 0
	systemstack(func() {
		ampInOS++ // no tick: the clock is not to be trusted meanwhile
		mono := nanotime1()
		r = int(ampGate(ampGateSuspend, 0, 0))
		if r == 0 {
			ampEpoch += nanotime1() - mono
			ampEnd = 0
			ampWall = ampXenWall() + ampEpoch
			ampReseed()
		}
		ampInOS--
	})
	if r < 0 {
		ampDie(ampExitOSFault, "set-up after a restore failed:", uintptr(-r))
	}
	return r
}

// ampReseed parts VMs that were restored from one saved image: by RDRAND, and by
// the time and the TSC, which alone must do where there is no RDRAND. What
// package runtime draws numbers from by itself (math/rand, hash seeds) is made
// anew from there.
func ampReseed() {
	ampLeft = 0
	for i, w := range [...]uint64{uint64(ampWall + nanotime1()), uint64(cputicks())} {
		ampKey[2*i] ^= uint32(w)
		ampKey[2*i+1] ^= uint32(w >> 32)
	}
	if ampBoot.Features&ampFeatureRDRAND != 0 {
		for i := range ampKey {
			ampKey[i] ^= uint32(ampHardware())
		}
	}
	var seed [4]uint64
	ampRandom(uintptr(unsafe.Pointer(&seed)), unsafe.Sizeof(seed))
	getg().m.chacha8.Init64(seed)
	// Its low half: the field has 64 bits in Go 1.26 and 32 in 1.27.
	*(*uint32)(unsafe.Pointer(&getg().m.cheaprand)) = uint32(rand())
}

// ampXenWall is the wall clock at Xen's system time 0, in ns since 1970.
//
//go:nosplit
func ampXenWall() int64 {
	p := ampBoot.Xen.Shared
	word := func(off uintptr) uint32 { return atomic.Load((*uint32)(unsafe.Pointer(p + off))) }
	for try := 0; ; try++ {
		v := word(ampWallVersion)
		sec := int64(word(ampWallSec)) | int64(word(ampWallSecHigh))<<32
		ns := int64(word(ampWallNS))
		if v&1 == 0 && v == word(ampWallVersion) || try == 1000 {
			return sec*1e9 + ns
		}
	}
}
