package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// machines are sizes that boot asks for: a small machine, one with a large I/O
// region, and as much memory as is ever used.
var machines = []Sizes{
	{Shared: 4 * Page, IO: 0x80000, Window: 10 << 20},
	{Shared: 19 * Page, IO: 8 << 20, Window: 1 << 30, LargeIO: true},
	{Shared: 64 * Page, IO: 32 << 20, Window: MaxWindow, LargeIO: true},
}

func draw(t testing.TB, n *Sizes, secret [16]byte, seed string) *Drawn {
	t.Helper()
	d := &Drawn{}
	if !Draw(d, &secret, seed, n) {
		t.Fatalf("no places for %+v", n)
	}
	return d
}

// region is what Draw places.
type region struct {
	name                       string
	addr, size, unit, low, end uint64
	bits                       float64 // entropy promised in SPECIFICATION.md, at least
}

func regions(d *Drawn, n *Sizes) []region {
	unit, io := uint64(Page), 34.9
	if n.LargeIO {
		unit, io = Large, 25.9
	}
	return []region{
		{"gate", uint64(d.Gate), GateSize, Page, TopLow, TopEnd, 18.9},
		{"registers", uint64(d.Registers), TopSize, Page, TopLow, TopEnd, 18.9},
		{"descriptors", uint64(d.Descriptors), TopSize, Page, TopLow, TopEnd, 18.9},
		{"shared", uint64(d.Shared), n.Shared, Page, UserLow, UserEnd, 34.9},
		{"stacks", uint64(d.Stacks), StacksSize, Page, UserLow, UserEnd, 34.9},
		{"io", d.IO, n.IO, unit, UserLow, UserEnd, io},
		{"window", d.Window, n.Window, HeapUnit, UserLow, UserEnd, 24.9},
	}
}

// TestDraw holds many draws to the map: each region on its unit, within its
// half, and away from all others.
func TestDraw(t *testing.T) {
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	for i := range 9000 {
		n := &machines[i%len(machines)]
		var secret [16]byte
		binary.LittleEndian.PutUint64(secret[:], r.Uint64())
		binary.LittleEndian.PutUint64(secret[8:], r.Uint64())
		all := regions(draw(t, n, secret, "0123456789abcdef0123456789ab"), n)
		slices.SortFunc(all, func(a, b region) int {
			if a.addr < b.addr {
				return -1
			}
			return 1
		})
		for k, a := range all {
			if a.addr%a.unit != 0 || a.addr < a.low || a.addr+a.size > a.end {
				t.Fatalf("%s at %#x", a.name, a.addr)
			}
			if k > 0 && all[k-1].addr+all[k-1].size+Gap > a.addr {
				t.Fatalf("%s at %#x is too near to %s at %#x", a.name, a.addr, all[k-1].name, all[k-1].addr)
			}
		}
	}
}

// TestDrawEntropy measures the entropy of each place in two ways that a
// generator with too few choices fails: every bit above the unit is set in half
// of all draws, and pairs of equal places are as rare as the promised number of
// bits says (the Rényi entropy of order 2, from below).
func TestDrawEntropy(t *testing.T) {
	const draws = 1 << 14
	r := rand.New(rand.NewChaCha8([32]byte{2}))
	for _, n := range machines {
		var seen []map[uint64]int
		var ones [][64]int
		var all []region
		for i := range draws {
			var secret [16]byte
			binary.LittleEndian.PutUint64(secret[:], r.Uint64())
			all = regions(draw(t, &n, secret, "seed"), &n)
			for k, a := range all {
				if i == 0 {
					seen, ones = append(seen, map[uint64]int{}), append(ones, [64]int{})
				}
				seen[k][a.addr]++
				for bit := range 64 {
					ones[k][bit] += int(a.addr >> bit & 1)
				}
			}
		}
		for k, a := range all {
			pairs := 0
			for _, c := range seen[k] {
				pairs += c * (c - 1) / 2
			}
			// With 2^bits places, as many pairs are to be expected; five
			// standard deviations more are too many.
			expected := draws * (draws - 1) / 2 / math.Pow(2, a.bits)
			if limit := expected + 5*math.Sqrt(expected) + 2; float64(pairs) > limit {
				t.Errorf("%s: %d equal pairs in %d draws, %.2f bits allow %.1f", a.name, pairs, draws, a.bits, limit)
			}
			for bit := range 64 {
				if a.unit>>bit > 1 || 1<<bit >= (a.end-a.low)/2 {
					continue // below the unit, or where the range is no power of two
				}
				if 1<<bit < a.unit {
					continue
				}
				if c := ones[k][bit]; math.Abs(float64(c)-draws/2) > 6*math.Sqrt(draws)/2 {
					t.Errorf("%s: bit %d is set in %d of %d draws", a.name, bit, c, draws)
				}
			}
		}
	}
}

// The seed and the boot's secret both move everything, and the same two give the
// same map.
func TestDrawDepends(t *testing.T) {
	n := &machines[1]
	same := func(a, b *Drawn) (names []string) {
		for i, x := range regions(a, n) {
			if x.addr == regions(b, n)[i].addr {
				names = append(names, x.name)
			}
		}
		return names
	}
	base := draw(t, n, [16]byte{1}, "aa")
	if s := same(base, draw(t, n, [16]byte{1}, "aa")); len(s) != 7 {
		t.Errorf("the same input moves all but %v", s)
	}
	for name, d := range map[string]*Drawn{
		"seed": draw(t, n, [16]byte{1}, "ab"), "no seed": draw(t, n, [16]byte{1}, ""), "secret": draw(t, n, [16]byte{2}, "aa"),
		"secret's end": draw(t, n, [16]byte{0: 1, 15: 1}, "aa"),
		"seed's end":   draw(t, n, [16]byte{1}, "aa00000000000000000000000001"),
	} {
		if s := same(base, d); len(s) != 0 {
			t.Errorf("another %s leaves %v where they are", name, s)
		}
	}
}

// RFC 8439, section 2.3.2: the block function, with the RFC's constant in place
// of ours.
func TestGenerator(t *testing.T) {
	g := generator{}
	g.state = [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c,
		0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c, 1, 0x09000000, 0x4a000000, 0}
	g.next()
	want := "[e4e7f110 15593bd1 1fdd0f50 c47120a3 c7f4d1c7 0368c033 9aaa2204 4e6cd4c3 466482d2 09aa9f07 05d7c214 a2028bd9 d19c12b5 b94e16de e883d0cb 4e3c50a2]"
	if got := fmt.Sprintf("%08x", g.out); got != want {
		t.Errorf("block is %s, want %s", got, want)
	}
	if g.state[12] != 2 {
		t.Errorf("counter is %d", g.state[12])
	}
}
