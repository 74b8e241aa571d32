package image

import (
	"cmp"
	"slices"
)

// Packed tables are what the runtime of an appliance reads instead of a _func
// and of a tree of inlined calls, which take a third of the tables
// (libos/rt/_runtime/amp_func.go, which must agree with this file). Numbers are in
// groups of seven bits, lowest first, the last below 0x80. A place is a number:
// an even one is twice the distance from the place that was last met for the
// first time, an odd one twice the place and one.
//
//	uint32    where the callees are, from here
//	uint32s   where each batch of 8 functions is, from here
//	batches   the place last met; functions
//	callees   uint32: name, in the upper byte the funcID; uint32: line it starts at
//
// A function, in the order of their addresses:
//
//	number    count of pcdata, from bit 3 on count of funcdata
//	number    bit 0: has a deferreturn, bit 1: has lines, bits 2 to 6: flag; funcID
//	place     name
//	number    args, with the sign in the lowest bit
//	number    deferreturn, if it has one
//	place     pcsp
//	place     pcfile, pcln; numbers: cu, start line; if it has lines
//	places    pcdata, then funcdata, 0 for none
//
// An inlined call is the number of its callee, and how far its parentPc is from
// that of the call before, with the sign in the lowest bit.
//
// Names, tables and data lie wherever there is room (arena), and all places are
// distances from the start of the type descriptors. What several functions refer
// to comes first, what most do before the rest, so that its place is a small number.
type packed struct {
	batches  []uint32
	funcs    []byte
	callees  []byte
	calleeNo map[callee]uint32
	space    uint32 // that the functions take when unpacked
	last     uint32 // place that was last met for the first time
	arena    *arena
}

// unpacker is the function of the runtime that reads packed tables.
const unpacker = "\x00runtime.ampUnpackBatch\x00"

const (
	batchSize = 8       // functions
	tooFar    = 1 << 13 // between places, for which both ways take as long

	callName, callParent, callStart, callSize = 4, 8, 12, 16 // in an inlinedCall
)

// callee is a function that was inlined; its name is in the old table.
type callee struct {
	name, start uint32
	id          byte
}

func calleeAt(b []byte) callee {
	return callee{le.Uint32(b[callName:]), le.Uint32(b[callStart:]), b[0]}
}

// number appends v in groups of seven bits.
func number(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func signed(b []byte, v int32) []byte { return number(b, uint32(v)<<1^uint32(v>>31)) }

// place appends where something is.
func place(b []byte, v uint32, last *uint32) []byte {
	if v > *last && v-*last < tooFar {
		b = number(b, (v-*last)<<1)
		*last = v
		return b
	}
	return number(b, v<<1|1)
}

// byUse are the keys that were counted at least twice, the most frequent first.
func byUse[K comparable](n map[K]int, least int, order func(a, b K) int) []K {
	var keys []K
	for k, v := range n {
		if v >= least {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b K) int { return cmp.Or(n[b]-n[a], order(a, b)) })
	return keys
}

// share places what several of the functions refer to.
func (c *compact) share(fs []*function) {
	c.pack.calleeNo = map[callee]uint32{}
	tables, data, callees := map[uint32]int{}, map[dataKey]int{}, map[callee]int{}
	for _, f := range fs {
		for _, off := range []int{fPCSP, fPCFile, fPCLn} {
			tables[f.get(off)]++
		}
		for _, v := range f.pcdata {
			tables[v]++
		}
		for i, v := range f.data {
			if v == none {
				continue
			}
			key := keyOf(i, v, f.calls)
			if data[key]++; i != dataInlTree || data[key] > 1 {
				continue
			}
			for k := range f.calls {
				if at := int64(v) + int64(k)*callSize; at+callSize <= int64(len(c.old.gofunc)) {
					callees[calleeAt(c.old.gofunc[at:])]++
				}
			}
		}
	}
	for _, e := range byUse(callees, 1, func(a, b callee) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.start, b.start), cmp.Compare(a.id, b.id))
	}) {
		name := c.name(c.text(e.name))
		if name >= 1<<24 {
			c.fail("names of %d bytes", name)
		}
		c.pack.calleeNo[e] = uint32(len(c.pack.callees) / 8)
		c.pack.callees = le.AppendUint32(c.pack.callees, name|uint32(e.id)<<24)
		c.pack.callees = le.AppendUint32(c.pack.callees, e.start)
	}
	for _, off := range byUse(tables, 2, cmp.Compare[uint32]) {
		c.table(off)
	}
	for _, key := range byUse(data, 2, func(a, b dataKey) int {
		return cmp.Or(a.kind-b.kind, cmp.Compare(a.off, b.off), a.calls-b.calls)
	}) {
		c.blob(key)
	}
}

// tree packs a tree of inlined calls.
func (p *packed) tree(b []byte) (out []byte) {
	parent := int32(0)
	for ; len(b) >= callSize; b = b[callSize:] {
		out = number(out, p.calleeNo[calleeAt(b)])
		at := int32(le.Uint32(b[callParent:]))
		out = signed(out, at-parent)
		parent = at
	}
	return out
}

// packFunction adds function i, whose references are to the new tables.
func (c *compact) packFunction(i int, f *function) {
	p := c.pack
	if len(f.pcdata) > 7 || f.fixed[fFlag] > 0x1f || f.get(fEntry) != le.Uint32(c.funcs[8*i:]) {
		c.fail("%s does not fit the packed tables", f.name)
	}
	if i%batchSize == 0 {
		p.batches = append(p.batches, uint32(len(p.funcs)))
		p.funcs = number(p.funcs, p.last)
	}
	le.PutUint32(c.funcs[8*i+4:], p.space)
	p.space += funcSize + 4*uint32(len(f.pcdata)+len(f.data))
	kind := uint32(f.fixed[fFlag])<<2 | uint32(f.fixed[fFuncID])<<7
	lines := f.get(fCU) != none || f.get(fPCFile)|f.get(fPCLn)|f.get(fStartLine) != 0
	if lines {
		kind |= 2
	}
	back := f.get(fDefer)
	if back != 0 {
		kind |= 1
	}
	b := number(p.funcs, uint32(len(f.pcdata)|len(f.data)<<3))
	b = place(number(b, kind), f.get(fName), &p.last)
	b = signed(b, int32(f.get(fArgs)))
	if back != 0 {
		b = number(b, back)
	}
	b = place(b, f.get(fPCSP), &p.last)
	if lines {
		b = place(b, f.get(fPCFile), &p.last)
		b = place(b, f.get(fPCLn), &p.last)
		b = number(number(b, f.get(fCU)), f.get(fStartLine))
	}
	for _, v := range f.pcdata {
		b = place(b, v, &p.last)
	}
	for _, v := range f.data {
		if v == none {
			v = 0
		}
		b = place(b, v, &p.last)
	}
	p.funcs = b
}

// bytes is all of it.
func (p *packed) bytes() []byte {
	head := uint32(4 + 4*len(p.batches))
	n := (head + uint32(len(p.funcs)) + 3) &^ 3
	out := le.AppendUint32(nil, n)
	for _, at := range p.batches {
		out = le.AppendUint32(out, head+at)
	}
	out = append(out, p.funcs...)
	out = append(out, make([]byte, int(n)-len(out))...)
	return append(out, p.callees...)
}

// memory is what the functions take when unpacked, and a byte for each batch.
func (p *packed) memory() uint64 { return uint64(p.space) + uint64(len(p.batches)) }
