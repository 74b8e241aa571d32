package image

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// Words of the runtime's moduledata (runtime/symtab.go): slices have three.
const (
	mdHeader = 0
	mdNames  = 1
	mdCU     = 4
	mdFiles  = 7
	mdPCTab  = 10
	mdFuncs  = 13
	mdFTab   = 16
	mdFind   = 19
	mdMinPC  = 20
	mdMaxPC  = 21
	mdText   = 22
)

// bucket is the runtime's findfuncbucket: bytes, and the code that one is for.
const bucketSize, bucketCode = 20, 4096

// packedOff is a word of the tables' header that the linker leaves zero.
const packedOff = 24

// slimmer rewrites one file.
type slimmer struct {
	file   []byte
	f      *elf.File
	tab    *elf.Section // .gopclntab
	seg    *elf.Prog    // that it lies in
	md     []byte       // moduledata, in file
	out    blob         // the new section
	at     map[int]uint64
	oldEnd uint64
	newEnd uint64
	shift  uint64 // how far what follows it in the segment moves down
	moved  uint64 // how far what follows the segment moves down in the file

	extra    uint64 // memory for what is unpacked, or 0
	writable int    // the segment that it is in
	memory   uint64 // size of that in memory
	links    uint64 // size of what is left out behind the tables
}

// Slim replaces the function tables by smaller ones. What follows them in their
// segment moves up behind them, and later segments in the file; no address that
// code or data knows changes, but for those in moduledata. Where code refers to
// what follows (type descriptors, since Go 1.27), that stays where it is, as a
// segment of its own, and nothing is packed. It works on a copy.
func Slim(file []byte, keep Tables) ([]byte, error) { return rewrite(file, keep, true) }

// Unpacked is Slim but for the packing: each function's tables can be found in what
// it returns, by Uses.
func Unpacked(file []byte, keep Tables) ([]byte, error) { return rewrite(file, keep, false) }

func rewrite(file []byte, keep Tables, pack bool) ([]byte, error) {
	s, err := newSlimmer(file)
	if err != nil {
		return nil, err
	}
	if err := s.rebuild(keep, pack && s.movable()); err != nil {
		return nil, err
	}
	if !s.movable() {
		return s.split()
	}
	if err := s.relocate(); err != nil {
		return nil, err
	}
	return s.layOut(), nil
}

// newSlimmer finds the tables in a copy of the file.
func newSlimmer(file []byte) (*slimmer, error) {
	s := &slimmer{file: bytes.Clone(file), at: map[int]uint64{}}
	var err error
	if s.f, err = elf.NewFile(bytes.NewReader(file)); err != nil {
		return nil, err
	}
	s.tab = s.f.Section(".gopclntab")
	mod := s.f.Section(".go.module")
	if s.tab == nil || mod == nil {
		return nil, fmt.Errorf("%w: no section .gopclntab or .go.module", errTables)
	}
	if mod.Size < 64*8 || mod.Offset+mod.Size > uint64(len(file)) || s.tab.Offset+s.tab.Size > uint64(len(file)) {
		return nil, fmt.Errorf("%w: a section is too short", errTables)
	}
	s.md = s.file[mod.Offset:][:mod.Size]
	for _, p := range s.f.Progs {
		if p.Type == elf.PT_LOAD && s.tab.Addr >= p.Vaddr && s.tab.Addr < p.Vaddr+p.Filesz {
			s.seg = p
		}
	}
	if s.seg == nil {
		return nil, fmt.Errorf("%w: .gopclntab is in no segment", errTables)
	}
	return s, nil
}

// movable says whether only what moduledata knows follows the tables.
func (s *slimmer) movable() bool {
	for _, sec := range s.f.Sections {
		if sec.Addr > s.tab.Addr && sec.Addr < s.seg.Vaddr+s.seg.Filesz && sec.Name != ".typelink" && sec.Name != ".itablink" {
			return false
		}
	}
	return true
}

func (s *slimmer) word(i int) uint64       { return le.Uint64(s.md[8*i:]) }
func (s *slimmer) setWord(i int, v uint64) { le.PutUint64(s.md[8*i:], v) }

// from is the section from an address that word i of moduledata has.
func (s *slimmer) from(i int) ([]byte, error) {
	off := s.word(i) - s.tab.Addr
	if off > s.tab.Size {
		return nil, fmt.Errorf("%w: word %d of moduledata is outside the tables", errTables, i)
	}
	return s.file[s.tab.Offset+off : s.tab.Offset+s.tab.Size], nil
}

// gofunc finds the words for go:func.* and the tables' end: they are where the
// release has them, behind the start of the code.
func (s *slimmer) gofunc() (start, end int) {
	for i := mdText; i < len(s.md)/8; i++ {
		v := s.word(i)
		if start == 0 && v > s.tab.Addr && v < s.tab.Addr+s.tab.Size {
			start = i
		}
		if end == 0 && start != 0 && v == s.tab.Addr+s.tab.Size {
			end = i
		}
	}
	return start, end
}

// tables finds the tables.
func (s *slimmer) tables() (*old, error) {
	start, end := s.gofunc()
	head, err := s.from(mdHeader)
	if err != nil || start == 0 || end == 0 || len(head) < headerSize || le.Uint32(head) != magic || le.Uint64(head[packedOff:]) != 0 {
		return nil, fmt.Errorf("%w: header or moduledata", errTables)
	}
	o := &old{nfunc: int(le.Uint64(head[8:]))}
	for i, part := range map[int]*[]byte{mdNames: &o.names, mdPCTab: &o.pctab, mdFuncs: &o.funcs, start: &o.gofunc} {
		if *part, err = s.from(i); err != nil {
			return nil, err
		}
	}
	if n := s.word(mdNames + 1); n < uint64(len(o.names)) {
		o.names = o.names[:n]
	}
	return o, nil
}

// put adds b to the new section and points word i of moduledata at it.
func (s *slimmer) put(i int, b []byte, align int) {
	at := uint64(s.out.add(b, align))
	s.setWord(i, s.tab.Addr+at)
	s.at[i] = at
}

// slice does so for a slice with elements of the given size.
func (s *slimmer) slice(i int, b []byte, size int) {
	s.put(i, b, 8)
	s.setWord(i+1, uint64(len(b)/size))
	s.setWord(i+2, uint64(len(b)/size))
}

// rebuild makes the new section and points moduledata at it. pack is for images
// whose runtime can unpack.
func (s *slimmer) rebuild(keep Tables, pack bool) error {
	o, err := s.tables()
	if err != nil {
		return err
	}
	start, end := s.gofunc()
	head, err := s.from(mdHeader)
	if err != nil {
		return err
	}
	s.out.b = bytes.Clone(head[:headerSize])
	var a *arena
	if pack && bytes.Contains(o.names, []byte(unpacker)) {
		if a, err = s.newArena(o); err != nil {
			return err
		}
	}
	c, err := build(*o, keep, a)
	if err != nil {
		return err
	}
	var cu, files []byte
	if keep == Traceable {
		if cu, files, err = s.files(); err != nil {
			return err
		}
	}
	find, err := s.buckets()
	if err != nil {
		return err
	}
	s.slice(mdNames, c.names.b, 1)
	s.slice(mdCU, cu, 4)
	s.slice(mdFiles, files, 1)
	s.slice(mdPCTab, c.pctab.b, 1)
	if err := s.functions(c); err != nil {
		return err
	}
	s.put(start, c.gofunc.b, 8)
	s.put(mdFind, find, 8)
	s.setWord(end, s.tab.Addr+uint64(len(s.out.b)))
	if a != nil { // names, tables and data are anywhere in the segment
		all := s.word(end) - a.base
		for _, i := range []int{mdNames, mdPCTab} {
			s.setWord(i, a.base)
			s.setWord(i+1, all)
			s.setWord(i+2, all)
		}
		s.setWord(start, a.base)
	}
	for k, i := range []int{mdNames, mdCU, mdFiles, mdPCTab, mdFuncs} {
		le.PutUint64(s.out.b[32+8*k:], s.at[i])
	}
	if keep == Tiny {
		le.PutUint64(s.out.b[16:], 0) // files
	}
	return nil
}

// files are the tables of file names.
func (s *slimmer) files() (cu, files []byte, err error) {
	for i, part := range map[int]*[]byte{mdCU: &cu, mdFiles: &files} {
		b, err := s.from(i)
		n := s.word(i + 1)
		if i == mdCU {
			n *= 4
		}
		if err != nil || n > uint64(len(b)) {
			return nil, nil, fmt.Errorf("%w: file table", errTables)
		}
		*part = b[:n]
	}
	return cu, files, nil
}

// buckets is the table in which functions are looked up.
func (s *slimmer) buckets() ([]byte, error) {
	find, err := s.from(mdFind)
	n := (s.word(mdMaxPC) - s.word(mdMinPC) + bucketCode - 1) / bucketCode * bucketSize
	if err != nil || n > uint64(len(find))+bucketSize {
		return nil, fmt.Errorf("%w: findfunctab", errTables)
	}
	return find[:min(n, uint64(len(find)))], nil // the last address may lie behind the last function
}

// functions adds the functions and where each begins, which the linker has
// together. Packed ones are unpacked to memory behind the BSS.
func (s *slimmer) functions(c *compact) error {
	if c.pack == nil {
		s.slice(mdFuncs, c.funcs, 1)
		s.setWord(mdFTab, s.word(mdFuncs))
		return nil
	}
	if err := s.reserve(c.pack.memory()); err != nil {
		return err
	}
	s.put(mdFTab, c.funcs, 4)
	s.at[mdFuncs] = s.at[mdFTab]
	at := s.out.add(c.pack.bytes(), 4)
	le.PutUint64(s.out.b[packedOff:], s.tab.Addr+uint64(at))
	s.setWord(mdFuncs, s.extra)
	s.setWord(mdFuncs+1, uint64(c.pack.space))
	s.setWord(mdFuncs+2, uint64(c.pack.space))
	return nil
}

// reserve extends the image's memory, behind the BSS, by n bytes.
func (s *slimmer) reserve(n uint64) error {
	for i, p := range s.f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 {
			if s.extra != 0 {
				return fmt.Errorf("%w: two segments can be written", errTables)
			}
			const align = 16
			s.writable = i
			s.extra = (p.Vaddr + p.Memsz + align - 1) / align * align
			s.memory = s.extra + n - p.Vaddr
		}
	}
	if s.extra == 0 {
		return fmt.Errorf("%w: no segment can be written", errTables)
	}
	return nil
}

// relocate computes where everything behind the tables goes, and moves the words
// of moduledata that point there.
func (s *slimmer) relocate() error {
	s.oldEnd = s.tab.Addr + s.tab.Size
	if s.links != 0 {
		links := s.f.Section(".typelink")
		s.oldEnd = links.Addr + s.links
	}
	s.newEnd = s.tab.Addr + uint64(len(s.out.b))
	const align = 32 // the strictest of a section in this segment
	if s.newEnd > s.oldEnd {
		return fmt.Errorf("%w: the new ones are larger", errTables)
	}
	s.shift = (s.oldEnd - s.newEnd) / align * align
	segEnd := s.seg.Vaddr + s.seg.Filesz
	for i := mdText; i < len(s.md)/8; i++ {
		if v := s.word(i); v >= s.oldEnd && v < segEnd {
			s.setWord(i, v-s.shift)
		}
	}
	return nil
}

// layOut writes the file anew.
func (s *slimmer) layOut() []byte {
	segEnd := s.seg.Off + s.seg.Filesz
	tabEnd := s.tab.Offset + s.oldEnd - s.tab.Addr
	out := bytes.Clone(s.file[:s.tab.Offset])
	out = append(out, s.out.b...)
	out = append(out, make([]byte, tabEnd-s.shift-uint64(len(out)))...)
	out = append(out, s.file[tabEnd:segEnd]...)
	next := uint64(len(s.file))
	for _, p := range s.f.Progs {
		if p.Type == elf.PT_LOAD && p.Off >= segEnd {
			next = min(next, p.Off)
		}
	}
	// What follows keeps its place within a page.
	s.moved = (next - uint64(len(out))) / page * page
	out = append(out, make([]byte, next-s.moved-uint64(len(out)))...)
	out = append(out, s.file[next:]...)
	place := func(off uint64) uint64 {
		switch {
		case off >= next:
			return off - s.moved
		case off >= tabEnd && off < segEnd:
			return off - s.shift
		}
		return off
	}
	s.headers(out, next, place)
	return out
}

// headers corrects the program and section headers.
func (s *slimmer) headers(out []byte, next uint64, place func(uint64) uint64) {
	for i, p := range s.f.Progs {
		ph := out[le.Uint64(out[phoff:])+uint64(i)*phdrSize:]
		le.PutUint64(ph[8:], place(p.Off))
		if p.Type == elf.PT_LOAD && p.Off == s.seg.Off {
			le.PutUint64(ph[32:], p.Filesz-s.shift)
			le.PutUint64(ph[40:], p.Memsz-s.shift)
		}
		if s.extra != 0 && i == s.writable {
			le.PutUint64(ph[40:], s.memory)
		}
	}
	shoff := le.Uint64(out[shoffAt:])
	if shoff >= next {
		shoff -= s.moved
		le.PutUint64(out[shoffAt:], shoff)
	}
	for i, sec := range s.f.Sections {
		sh := out[shoff+uint64(i)*64:]
		le.PutUint64(sh[24:], place(sec.Offset))
		switch {
		case sec.Name == s.tab.Name:
			le.PutUint64(sh[32:], uint64(len(s.out.b)))
		case s.links != 0 && sec.Name == ".typelink":
			le.PutUint64(sh[16:], s.newEnd)
			le.PutUint64(sh[24:], s.tab.Offset+uint64(len(s.out.b)))
			le.PutUint64(sh[32:], 0)
		case sec.Addr >= s.oldEnd && sec.Addr < s.seg.Vaddr+s.seg.Filesz:
			le.PutUint64(sh[16:], sec.Addr-s.shift)
		}
	}
}
