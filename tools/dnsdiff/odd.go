package dnsdiff

import "encoding/binary"

// odd makes something else than a well-formed query out of one.
func (g *Generator) odd(q []byte) []byte {
	end := questionEnd(q)
	switch g.rng.IntN(16) {
	case 0: // ends too early
		return q[:g.rng.IntN(len(q))]
	case 1: // goes on
		return append(q, g.letters(1+g.rng.IntN(20))...)
	case 2: // a response
		q[2] |= 0x80
	case 3: // another operation
		q[2] = q[2]&^0x78 | byte(1+g.rng.IntN(15))<<3
	case 4: // an rcode
		q[3] |= byte(1 + g.rng.IntN(15))
	case 5:
		for range 1 + g.rng.IntN(3) {
			q[g.rng.IntN(len(q))] ^= 1 << g.rng.IntN(8)
		}
	case 6: // counts that are not true
		q[5+2*g.rng.IntN(4)] = byte(g.rng.IntN(4))
	case 7: // two questions
		q[5] = 2
		return append(q[:end:end], append(append([]byte(nil), q[12:end]...), q[end:]...)...)
	case 8: // no question
		q[5] = 0
		if g.one(2) {
			return append(q[:12:12], q[end:]...)
		}
	case 9:
		return g.pointer(q, end)
	case 10: // label types that are not in use
		q[12] = q[12]&0x3f | pick[byte](g, 0x40, 0x80)
	case 11: // a name that is too long
		name := []byte{}
		for len(name) < 250+g.rng.IntN(100) {
			name = append(append(name, 31), g.letters(31)...)
		}
		return append(append(q[:12:12], name...), q[12:]...)
	case 12, 13:
		return g.records(q, end)
	case 14:
		return g.badOpt(q, end)
	case 15:
		b := make([]byte, g.rng.IntN(40))
		for i := range b {
			b[i] = byte(g.rng.Uint32())
		}
		return b
	}
	return q
}

// questionEnd returns where the question of a well-formed query ends.
func questionEnd(q []byte) int {
	at := 12
	for q[at] != 0 {
		at += 1 + int(q[at])
	}
	return at + 5
}

// pointer puts a compression pointer into the question's name.
func (g *Generator) pointer(q []byte, end int) []byte {
	to := pick[byte](g, 0, 4, 12, 12, 13, byte(len(q)-1), 255)
	label := append(append([]byte{3}, g.letters(3)...), 0xc0, to)
	if g.one(2) {
		label = label[4:]
	}
	return append(append(q[:12:12], label...), q[end-4:]...)
}

// records puts records where a query has none.
func (g *Generator) records(q []byte, end int) []byte {
	section := 1 + g.rng.IntN(3)
	q[5+2*section]++
	record := append(append([]byte(nil), q[12:end-4]...), 0, byte(pick(g, typeA, typeSOA, typeNS)), 0, 1, 0, 0, 0, 0)
	data := g.letters(pick(g, 0, 4, 22))
	record = binary.BigEndian.AppendUint16(record, uint16(len(data)))
	record = append(record, data...)
	if section == 3 && g.one(2) { // behind the OPT record
		return append(q, record...)
	}
	return append(q[:end:end], append(record, q[end:]...)...)
}

// badOpt puts a broken OPT record into the message, or one too many, or at the
// wrong place.
func (g *Generator) badOpt(q []byte, end int) []byte {
	opt := []byte{0, 0, typeOPT, 4, 0xd0, 0, 0, 0, 0, 0, 0}
	switch g.rng.IntN(6) {
	case 0:
		q[11]++
		return append(q, opt...)
	case 1: // an owner
		q[11]++
		return append(q, append([]byte{1, 'x'}, opt...)...)
	case 2: // in another section
		q[5+2*(1+g.rng.IntN(2))]++
		return append(q[:end:end], append(opt, q[end:]...)...)
	case 3: // the option goes beyond its record
		q[11]++
		opt[10] = 6
		return append(q, append(opt, 0, 3, 0, 9, 'a', 'b')...)
	case 4: // half an option
		q[11]++
		opt[10] = 3
		return append(q, append(opt, 0, 3, 0)...)
	}
	q[11]++ // the record goes beyond the message
	opt[10] = 20
	return append(q, append(opt, 0, 3, 0, 9, 'a', 'b')...)
}
