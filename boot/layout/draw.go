package layout

import (
	"math/bits"

	"ampoule/libos/rt/rtabi"
)

// Bounds of what is drawn.
const (
	UserLow  = 1 << 32 // ring 3's regions lie from here
	UserEnd  = 1 << 47 // to here, the end of the lower half
	TopLow   = 1<<64 - 2<<30
	TopEnd   = 1<<64 - Large
	Gap      = Large // between any two regions, at least
	TopSize  = Large // room for Registers and for Descriptors
	HeapUnit = 4 << 20
)

// Sizes of regions whose size is known at boot only, in bytes.
type Sizes struct {
	Shared, IO, Window uint64
	LargeIO            bool // I/O region in large pages
}

// Drawn is where all regions are.
type Drawn struct {
	rtabi.Places
	IO, Window uint64
}

// StacksSize is the size of the region Stacks: three stacks, each over a guard,
// a guard and the clock page.
const StacksSize = MainStack + SignalStack + SystemStack + 5*Page

// maxTries bounds the draws for one region. Each fails with a probability below
// 1/100, so that all fail never happens.
const maxTries = 64

// Draw places all regions that boot may move: a function of secret, which is
// the boot's own randomness, and of the image's seed. It answers false when no
// place was found. It neither allocates nor needs the runtime.
func Draw(d *Drawn, secret *[16]byte, seed string, n *Sizes) bool {
	g := generator{left: 0}
	g.key(secret, seed)
	var t taken
	gate := g.place(&t, TopLow, TopEnd, GateSize, Page)
	registers := g.place(&t, TopLow, TopEnd, TopSize, Page)
	descriptors := g.place(&t, TopLow, TopEnd, TopSize, Page)
	unit := uint64(Page)
	if n.LargeIO {
		unit = Large
	}
	// The largest first: it needs most room.
	d.Window = g.place(&t, UserLow, UserEnd, n.Window, HeapUnit)
	d.IO = g.place(&t, UserLow, UserEnd, n.IO, unit)
	shared := g.place(&t, UserLow, UserEnd, n.Shared, Page)
	stacks := g.place(&t, UserLow, UserEnd, StacksSize, Page)
	d.Places = rtabi.Places{Gate: uintptr(gate), Registers: uintptr(registers), Descriptors: uintptr(descriptors),
		Shared: uintptr(shared), Stacks: uintptr(stacks)}
	return !t.failed
}

// taken is what has been placed, with the gap behind.
type taken struct {
	start, end [8]uint64
	n          int
	failed     bool
}

// free says whether size bytes at addr keep their distance from all others.
func (t *taken) free(addr, size uint64) bool {
	for i := 0; i < t.n && i < len(t.start); i++ {
		if addr < t.end[i]+Gap && t.start[i] < addr+size+Gap {
			return false
		}
	}
	return true
}

// place draws a multiple of unit for size bytes within [low, end).
func (g *generator) place(t *taken, low, end, size, unit uint64) uint64 {
	choices := (end-low-size)/unit + 1
	for try := 0; try < maxTries && t.n < len(t.start); try++ {
		// The high half of the product: as uniform as 64 bits are over so few.
		hi, _ := bits.Mul64(g.next(), choices)
		addr := low + hi*unit
		if t.free(addr, size) {
			t.start[t.n], t.end[t.n] = addr, addr+size
			t.n++
			return addr
		}
	}
	t.failed = true
	return 0
}

// generator is ChaCha20 (RFC 8439, section 2.3) with a constant of its own. Its
// key is half the boot's secret, half the seed.
type generator struct {
	state [16]uint32
	out   [16]uint32
	left  int
}

// key starts the generator. Of the seed, 28 bytes count.
func (g *generator) key(secret *[16]byte, seed string) {
	g.state[0], g.state[1], g.state[2], g.state[3] = 0x6f706d61, 0x20656c75, 0x6f79616c, 0x20207475 // "ampoule layout  "
	for i := 0; i < len(secret); i++ {
		g.state[4+i/4] |= uint32(secret[i]) << (i % 4 * 8)
	}
	for i := 0; i < 28 && i < len(seed); i++ {
		k := i / 4
		if k >= 4 {
			k++ // word 12 is the counter
		}
		g.state[8+k] |= uint32(seed[i]) << (i % 4 * 8)
	}
}

// next is 64 bits of the key stream.
func (g *generator) next() uint64 {
	if g.left < 2 {
		g.out = g.state
		for i := 0; i < 10; i++ {
			g.quarter(0, 4, 8, 12)
			g.quarter(1, 5, 9, 13)
			g.quarter(2, 6, 10, 14)
			g.quarter(3, 7, 11, 15)
			g.quarter(0, 5, 10, 15)
			g.quarter(1, 6, 11, 12)
			g.quarter(2, 7, 8, 13)
			g.quarter(3, 4, 9, 14)
		}
		for i := range g.out {
			g.out[i] += g.state[i]
		}
		g.state[12]++
		g.left = len(g.out)
	}
	g.left -= 2
	return uint64(g.out[g.left&15]) | uint64(g.out[(g.left+1)&15])<<32
}

func (g *generator) quarter(a, b, c, d int) {
	o := &g.out
	o[a] += o[b]
	o[d] = bits.RotateLeft32(o[d]^o[a], 16)
	o[c] += o[d]
	o[b] = bits.RotateLeft32(o[b]^o[c], 12)
	o[a] += o[b]
	o[d] = bits.RotateLeft32(o[d]^o[a], 8)
	o[c] += o[d]
	o[b] = bits.RotateLeft32(o[b]^o[c], 7)
}
