package image

import (
	"bytes"
	"strings"
)

// text reads a name of the old table.
func (c *compact) text(off uint32) string {
	if int64(off) >= int64(len(c.old.names)) {
		c.fail("a name at %#x", off)
		return ""
	}
	b := c.old.names[off:]
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		c.fail("a name without an end")
		return ""
	}
	return string(b[:n])
}

// cutName is what is kept of a name.
func (c *compact) cutName(s string) string {
	if c.keep == Tiny {
		return packageOf(s)
	}
	if i, j := strings.IndexByte(s, '['), strings.LastIndexByte(s, ']'); i >= 0 && j > i {
		return s[:i] + "[...]" + s[j+1:] // as a trace shows it
	}
	return s
}

// name adds a name and says where it is.
func (c *compact) name(s string) uint32 {
	s = c.cutName(s)
	at, ok := c.nameAt[s]
	if !ok {
		at = c.addTo(&c.names, append([]byte(s), 0), 1)
		c.nameAt[s] = at
	}
	return at
}

// packageOf is a function's name up to and with the dot behind its package.
func packageOf(s string) string {
	end := strings.IndexAny(s, "[(")
	if end < 0 {
		end = len(s)
	}
	slash := strings.LastIndexByte(s[:end], '/')
	if dot := strings.IndexByte(s[slash+1:], '.'); dot >= 0 {
		return s[:slash+1+dot+1]
	}
	return ""
}

// varint reads an unsigned number in groups of seven bits.
func varint(b []byte) (v uint32, n int) {
	for shift := 0; n < len(b) && shift < 35; shift += 7 {
		x := b[n]
		n++
		v |= uint32(x&0x7f) << shift
		if x < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// walk goes through a table of values by address, calls f for each value, and
// gives the table's length (runtime/symtab.go, step).
func walk(b []byte, f func(v int32)) int {
	v, at := int32(-1), 0
	for first := true; ; first = false {
		d, n := varint(b[at:])
		if n == 0 {
			return 0
		}
		at += n
		if d == 0 && !first {
			return at
		}
		v += int32(-(d & 1) ^ d>>1)
		f(v)
		_, n = varint(b[at:])
		if n == 0 {
			return 0
		}
		at += n
	}
}

// table copies a table of values by address.
func (c *compact) table(off uint32) uint32 {
	if off == 0 {
		return 0
	}
	if at, ok := c.pcAt[off]; ok {
		return at
	}
	if int64(off) >= int64(len(c.old.pctab)) {
		c.fail("a table at %#x", off)
		return 0
	}
	b := c.old.pctab[off:]
	n := walk(b, func(int32) {})
	if n == 0 {
		c.fail("a table at %#x without an end", off)
	}
	at := c.addTo(&c.pctab, b[:n], 1)
	c.pcAt[off] = at
	return at
}

// calls is the number of calls that were inlined into f.
func (c *compact) calls(f *function) int {
	if pcdataInlTree >= len(f.pcdata) || f.pcdata[pcdataInlTree] == 0 {
		return 0
	}
	top := int32(-1)
	if off := f.pcdata[pcdataInlTree]; int64(off) < int64(len(c.old.pctab)) {
		walk(c.old.pctab[off:], func(v int32) { top = max(top, v) })
	}
	return int(top) + 1
}

// dataKey tells blobs apart: what funcdata it is, where it was, and for trees of
// inlined calls how many there are.
type dataKey struct {
	kind  int
	off   uint32
	calls int
}

func keyOf(i int, off uint32, calls int) dataKey {
	switch i {
	case dataInlTree:
		return dataKey{i, off, calls}
	case dataLocalsMaps:
		return dataKey{dataArgsMaps, off, 0} // one table may serve as both
	}
	return dataKey{i, off, 0}
}

// blob copies what a funcdata is.
func (c *compact) blob(key dataKey) uint32 {
	if at, ok := c.dataAt[key]; ok {
		return at
	}
	i, off := key.kind, key.off
	if int64(off) >= int64(len(c.old.gofunc)) {
		c.fail("funcdata %d at %#x", i, off)
		return none
	}
	b := c.old.gofunc[off:]
	n, align := span(i, b, key.calls)
	if n <= 0 || n > len(b) {
		c.fail("funcdata %d of %d bytes", i, n)
		return none
	}
	b = bytes.Clone(b[:n])
	if i == dataInlTree {
		if b = c.tree(b); c.pack != nil {
			align = 1
		}
	}
	at := c.addTo(&c.gofunc, b, align)
	c.dataAt[key] = at
	return at
}

// tree writes a tree of inlined calls anew.
func (c *compact) tree(b []byte) []byte {
	if c.pack != nil {
		return c.pack.tree(b)
	}
	for k := callName; k < len(b); k += callSize { // the name of each call
		le.PutUint32(b[k:], c.name(c.text(le.Uint32(b[k:]))))
	}
	return b
}

// span is how many bytes funcdata i takes that b begins with, and how it is
// aligned; 0: it is of no known kind. calls is the number of inlined calls.
func span(i int, b []byte, calls int) (n, align int) {
	align = 4
	switch {
	case i <= dataLocalsMaps && len(b) >= 8:
		n = 8 + int(le.Uint32(b))*int((le.Uint32(b[4:])+7)/8)
	case i == dataObjects && len(b) >= 8:
		n, align = 8+16*int(le.Uint64(b)), 8
	case i == dataInlTree:
		n = 16 * calls
	case i == dataDefers:
		_, n1 := varint(b)
		_, n2 := varint(b[n1:])
		n, align = n1+n2, 1
	case i == dataWrap:
		n = 4
	}
	return n, align
}
