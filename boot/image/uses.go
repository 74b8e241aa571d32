package image

import (
	"fmt"
)

// Use is what the function tables hold for one function.
type Use struct {
	Entry uint64      // its address
	Parts [][2]uint64 // from and to: offsets in the section .gopclntab; some are other functions' too
}

// Uses says for each function of a file, slimmed or not, which bytes of the
// section .gopclntab it needs. What no function needs is the header, the search
// tables and the names of files.
func Uses(file []byte) ([]Use, error) {
	s, err := newSlimmer(file)
	if err != nil {
		return nil, err
	}
	start, _ := s.gofunc()
	o, err := s.tables()
	if err != nil {
		return nil, err
	}
	ftab := o.nfunc*8 + 4
	if o.nfunc <= 0 || o.nfunc > len(o.funcs)/8 || len(o.funcs) < ftab+4 {
		return nil, fmt.Errorf("%w: %d functions do not fit", errTables, o.nfunc)
	}
	u := user{c: &compact{old: *o}, names: s.word(mdNames) - s.tab.Addr, pctab: s.word(mdPCTab) - s.tab.Addr,
		funcs: s.word(mdFuncs) - s.tab.Addr, gofunc: s.word(start) - s.tab.Addr}
	list := make([]Use, o.nfunc)
	for i := range list {
		if list[i], err = u.use(i); err != nil {
			return nil, err
		}
		list[i].Entry += s.word(mdText)
	}
	return list, nil
}

// user finds what functions need; its numbers are where the tables begin in the
// section.
type user struct {
	c                           *compact
	names, pctab, funcs, gofunc uint64
}

// use is what function i needs; its address is still relative to the text.
func (u *user) use(i int) (Use, error) {
	o := &u.c.old
	off := le.Uint32(o.funcs[i*8+4:])
	f, err := u.c.read(int(off))
	if err != nil {
		return Use{}, err
	}
	v := Use{Entry: uint64(le.Uint32(o.funcs[i*8:]))}
	add := func(base, at uint64, n int) { v.Parts = append(v.Parts, [2]uint64{base + at, base + at + uint64(n)}) }
	add(u.funcs, uint64(i)*8, 8)
	add(u.funcs, uint64(off), funcSize+4*(len(f.pcdata)+len(f.data)))
	name := func(at uint32) {
		if at != 0 {
			add(u.names, uint64(at), len(u.c.text(at))+1)
		}
	}
	name(f.get(fName))
	for _, at := range append([]uint32{f.get(fPCSP), f.get(fPCFile), f.get(fPCLn)}, f.pcdata...) {
		if int64(at) >= int64(len(o.pctab)) {
			u.c.fail("a table at %#x", at)
		} else if at != 0 {
			add(u.pctab, uint64(at), walk(o.pctab[at:], func(int32) {}))
		}
	}
	calls := u.c.calls(f)
	for k, at := range f.data {
		if at == none || k == dataArgs || k == dataArgsLive { // those have no length of their own
			continue
		}
		if int64(at) >= int64(len(o.gofunc)) {
			u.c.fail("funcdata %d at %#x", k, at)
			continue
		}
		n, _ := span(k, o.gofunc[at:], calls)
		if n < 0 || n > len(o.gofunc[at:]) {
			u.c.fail("funcdata %d of %d bytes", k, n)
			continue
		}
		add(u.gofunc, uint64(at), n)
		for b := at + 4; k == dataInlTree && b < at+uint32(n); b += 16 {
			name(le.Uint32(o.gofunc[b:]))
		}
	}
	return v, u.c.problem
}
