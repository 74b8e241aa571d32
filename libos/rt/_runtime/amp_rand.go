package runtime

import "unsafe"

// The source of all randomness after boot: ChaCha20 (RFC 8439) with fast key
// erasure. Four blocks are made at a time; the first 32 bytes become the next
// key, the rest is handed out and erased as it goes, so what was handed out
// cannot be computed from a later state. Where the CPU has RDRAND, its output
// is added to every word handed out, so two VMs that were cloned from one
// memory image part at once.
var (
	ampKey   [8]uint32
	ampPool  [4][16]uint32
	ampLeft  uintptr // bytes at the end of ampPool not handed out yet
	ampLastR uint64  // RDRAND's last word
)

const ampPoolSize = unsafe.Sizeof(ampPool)

// ampSeed takes over the seed that boot gathered and erases it, but for the
// bytes that the runtime reads as AT_RANDOM.
//
//go:nosplit
func ampSeed() {
	for i := range ampKey {
		ampKey[i] = *(*uint32)(unsafe.Pointer(&ampBoot.Random[32+4*i]))
	}
	for i := 16; i < len(ampBoot.Random); i++ {
		ampBoot.Random[i] = 0
	}
}

// ampRandom fills n bytes at p. If the CPU's generator fails there is no
// answer: the VM stops.
//
//go:nosplit
//go:nowritebarrierrec
func ampRandom(p, n uintptr) {
	for n > 0 {
		if ampLeft < 8 {
			ampRefill()
		}
		w := (*uint64)(unsafe.Pointer(uintptr(unsafe.Pointer(&ampPool)) + ampPoolSize - ampLeft))
		v := *w
		*w = 0
		ampLeft -= 8
		if ampBoot.Features&ampFeatureRDRAND != 0 {
			v += ampHardware()
		}
		for k := 0; k < 8 && n > 0; k++ {
			*(*byte)(unsafe.Pointer(p)) = byte(v)
			p, n, v = p+1, n-1, v>>8
		}
	}
}

// ampRefill makes four blocks and takes the next key from the first.
//
//go:nosplit
func ampRefill() {
	for i := range ampPool {
		ampChaCha(&ampPool[i], uint32(i))
	}
	for i := range ampKey {
		ampKey[i] = ampPool[0][i]
		ampPool[0][i] = 0
	}
	ampLeft = ampPoolSize - unsafe.Sizeof(ampKey)
}

// ampHardware returns a word from RDRAND. Broken generators have been seen to
// repeat one value with the carry flag set.
//
//go:nosplit
func ampHardware() uint64 {
	for try := 0; try < 4; try++ {
		if v, ok := ampRDRAND(); ok && v != ampLastR && v != 0 && v != ^uint64(0) {
			ampLastR = v
			return v
		}
	}
	ampDie(ampExitEntropy, "RDRAND failed", 0)
	return 0
}

// ampChaCha writes block ctr of the key stream; the nonce is 0, as no key is
// used for more than one pool.
//
//go:nosplit
func ampChaCha(out *[16]uint32, ctr uint32) {
	const c0, c1, c2, c3 = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574
	k := &ampKey
	x0, x1, x2, x3 := uint32(c0), uint32(c1), uint32(c2), uint32(c3)
	x4, x5, x6, x7 := k[0], k[1], k[2], k[3]
	x8, x9, x10, x11 := k[4], k[5], k[6], k[7]
	x12, x13, x14, x15 := ctr, uint32(0), uint32(0), uint32(0)
	for i := 0; i < 10; i++ {
		x0, x4, x8, x12 = ampQuarter(x0, x4, x8, x12)
		x1, x5, x9, x13 = ampQuarter(x1, x5, x9, x13)
		x2, x6, x10, x14 = ampQuarter(x2, x6, x10, x14)
		x3, x7, x11, x15 = ampQuarter(x3, x7, x11, x15)
		x0, x5, x10, x15 = ampQuarter(x0, x5, x10, x15)
		x1, x6, x11, x12 = ampQuarter(x1, x6, x11, x12)
		x2, x7, x8, x13 = ampQuarter(x2, x7, x8, x13)
		x3, x4, x9, x14 = ampQuarter(x3, x4, x9, x14)
	}
	out[0], out[1], out[2], out[3] = x0+c0, x1+c1, x2+c2, x3+c3
	out[4], out[5], out[6], out[7] = x4+k[0], x5+k[1], x6+k[2], x7+k[3]
	out[8], out[9], out[10], out[11] = x8+k[4], x9+k[5], x10+k[6], x11+k[7]
	out[12], out[13], out[14], out[15] = x12+ctr, x13, x14, x15
}

// ampQuarter is small enough to be inlined, rotations and all.
//
//go:nosplit
func ampQuarter(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a += b
	d = (d^a)<<16 | (d^a)>>16
	c += d
	b = (b^c)<<12 | (b^c)>>20
	a += b
	d = (d^a)<<8 | (d^a)>>24
	c += d
	b = (b^c)<<7 | (b^c)>>25
	return a, b, c, d
}

// ampGetrandom is getrandom for the library OS's own packages.
//
//go:linkname ampGetrandom
func ampGetrandom(p unsafe.Pointer, n uintptr) {
	// On the system stack nothing preempts: the state is never half changed.
	systemstack(func() { ampRandom(uintptr(p), n) })
}
