package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Tables says what is kept of the function tables (Go's pclntab), which are two
// fifths of what the linker makes.
type Tables int

const (
	// Traceable keeps names, files and lines. Arguments, which a trace shows as
	// bare words, go.
	Traceable Tables = iota
	// Tiny keeps what runs: unwinding, stack maps, open-coded defers. A trace
	// has the package of each function, and addresses.
	Tiny
)

// Layout of _func and of the tables' numbers: runtime/runtime2.go and
// internal/abi/symtab.go of Go 1.26 and 1.27.
const (
	magic      = 0xfffffff1
	headerSize = 72
	funcSize   = 44

	pcdataInlTree  = 2
	pcdataArgLive  = 3
	dataArgsMaps   = 0
	dataLocalsMaps = 1
	dataObjects    = 2
	dataInlTree    = 3
	dataDefers     = 4
	dataArgs       = 5
	dataArgsLive   = 6
	dataWrap       = 7
	none           = ^uint32(0)
)

var le = binary.LittleEndian

var errTables = errors.New("the function tables are not those of a supported Go release")

// function is a _func with what follows it.
type function struct {
	fixed  [funcSize]byte
	pcdata []uint32
	data   []uint32
	name   string
	calls  int // that were inlined
}

func (f *function) get(off int) uint32    { return le.Uint32(f.fixed[off:]) }
func (f *function) set(off int, v uint32) { le.PutUint32(f.fixed[off:], v) }

const ( // offsets in _func
	fName    = 4
	fPCSP    = 16
	fPCFile  = 20
	fPCLn    = 24
	fNPCData = 28
	fCU      = 32

	fEntry, fArgs, fDefer, fStartLine, fFuncID, fFlag = 0, 8, 12, 36, 40, 41

	fNData = 43
)

// old is the tables as the linker wrote them, each from its start to the end of
// the section.
type old struct {
	names, pctab, funcs, gofunc []byte
	nfunc                       int
}

// compact builds smaller tables.
type compact struct {
	old     old
	keep    Tables
	pack    *packed // nil: as the stock runtime reads them
	names   blob
	pctab   blob
	gofunc  blob
	funcs   []byte // ftab and the functions
	nameAt  map[string]uint32
	pcAt    map[uint32]uint32
	dataAt  map[dataKey]uint32
	problem error
}

// blob collects bytes.
type blob struct{ b []byte }

func (b *blob) add(data []byte, align int) uint32 {
	for len(b.b)%align != 0 {
		b.b = append(b.b, 0)
	}
	at := uint32(len(b.b))
	b.b = append(b.b, data...)
	return at
}

// addTo adds data to a table, or where there is room.
func (c *compact) addTo(b *blob, data []byte, align int) uint32 {
	if c.pack != nil {
		return c.pack.arena.add(data, uint64(align))
	}
	return b.add(data, align)
}

// fail notes the first problem.
func (c *compact) fail(format string, args ...any) {
	if c.problem == nil {
		c.problem = fmt.Errorf("%w: %s", errTables, fmt.Sprintf(format, args...))
	}
}

// build makes the new tables, with an arena packed.
func build(o old, keep Tables, a *arena) (*compact, error) {
	c := &compact{old: o, keep: keep, nameAt: map[string]uint32{"": 0}, pcAt: map[uint32]uint32{}, dataAt: map[dataKey]uint32{}}
	if a != nil {
		c.pack = &packed{arena: a}
	}
	c.addTo(&c.names, []byte{0}, 1)
	c.addTo(&c.pctab, []byte{0}, 1) // offset 0 stands for no table
	ftab := o.nfunc*8 + 4
	if o.nfunc <= 0 || o.nfunc > len(o.funcs)/8 || len(o.funcs) < ftab+4 {
		return nil, fmt.Errorf("%w: %d functions do not fit", errTables, o.nfunc)
	}
	c.funcs = append(c.funcs, o.funcs[:ftab]...)
	var fs []*function
	for i := range o.nfunc {
		f, err := c.read(int(le.Uint32(o.funcs[i*8+4:])))
		if err != nil {
			return nil, err
		}
		c.cut(f)
		fs = append(fs, f)
	}
	if c.pack != nil {
		c.share(fs)
	}
	for i, f := range fs {
		c.move(f)
		if c.pack != nil {
			c.packFunction(i, f)
		} else {
			for len(c.funcs)%4 != 0 {
				c.funcs = append(c.funcs, 0)
			}
			le.PutUint32(c.funcs[i*8+4:], uint32(len(c.funcs)))
			c.write(f)
		}
		if c.problem != nil {
			return nil, c.problem
		}
	}
	return c, nil
}

func (c *compact) read(off int) (*function, error) {
	if off < 0 || off+funcSize > len(c.old.funcs) {
		return nil, fmt.Errorf("%w: a function at %#x", errTables, off)
	}
	f := &function{}
	copy(f.fixed[:], c.old.funcs[off:])
	n, m := int(f.get(fNPCData)), int(f.fixed[fNData])
	rest := c.old.funcs[off+funcSize:]
	if n > 16 || m > 16 || len(rest) < 4*(n+m) {
		return nil, fmt.Errorf("%w: a function with %d and %d tables", errTables, n, m)
	}
	for i := range n + m {
		v := le.Uint32(rest[4*i:])
		if i < n {
			f.pcdata = append(f.pcdata, v)
		} else {
			f.data = append(f.data, v)
		}
	}
	return f, nil
}

func (c *compact) write(f *function) {
	c.funcs = append(c.funcs, f.fixed[:]...)
	for _, v := range f.pcdata {
		c.funcs = le.AppendUint32(c.funcs, v)
	}
	for _, v := range f.data {
		c.funcs = le.AppendUint32(c.funcs, v)
	}
}

// cut takes away what is not kept of f.
func (c *compact) cut(f *function) {
	f.name = c.text(f.get(fName))
	f.calls = c.calls(f)
	drop := func(i int) {
		if i < len(f.data) {
			f.data[i] = none
		}
	}
	drop(dataArgs)
	drop(dataArgsLive)
	if pcdataArgLive < len(f.pcdata) {
		f.pcdata[pcdataArgLive] = 0
	}
	if c.keep == Tiny {
		f.set(fPCFile, 0)
		f.set(fPCLn, 0)
		f.set(fCU, none)
		f.set(fStartLine, 0)
		if !c.guarded(f) {
			drop(dataInlTree)
			if pcdataInlTree < len(f.pcdata) {
				f.pcdata[pcdataInlTree] = 0
			}
		}
	}
	for len(f.pcdata) > 0 && f.pcdata[len(f.pcdata)-1] == 0 {
		f.pcdata = f.pcdata[:len(f.pcdata)-1]
	}
	for len(f.data) > 0 && f.data[len(f.data)-1] == none {
		f.data = f.data[:len(f.data)-1]
	}
	f.set(fNPCData, uint32(len(f.pcdata)))
	f.fixed[fNData] = byte(len(f.data))
}

// move replaces what f refers to by its place in the new tables.
func (c *compact) move(f *function) {
	f.set(fName, c.name(f.name))
	for _, off := range []int{fPCSP, fPCFile, fPCLn} {
		f.set(off, c.table(f.get(off)))
	}
	for i, v := range f.pcdata {
		f.pcdata[i] = c.table(v)
	}
	for i, v := range f.data {
		if v != none {
			f.data[i] = c.blob(keyOf(i, v, f.calls))
		}
	}
}

// protected are the packages in which the runtime never preempts a goroutine by
// a signal (runtime/preempt.go, isAsyncSafePoint), also where they are inlined.
var protected = []string{"runtime.", "runtime/internal/", "internal/runtime/", "reflect."}

func isProtected(name string) bool {
	for _, p := range protected {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// guarded says whether the tree of inlined calls is needed to know where f must
// not be preempted.
func (c *compact) guarded(f *function) bool {
	if isProtected(f.name) || dataInlTree >= len(f.data) || f.data[dataInlTree] == none {
		return false
	}
	for i := range f.calls {
		at := int(f.data[dataInlTree]) + 16*i
		if at+16 <= len(c.old.gofunc) && isProtected(c.text(le.Uint32(c.old.gofunc[at+4:]))) {
			return true
		}
	}
	return false
}
