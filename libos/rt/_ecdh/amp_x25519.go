package ecdh

import (
	"crypto/internal/fips140/edwards25519"
	"crypto/internal/fips140/edwards25519/field"
	"internal/byteorder"
	"internal/cpu"
	"math/bits"
)

// ampElement is an element of GF(2^255-19) in four words, least first, of any value below
// 2^256. The stock implementation has five words of 51 bits, for which a product takes
// twice the instructions.
type ampElement [4]uint64

// ampLadder is what a step of the ladder works on; the assembly has the same order.
type ampLadder [7]ampElement

const (
	ampX1 = iota
	ampX2
	ampZ2
	ampX3
	ampZ3
)

// ampStep exchanges x2 with x3 and z2 with z3 if swap is 1, and then is one step of RFC
// 7748, section 5. It takes as long whatever the values.
//
//go:noescape
func ampStep(s *ampLadder, swap uint64)

// ampMultiply is z = x * y.
//
//go:noescape
func ampMultiply(z, x, y *ampElement)

// ampSquare is z = x * x.
//
//go:noescape
func ampSquare(z, x *ampElement)

// ampFast says whether the CPU has the instructions (MULX) of the functions above.
func ampFast() bool { return cpu.X86.HasBMI2 }

// ampX25519 is RFC 7748, section 5, in constant time, as x25519ScalarMult.
func ampX25519(dst, scalar, point []byte) {
	var e [32]byte
	copy(e[:], scalar)
	e[0] &= 248
	e[31] &= 127
	e[31] |= 64

	var s ampLadder
	for i := range 4 {
		s[ampX1][i] = byteorder.LEUint64(point[8*i:])
	}
	s[ampX1][3] &= 1<<63 - 1
	s[ampX2][0], s[ampX3], s[ampZ3][0] = 1, s[ampX1], 1
	swap := uint64(0)
	for pos := 254; pos >= 0; pos-- {
		b := uint64(e[pos/8]>>(pos%8)) & 1
		ampStep(&s, swap^b)
		swap = b
	}
	// The scalar's last bit is 0, so that nothing is left to be exchanged.
	var z ampElement
	z.invert(&s[ampZ2])
	ampMultiply(&z, &z, &s[ampX2])
	z.put(dst)
}

// invert is z = x^(p-2), and 0 of 0.
func (z *ampElement) invert(x *ampElement) {
	power := func(z, x *ampElement, n int) { // z = x^(2^n)
		ampSquare(z, x)
		for range n - 1 {
			ampSquare(z, z)
		}
	}
	var x9, x11, five, ten, fifty, hundred, t ampElement // words: x^(2^n-1)
	ampSquare(&x11, x)
	power(&t, &x11, 2)
	ampMultiply(&x9, &t, x)
	ampMultiply(&x11, &x11, &x9)
	ampSquare(&t, &x11)
	ampMultiply(&five, &t, &x9)
	power(&t, &five, 5)
	ampMultiply(&ten, &t, &five)
	power(&t, &ten, 10)
	ampMultiply(&fifty, &t, &ten) // 2^20-1
	power(&t, &fifty, 20)
	ampMultiply(&t, &t, &fifty) // 2^40-1
	power(&t, &t, 10)
	ampMultiply(&fifty, &t, &ten)
	power(&t, &fifty, 50)
	ampMultiply(&hundred, &t, &fifty)
	power(&t, &hundred, 100)
	ampMultiply(&t, &t, &hundred) // 2^200-1
	power(&t, &t, 50)
	ampMultiply(&t, &t, &fifty) // 2^250-1
	power(&t, &t, 5)
	ampMultiply(z, &t, &x11) // 2^255-21
}

// put writes the one value below the prime that x stands for.
func (x *ampElement) put(dst []byte) {
	// 2^255 is 19, which leaves less than 2^255+19. From the prime on, 19 more have bit
	// 255, and without it are the value less the prime.
	y := *x
	y[3] &= 1<<63 - 1
	y = y.plus(19 * (x[3] >> 63))
	reduced := y.plus(19)
	mask := -(reduced[3] >> 63)
	reduced[3] &= 1<<63 - 1
	for i := range 4 {
		byteorder.LEPutUint64(dst[8*i:], y[i]&^mask|reduced[i]&mask)
	}
}

// plus is x + n, which must not be above 2^256.
func (x ampElement) plus(n uint64) ampElement {
	for i := range x {
		x[i], n = bits.Add64(x[i], n, 0)
	}
	return x
}

// ampX25519Public is the public key of a private one. That is a multiple of the base
// point, for which Edwards25519 has tables: its y gives u = (1+y)/(1-y) (RFC 7748 section
// 4.1).
func ampX25519Public(public, private []byte) {
	k, err := edwards25519.NewScalar().SetBytesWithClamping(private)
	if err != nil {
		panic(err)
	}
	b := new(edwards25519.Point).ScalarBaseMult(k).Bytes()
	b[31] &= 127 // the rest is y
	var y, one, u, d field.Element
	y.SetBytes(b)
	one.One()
	d.Invert(d.Subtract(&one, &y))
	u.Multiply(u.Add(&one, &y), &d)
	copy(public, u.Bytes())
}
