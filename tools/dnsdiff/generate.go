package dnsdiff

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
)

// Question is a message and how it is sent.
type Question struct {
	Msg []byte
	TCP bool
}

// newQuestion is a plain query for a name in wire format.
func newQuestion(name string, rrtype uint16) Question {
	msg := append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
	return Question{Msg: append(msg, byte(rrtype>>8), byte(rrtype), 0, 1)}
}

// Generator makes questions about all names of some zones and names near them. The
// same seed and names give the same questions.
type Generator struct {
	rng     *rand.Rand
	names   []string
	origins []string
}

// NewGenerator makes questions about the zones.
func NewGenerator(seed uint64, zones []Zone) *Generator {
	g := &Generator{rng: rand.New(rand.NewPCG(seed, 0))}
	for _, z := range zones {
		g.names = append(g.names, z.Names...)
		g.origins = append(g.origins, z.table.Name(z.table.Apex()))
	}
	g.names = append(g.names, "\x00", "\x03com\x00", "\x03org\x00", "\x07example\x03com\x00",
		"\x07version\x04bind\x00", "\x02id\x06server\x00")
	return g
}

// Next makes a question. One in eight is not well-formed, or not a query.
func (g *Generator) Next() Question {
	q := g.query()
	if g.one(8) {
		q = g.odd(q)
	}
	return Question{Msg: q, TCP: g.one(20)}
}

// one is true once in n times.
func (g *Generator) one(n int) bool { return g.rng.IntN(n) == 0 }

func pick[T any](g *Generator, from ...T) T { return from[g.rng.IntN(len(from))] }

// query makes a well-formed query.
func (g *Generator) query() []byte {
	q := binary.BigEndian.AppendUint16(nil, uint16(g.rng.Uint32()))
	flags := pick[uint16](g, 0, 0, 0, 0x100, 0x100, 0x110, 0x120, 0x130, 0x10, 0x20, 0x40, 0x80, 0x400, 0x200)
	q = binary.BigEndian.AppendUint16(q, flags)
	q = append(q, 0, 1, 0, 0, 0, 0, 0, 0)
	q = append(q, g.name()...)
	q = binary.BigEndian.AppendUint16(q, g.rrtype())
	q = binary.BigEndian.AppendUint16(q, g.class())
	if g.rng.IntN(3) > 0 {
		q = g.opt(q)
	}
	return q
}

// rrtype makes a type: mostly one that is there somewhere.
func (g *Generator) rrtype() uint16 {
	switch g.rng.IntN(12) {
	case 0: // any of the types assigned, and those between
		return uint16(1 + g.rng.IntN(110))
	case 1:
		return pick[uint16](g, 0, 10, 41, 128, 249, typeIXFR, typeAXFR, 253, 254, typeANY, 256, 257, 258, 259, 260, 731, 32768, 32769, 65280, 65534, 65535)
	case 2:
		return typeANY
	case 3:
		return uint16(g.rng.Uint32())
	}
	return pick[uint16](g, typeA, typeA, typeA, typeAAAA, typeNS, typeCNAME, typeSOA, 12, typeMX, 16, typeSRV, 35, typeDNAME,
		typeDS, typeRRSIG, typeNSEC, 48, typeNSEC3, 51, 52, 65, 257)
}

func (g *Generator) class() uint16 {
	if g.one(30) {
		return pick(g, classCH, 4, 254, classANY, 0, uint16(g.rng.Uint32()))
	}
	return classIN
}

// name makes a name: one that is there, or one some steps away from it.
func (g *Generator) name() []byte {
	name := g.names[g.rng.IntN(len(g.names))]
	for range g.rng.IntN(3) {
		if next := g.step(name); fits(next) {
			name = next
		}
	}
	b := []byte(name)
	if g.one(2) {
		for i := range b {
			if b[i] >= 'a' && b[i] <= 'z' && g.one(3) {
				b[i] -= 'a' - 'A'
			} else if b[i] >= 'A' && b[i] <= 'Z' && g.one(3) && !length(b, i) {
				b[i] += 'a' - 'A'
			}
		}
	}
	return b
}

// length says whether b[i] is a length octet of the name b.
func length(b []byte, i int) bool {
	at := 0
	for at < i {
		at += 1 + int(b[at])
	}
	return at == i
}

// fits says whether a name keeps to the limits of RFC 1035 section 2.3.4.
func fits(name string) bool { return len(name) <= 255 }

// step makes a name near another.
func (g *Generator) step(name string) string {
	first, rest := "", name
	if name[0] != 0 {
		first, rest = name[1:1+name[0]], name[1+name[0]:]
	}
	join := func(label, rest string) string {
		if label == "" || len(label) > 63 {
			return rest
		}
		return string(rune(len(label))) + label + rest
	}
	switch g.rng.IntN(11) {
	case 0:
		return rest
	case 1:
		return join("*", name)
	case 2:
		return join("*", rest)
	case 3:
		return join(g.label(), name)
	case 4:
		return join(g.label(), rest)
	case 5: // just behind it in canonical order
		return join(first+"\x00", rest)
	case 6: // at the edges of an octet
		if first == "" {
			return name
		}
		end := first[len(first)-1]
		return join(first[:len(first)-1]+string([]byte{end + pick[byte](g, 1, 255)}), rest)
	case 7: // first and last below it
		return join(pick(g, "\x00", "\xff", "!", "~"), name)
	case 8: // as long as it can be
		for len(name) < 255 {
			n := min(64, 255-len(name))
			if n == 1 {
				break
			}
			name = join(string(g.letters(n-1)), name)
		}
		return name
	case 9: // a label out of the middle is gone
		if rest != "" && rest[0] != 0 {
			return join(first, rest[1+rest[0]:])
		}
		return name
	}
	// The same label in another zone or at another place.
	other := g.names[g.rng.IntN(len(g.names))]
	if g.one(2) {
		other = pick(g, g.origins...)
	}
	return join(first, other)
}

// label makes a label.
func (g *Generator) label() string {
	switch g.rng.IntN(6) {
	case 0:
		return string(g.letters(63))
	case 1: // any octets
		b := make([]byte, 1+g.rng.IntN(8))
		for i := range b {
			b[i] = byte(g.rng.Uint32())
		}
		return string(b)
	case 2:
		return pick(g, "www", "ns1", "a", "x", "host", "sub", "_tcp", "\\", "a.b", "\x00", "xn--bcher-kva", "0", "zzzz")
	}
	other := g.names[g.rng.IntN(len(g.names))]
	if other[0] == 0 || g.one(3) {
		return string(g.letters(1 + g.rng.IntN(12)))
	}
	return other[1 : 1+other[0]]
}

func (g *Generator) letters(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + g.rng.IntN(26))
	}
	return b
}

// opt appends an OPT record, and counts it.
func (g *Generator) opt(q []byte) []byte {
	q[11]++
	q = append(q, 0, 0, typeOPT)
	size := pick(g, 0, 1, 511, 512, 513, 1200, 1231, 1232, 1232, 1232, 4096, 65535, uint16(g.rng.UintN(1500)))
	q = binary.BigEndian.AppendUint16(q, size)
	version := byte(0)
	if g.one(20) {
		version = pick[byte](g, 1, 2, 255)
	}
	z := uint16(0)
	if g.one(2) {
		z = 0x8000
	}
	if g.one(20) {
		z |= uint16(g.rng.Uint32()) & 0x7fff
	}
	q = append(q, 0, version)
	q = binary.BigEndian.AppendUint16(q, z)
	known := []string{"\x00\x03\x00\x00", "\x00\x0c\x00\x02\x00\x00", "\x00\x0a\x00\x08abcdefgh", "\xff\xff\x00\x03abc",
		"\x00\x64\x00\x00", "\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02", "\x00\x05\x00\x01\x08", "\x00\x0b\x00\x00"}
	options := ""
	for g.one(4) { // NSD breaks its own OPT record when it is asked for the NSID twice
		if o := pick(g, known...); !strings.Contains(options, o) {
			options += o
		}
	}
	q = binary.BigEndian.AppendUint16(q, uint16(len(options)))
	return append(q, options...)
}
