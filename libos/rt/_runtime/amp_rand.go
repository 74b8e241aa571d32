package runtime

import "unsafe"

// The source of all randomness after boot: ChaCha20 (RFC 8439) with fast key
// erasure. Each request derives a new key before it answers, so an old state
// cannot be computed from a later one; and where the CPU has RDRAND each
// request mixes fresh output into the key, so two VMs cloned from one memory
// image part at once.
var (
	ampKey   [8]uint32
	ampLastR uint64
)

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
	ampStir()
	var out [16]uint32
	for ctr := uint32(1); n > 0; ctr++ {
		ampChaCha(&out, ctr)
		b := uintptr(unsafe.Pointer(&out))
		for i := uintptr(0); i < 64 && n > 0; i++ {
			*(*byte)(unsafe.Pointer(p)) = *(*byte)(unsafe.Pointer(b + i))
			p, n = p+1, n-1
		}
	}
	ampChaCha(&out, 0)
	for i := range ampKey {
		ampKey[i] = out[i]
	}
	memclrNoHeapPointers(unsafe.Pointer(&out), unsafe.Sizeof(out))
}

// ampStir mixes 128 bits from RDRAND into the key. Broken generators have been
// seen to repeat one value with the carry flag set.
//
//go:nosplit
func ampStir() {
	if ampBoot.Features&ampFeatureRDRAND == 0 {
		return
	}
	for i := 0; i < 4; i += 2 {
		v, ok := ampRDRAND()
		if !ok || v == ampLastR || v == 0 || v == ^uint64(0) {
			if v, ok = ampRDRAND(); !ok || v == ampLastR || v == 0 || v == ^uint64(0) {
				ampDie(ampExitEntropy, "RDRAND failed", 0)
			}
		}
		ampLastR = v
		ampKey[i] ^= uint32(v)
		ampKey[i+1] ^= uint32(v >> 32)
	}
}

// ampChaCha writes block ctr of the key stream.
//
//go:nosplit
func ampChaCha(out *[16]uint32, ctr uint32) {
	out[0], out[1], out[2], out[3] = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574
	for i := range ampKey {
		out[4+i] = ampKey[i]
	}
	out[12], out[13], out[14], out[15] = ctr, 0, 0, 0
	x := *out
	for i := 0; i < 10; i++ {
		ampQuarter(&x, 0, 4, 8, 12)
		ampQuarter(&x, 1, 5, 9, 13)
		ampQuarter(&x, 2, 6, 10, 14)
		ampQuarter(&x, 3, 7, 11, 15)
		ampQuarter(&x, 0, 5, 10, 15)
		ampQuarter(&x, 1, 6, 11, 12)
		ampQuarter(&x, 2, 7, 8, 13)
		ampQuarter(&x, 3, 4, 9, 14)
	}
	for i := range x {
		out[i] += x[i]
	}
}

//go:nosplit
func ampQuarter(x *[16]uint32, a, b, c, d uint32) {
	xa, xb, xc, xd := x[a&15], x[b&15], x[c&15], x[d&15]
	xa += xb
	xd = (xd^xa)<<16 | (xd^xa)>>16
	xc += xd
	xb = (xb^xc)<<12 | (xb^xc)>>20
	xa += xb
	xd = (xd^xa)<<8 | (xd^xa)>>24
	xc += xd
	xb = (xb^xc)<<7 | (xb^xc)>>25
	x[a&15], x[b&15], x[c&15], x[d&15] = xa, xb, xc, xd
}

// ampGetrandom is getrandom for the library OS's own packages.
//
//go:linkname ampGetrandom
func ampGetrandom(p unsafe.Pointer, n uintptr) {
	// On the system stack nothing preempts: the state is never half changed.
	systemstack(func() { ampRandom(uintptr(p), n) })
}
