package ecdh

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"internal/cpu"
	"math/big"
	"testing"
)

var ampPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func (x *ampElement) value() *big.Int {
	v := new(big.Int)
	for i := 3; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(x[i]))
	}
	return v
}

// ampEdges are elements of which every carry is made: words that are all ones or nearly,
// 0, and the neighbours of what comes in again; and values about the prime, its double,
// and 2^256.
func ampEdges() (all []ampElement) {
	words := []uint64{0, 1, 19, 38, 1 << 63, 1<<63 - 1, ^uint64(0) - 38, ^uint64(0) - 37, ^uint64(0) - 19, ^uint64(0)}
	for _, a := range words {
		for _, b := range []uint64{0, 1, ^uint64(0) - 1, ^uint64(0)} {
			for _, c := range []uint64{0, ^uint64(0)} {
				for _, d := range []uint64{0, 1<<63 - 1, 1 << 63, ^uint64(0) - 1, ^uint64(0)} {
					all = append(all, ampElement{a, b, c, d})
				}
			}
		}
	}
	for n := uint64(0); n < 40; n++ {
		all = append(all, ampElement{-n - 1, ^uint64(0), ^uint64(0), 1<<63 - 1}, ampElement{n, 0, 0, 1 << 63}, ampElement{-n - 1, ^uint64(0), ^uint64(0), ^uint64(0)})
	}
	return all
}

func ampRandom(t testing.TB) (x ampElement) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		x[i/8] = x[i/8]<<8 | uint64(b[i])
	}
	return x
}

func ampNeed(t testing.TB) {
	if !ampFast() {
		t.Skip("this CPU has no MULX")
	}
}

func ampSame(t *testing.T, what string, got *ampElement, want *big.Int) {
	t.Helper()
	if new(big.Int).Mod(new(big.Int).Sub(got.value(), want), ampPrime).Sign() != 0 {
		t.Fatalf("%s: %#x, want %#x", what, got.value(), want)
	}
}

// TestAmpField compares products, squares and the one value below the prime with
// math/big's, in all pairs of edges and for random elements, and where operands are one.
func TestAmpField(t *testing.T) {
	ampNeed(t)
	edges := ampEdges()
	for range 200 {
		edges = append(edges, ampRandom(t))
	}
	for _, x := range edges {
		var z ampElement
		ampSquare(&z, &x)
		want := new(big.Int).Mul(x.value(), x.value())
		ampSame(t, "square", &z, want)
		z = x
		ampSquare(&z, &z)
		ampSame(t, "square in place", &z, want)
		var b [32]byte
		x.put(b[:])
		for i := range 16 {
			b[i], b[31-i] = b[31-i], b[i]
		}
		if got := new(big.Int).SetBytes(b[:]); got.Cmp(new(big.Int).Mod(x.value(), ampPrime)) != 0 {
			t.Fatalf("%#x is put as %#x", x.value(), got)
		}
		for _, y := range edges {
			ampMultiply(&z, &x, &y)
			want := new(big.Int).Mul(x.value(), y.value())
			ampSame(t, "product", &z, want)
			z = y
			ampMultiply(&z, &x, &z)
			ampSame(t, "product in place", &z, want)
		}
	}
}

// TestAmpInvert holds the inverse, and 0 of 0.
func TestAmpInvert(t *testing.T) {
	ampNeed(t)
	for _, x := range append(ampEdges()[:50], ampRandom(t), ampRandom(t), ampElement{}) {
		var z ampElement
		z.invert(&x)
		want := new(big.Int).Exp(x.value(), new(big.Int).Sub(ampPrime, big.NewInt(2)), ampPrime)
		ampSame(t, "inverse", &z, want)
	}
}

// TestAmpStep compares a step with RFC 7748's, done with math/big, for random states and
// for those of edges.
func TestAmpStep(t *testing.T) {
	ampNeed(t)
	edges := ampEdges()
	pick := 0
	next := func(random bool) ampElement {
		if random {
			return ampRandom(t)
		}
		pick = (pick*31 + 7) % (1 << 30)
		return edges[pick%len(edges)]
	}
	for n := range 20000 {
		s := ampLadder{next(n%2 == 0), next(n%3 == 0), next(n%5 == 0), next(n%2 == 0), next(n%7 == 0)}
		before := s
		swap := uint64(n & 1)
		ampStep(&s, swap)
		v := func(i int) *big.Int { return before[i].value() }
		x2, z2, x3, z3 := v(ampX2), v(ampZ2), v(ampX3), v(ampZ3)
		if swap == 1 {
			x2, x3, z2, z3 = x3, x2, z3, z2
		}
		add := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
		sub := func(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }
		mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
		a, b := add(x2, z2), sub(x2, z2)
		aa, bb := mul(a, a), mul(b, b)
		e := sub(aa, bb)
		da, cb := mul(sub(x3, z3), a), mul(add(x3, z3), b)
		ampSame(t, "x1", &s[ampX1], v(ampX1))
		ampSame(t, "x2", &s[ampX2], mul(aa, bb))
		ampSame(t, "z2", &s[ampZ2], mul(e, add(aa, mul(big.NewInt(121665), e))))
		ampSame(t, "x3", &s[ampX3], mul(add(da, cb), add(da, cb)))
		ampSame(t, "z3", &s[ampZ3], mul(v(ampX1), mul(sub(da, cb), sub(da, cb))))
	}
}

// ampStock is the ladder as it is without MULX.
func ampStock(dst, scalar, point []byte) {
	had := cpu.X86.HasBMI2
	cpu.X86.HasBMI2 = false
	x25519ScalarMult(dst, scalar, point)
	cpu.X86.HasBMI2 = had
}

// TestAmpX25519 compares secrets with the stock ladder's, for random keys and for points
// that are of low order, not reduced, or have the bit that is not looked at; and public
// keys with multiples of the base point.
func TestAmpX25519(t *testing.T) {
	ampNeed(t)
	points := [][]byte{}
	for _, x := range ampEdges() {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(x[i/8] >> (8 * (i % 8)))
		}
		points = append(points, b)
	}
	for _, low := range []string{
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	} {
		b, err := hex.DecodeString(low)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, b)
	}
	for range 500 {
		b := make([]byte, 32)
		rand.Read(b)
		points = append(points, b)
	}
	nine := append([]byte{9}, make([]byte, 31)...)
	got, want := make([]byte, 32), make([]byte, 32)
	for i, p := range points {
		k := make([]byte, 32)
		rand.Read(k)
		if i%16 == 0 {
			copy(k, bytes.Repeat([]byte{byte(i)}, 32))
		}
		x25519ScalarMult(got, k, p)
		if ampStock(want, k, p); !bytes.Equal(got, want) {
			t.Fatalf("%x times %x: %x, want %x", k, p, got, want)
		}
		ampX25519Public(got, k)
		if ampStock(want, k, nine); !bytes.Equal(got, want) {
			t.Fatalf("public key of %x: %x, want %x", k, got, want)
		}
	}
}

// TestAmpRFC7748 is section 5.2, with 1,000 iterations.
func TestAmpRFC7748(t *testing.T) {
	ampNeed(t)
	k := append([]byte{9}, make([]byte, 31)...)
	u := bytes.Clone(k)
	for i := range 1000 {
		r := make([]byte, 32)
		ampX25519(r, k, u)
		k, u = r, k
		want := map[int]string{0: "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079", 999: "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"}[i]
		if got := hex.EncodeToString(k); want != "" && got != want {
			t.Fatalf("after %d: %s, want %s", i+1, got, want)
		}
	}
}
