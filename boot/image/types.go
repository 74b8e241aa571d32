package image

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Type descriptors are a sixth of an image: the linker keeps those of all fields
// of all types that it keeps, for reflection. Where no function that is linked
// could look at them, what nothing else refers to is given back (holes), and the
// function tables, which can lie anywhere in their segment, move in. No live
// descriptor moves.
//
// What the runtime itself reads stays: name, methods that may be called through
// an interface, and what type is in a pointer, array, slice, map, channel,
// function or interface. It looks at fields (Go 1.26: runtime/alg.go and type.go,
// internal/runtime/maps, unique) of types that can be compared but not as plain
// memory, and of those whose pointer masks it makes itself.

// Layout of abi.Type and what follows it (internal/abi/type.go).
const (
	tFlag, tKind, tEqual, tStr, tPtrTo, typeSize = 20, 23, 24, 40, 44, 48

	uncommonSize, methodSize, fieldSize, imethodSize = 16, 16, 24, 8

	flagUncommon, flagRegular, flagMask = 1 << 0, 1 << 3, 1 << 4

	nameHasTag, nameHasPkgPath = 1 << 1, 1 << 2
)

const (
	kindArray = iota + 17
	kindChan
	kindFunc
	kindInterface
	kindMap
	kindPointer
	kindSlice
	kindString
	kindStruct
	kindUnsafePointer
)

// extent is a part of the image, by addresses.
type extent struct{ from, to uint64 }

// descriptor is a type that was found.
type descriptor struct {
	at       uint64
	kind     byte
	parts    []extent // the descriptor and the arrays that belong to it
	types    []uint64 // always needed with it
	names    []uint64
	fields   extent // of a struct, else empty
	methods  extent
	uncommon uint64 // address, or 0
	live     bool
}

// finder finds types and what refers to them.
type finder struct {
	s     *slimmer
	base  uint64 // of the segment's section .rodata, where types begin
	data  []byte // that section
	types map[uint64]*descriptor
	names map[uint64]*name
	parts []part          // by address
	asked map[string]bool // names of interfaces' methods
	work  []*descriptor
	wrong bool
}

// name is a name in the type data.
type name struct {
	extent
	live bool
}

// part is an extent and whose it is.
type part struct {
	extent
	typ  *descriptor
	name *name
}

func (f *finder) bytes(at, n uint64) []byte {
	if at < f.base || at-f.base > uint64(len(f.data)) || n > uint64(len(f.data))-(at-f.base) {
		f.wrong = true
		return make([]byte, min(n, 1<<16))
	}
	return f.data[at-f.base:][:n]
}

func (f *finder) word(at uint64) uint64 { return le.Uint64(f.bytes(at, 8)) }

func (f *finder) inside(at uint64) bool { return at >= f.base && at < f.base+uint64(len(f.data)) }

// plausible says whether a type may begin at an address.
func (f *finder) plausible(at uint64) bool {
	if !f.inside(at) || !f.inside(at+typeSize) || at%8 != 0 {
		return false
	}
	b := f.bytes(at, typeSize)
	align, field := b[21], b[22]
	ok := b[tKind] >= 1 && b[tKind] <= kindUnsafePointer && b[tFlag] < 1<<6 && align&(align-1) == 0 &&
		align >= 1 && align <= 8 && field == align && le.Uint64(b) >= le.Uint64(b[8:]) && le.Uint64(b)%uint64(align) == 0
	if eq := le.Uint64(b[tEqual:]); !ok || eq != 0 && !f.inside(eq) {
		return false
	}
	str := f.base + uint64(le.Uint32(b[tStr:]))
	if !f.inside(str) || !f.inside(str+6) || f.bytes(str, 1)[0] >= 1<<4 {
		return false
	}
	n, k := varint(f.bytes(str+1, 5))
	if n == 0 || k == 0 || !f.inside(str+uint64(n)+5) {
		return false
	}
	text := f.bytes(str+1+uint64(k), uint64(n))
	return utf8.Valid(text) && !bytes.ContainsFunc(text, unicode.IsControl)
}

// nameLen is the length of a name with all that belongs to it.
func (f *finder) nameLen(at uint64) uint64 {
	n := uint64(1)
	flags := f.bytes(at, 1)[0]
	for range 1 + flags&nameHasTag>>1 {
		v, k := varint(f.bytes(at+n, min(5, f.base+uint64(len(f.data))-at-n)))
		n += uint64(v) + uint64(k)
	}
	if flags&nameHasPkgPath != 0 {
		n += 4
	}
	return n
}

// addName notes a name by its address; 0 is none.
func (f *finder) addName(at uint64) {
	if at == 0 || at == f.base || f.names[at] != nil {
		return
	}
	n := f.nameLen(at)
	f.names[at] = &name{extent: extent{at, at + n}}
	if flags := f.bytes(at, 1)[0]; flags&nameHasPkgPath != 0 {
		// It says where another is: leave both alone.
		f.names[at].live = true
		other := f.base + uint64(le.Uint32(f.bytes(at+n-4, 4)))
		f.addName(other)
		if o := f.names[other]; o != nil {
			o.live = true
		}
	}
}

// add notes the type at an address, if there is one, and those it leads to.
func (f *finder) add(at uint64) {
	if f.types[at] == nil && f.plausible(at) {
		d := &descriptor{at: at, kind: f.bytes(at+tKind, 1)[0]}
		f.types[at] = d
		f.work = append(f.work, d)
	}
}

// follow reads descriptors until all that they lead to are known.
func (f *finder) follow() {
	for len(f.work) > 0 && !f.wrong {
		d := f.work[len(f.work)-1]
		f.work = f.work[:len(f.work)-1]
		f.read(d)
		for _, t := range d.types {
			f.add(t)
		}
		for at := d.fields.from; at < d.fields.to; at += fieldSize {
			f.addName(f.word(at))
			f.add(f.word(at + 8))
		}
		for at := d.methods.from; at < d.methods.to; at += methodSize {
			f.addName(f.base + uint64(le.Uint32(f.bytes(at, 4))))
		}
		if p := le.Uint32(f.bytes(d.at+tPtrTo, 4)); p != 0 {
			f.add(f.base + uint64(p))
		}
		for _, n := range d.names {
			f.addName(n)
		}
	}
}

// array is a slice of n-byte elements, whose header is at an address.
func (f *finder) array(at, n uint64) extent {
	from, count := f.word(at), f.word(at+8)
	if count == 0 {
		return extent{}
	}
	if count > 1<<16 || !f.inside(from) || !f.inside(from+n*count-1) {
		f.wrong = true
		return extent{}
	}
	return extent{from, from + n*count}
}

// read finds the parts of d and what it refers to.
func (f *finder) read(d *descriptor) {
	at := d.at
	size := uint64(typeSize)
	d.names = []uint64{f.base + uint64(le.Uint32(f.bytes(at+tStr, 4)))}
	words := func(n uint64) {
		for i := range n {
			d.types = append(d.types, f.word(at+typeSize+8*i))
		}
	}
	switch d.kind {
	case kindArray:
		words(2)
		size += 24
	case kindChan:
		words(1)
		size += 16
	case kindFunc:
		size += 8
	case kindInterface:
		d.names = append(d.names, f.word(at+typeSize))
		d.parts = append(d.parts, f.array(at+56, imethodSize))
		size += 32
	case kindMap:
		words(3)
		size += 56
	case kindPointer, kindSlice:
		words(1)
		size += 8
	case kindStruct:
		d.names = append(d.names, f.word(at+typeSize))
		d.fields = f.array(at+56, fieldSize)
		size += 32
	}
	if f.bytes(at+tFlag, 1)[0]&flagUncommon != 0 {
		f.readUncommon(d, at+size)
		size += uncommonSize
	}
	if d.kind == kindFunc {
		in, out := f.bytes(at+typeSize, 2), f.bytes(at+typeSize+2, 2)
		for range le.Uint16(in) + le.Uint16(out)&0x7fff {
			d.types = append(d.types, f.word(at+size))
			size += 8
		}
	}
	if d.kind == kindInterface {
		for p := d.parts[0].from; p < d.parts[0].to; p += imethodSize {
			name := f.base + uint64(le.Uint32(f.bytes(p, 4)))
			d.names = append(d.names, name)
			f.asked[f.text(name)] = true
			d.types = append(d.types, f.base+uint64(le.Uint32(f.bytes(p+4, 4))))
		}
	}
	d.parts = append(d.parts, extent{at, at + size}, d.fields, d.methods)
}

// readUncommon reads what a type with methods or a name has behind it.
func (f *finder) readUncommon(d *descriptor, at uint64) {
	d.uncommon = at
	b := f.bytes(at, uncommonSize)
	if p := le.Uint32(b); p != 0 {
		d.names = append(d.names, f.base+uint64(p))
	}
	if n := uint64(le.Uint16(b[4:])); n > 0 {
		from := at + uint64(le.Uint32(b[8:]))
		d.methods = extent{from, from + n*methodSize}
		f.bytes(from, n*methodSize)
	}
}

// called says whether a method may be one that an interface asks for (runtime
// itabInit): then some interface has a method of that name, and the linker kept
// its type, which it writes as -1 otherwise.
func (f *finder) called(at uint64) bool {
	b := f.bytes(at, 8)
	return le.Uint32(b[4:]) != none && f.asked[f.text(f.base+uint64(le.Uint32(b)))]
}

// text is a name.
func (f *finder) text(at uint64) string {
	n, k := varint(f.bytes(at+1, 5))
	return string(f.bytes(at+1+uint64(k), uint64(n)))
}

// fieldsRead says whether the runtime may look at a struct's fields.
func (f *finder) fieldsRead(d *descriptor) bool {
	flags := f.bytes(d.at+tFlag, 1)[0]
	return flags&flagMask != 0 || flags&flagRegular == 0 && f.word(d.at+tEqual) != 0
}

// order sorts all parts by address. They must not overlap.
func (f *finder) order() error {
	for _, d := range f.types {
		for _, e := range d.parts {
			if e.from < e.to {
				f.parts = append(f.parts, part{e, d, nil})
			}
		}
	}
	for _, n := range f.names {
		f.parts = append(f.parts, part{n.extent, nil, n})
	}
	slices.SortFunc(f.parts, func(a, b part) int { return cmp.Compare(a.from, b.from) })
	for i := range f.parts {
		if f.wrong || i > 0 && f.parts[i-1].to > f.parts[i].from {
			return fmt.Errorf("%w: type descriptors at %#x", errTables, f.parts[i].from)
		}
	}
	return nil
}

// mark notes that something refers to an address.
func (f *finder) mark(at uint64) {
	if !f.inside(at) {
		return
	}
	i, ok := slices.BinarySearchFunc(f.parts, at, func(p part, at uint64) int { return cmp.Compare(p.from, at) })
	if !ok {
		i--
	}
	if i < 0 || at >= f.parts[i].to {
		return
	}
	if n := f.parts[i].name; n != nil {
		n.live = true
	} else if d := f.parts[i].typ; !d.live {
		d.live = true
		f.work = append(f.work, d)
	}
}

// markAll marks what the live types need.
func (f *finder) markAll() {
	for len(f.work) > 0 {
		d := f.work[len(f.work)-1]
		f.work = f.work[:len(f.work)-1]
		for _, at := range slices.Concat(d.types, d.names) {
			f.mark(at)
		}
		for at := d.methods.from; at < d.methods.to; at += methodSize {
			if f.called(at) {
				f.mark(f.base + uint64(le.Uint32(f.bytes(at, 4))))
				if t := le.Uint32(f.bytes(at+4, 4)); t != none {
					f.mark(f.base + uint64(t))
				}
			}
		}
		if f.fieldsRead(d) {
			for at := d.fields.from; at < d.fields.to; at += fieldSize {
				f.mark(f.word(at))
				f.mark(f.word(at + 8))
			}
		}
	}
}
