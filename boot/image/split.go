package image

import (
	"bytes"
	"debug/elf"
	"fmt"
)

const (
	page    = 4096
	phnum   = 56 // in the ELF header: number of program headers
	shoffAt = 40 // in the ELF header: offset of the section headers
	shdrLen = 64
)

// split writes the file anew where what follows the tables cannot move. Their
// segment ends with the tables, and one more has what follows, from the start of
// the page that this is on. What lies between is not in the file.
func (s *slimmer) split() ([]byte, error) {
	tabEnd := s.tab.Offset + s.tab.Size
	if uint64(len(s.out.b)) > s.tab.Size {
		return nil, fmt.Errorf("%w: the new ones are larger", errTables)
	}
	follows := s.follows() &^ (page - 1) // address of the new segment
	off := s.seg.Off + follows - s.seg.Vaddr
	// From here on the new tables, and nothing of the old ones.
	out := bytes.Clone(s.file)
	copy(out[s.tab.Offset:], s.out.b)
	clear(out[s.tab.Offset+uint64(len(s.out.b)) : tabEnd])
	to := (s.tab.Offset + uint64(len(s.out.b)) + page - 1) &^ (page - 1)
	if follows <= s.tab.Addr || to >= off {
		s.resize(out, le.Uint64(out[shoffAt:]))
		return out, nil // less than a page is gained
	}
	s.moved = off - to
	out = append(out[:to], out[off:]...)
	if err := s.addSegment(out, follows, off); err != nil {
		return nil, err
	}
	return out, nil
}

// follows is the address of the first section behind the tables.
func (s *slimmer) follows() uint64 {
	first := s.seg.Vaddr + s.seg.Filesz
	for _, sec := range s.f.Sections {
		if sec.Addr >= s.tab.Addr+s.tab.Size {
			first = min(first, sec.Addr)
		}
	}
	return first
}

// resize writes the size of the tables into their section header.
func (s *slimmer) resize(out []byte, table uint64) {
	for i, sec := range s.f.Sections {
		if sec.Name == s.tab.Name {
			le.PutUint64(out[table+uint64(i)*shdrLen+32:], uint64(len(s.out.b)))
		}
	}
}

// addSegment makes two segments of the one with the tables; the second begins at
// address from, which was at off in the old file. The section headers, which
// follow the program headers, make room.
func (s *slimmer) addSegment(out []byte, from, off uint64) error {
	ph, sh := le.Uint64(out[phoff:]), le.Uint64(out[shoffAt:])
	n, sections := uint64(len(s.f.Progs)), uint64(len(s.f.Sections))
	room := sh + sections*shdrLen + phdrSize
	if sh != ph+n*phdrSize {
		return fmt.Errorf("%w: section headers at %#x", errTables, sh)
	}
	for _, sec := range s.f.Sections {
		if sec.Type != elf.SHT_NULL && sec.Offset < room {
			return fmt.Errorf("%w: no room for a program header: %s at %#x", errTables, sec.Name, sec.Offset)
		}
	}
	copy(out[sh+phdrSize:], out[sh:sh+sections*shdrLen])
	sh += phdrSize
	le.PutUint64(out[shoffAt:], sh)
	for i, sec := range s.f.Sections {
		if sec.Offset >= off {
			le.PutUint64(out[sh+uint64(i)*shdrLen+24:], sec.Offset-s.moved)
		}
	}
	s.resize(out, sh)
	var list []byte
	for i, p := range s.f.Progs {
		h := bytes.Clone(out[ph+uint64(i)*phdrSize:][:phdrSize])
		put := func(at int, v uint64) { le.PutUint64(h[at:], v) }
		switch {
		case p.Type == elf.PT_PHDR:
			put(32, p.Filesz+phdrSize)
			put(40, p.Memsz+phdrSize)
		case p.Type == elf.PT_LOAD && p.Off == s.seg.Off:
			size := s.tab.Addr + uint64(len(s.out.b)) - p.Vaddr
			put(32, size)
			put(40, size)
			list = append(list, h...)
			h = bytes.Clone(h)
			put(8, off-s.moved)
			put(16, from)
			put(24, p.Paddr+from-p.Vaddr)
			put(32, p.Filesz-(from-p.Vaddr))
			put(40, p.Memsz-(from-p.Vaddr))
		case p.Off >= off:
			put(8, p.Off-s.moved)
		}
		list = append(list, h...)
	}
	copy(out[ph:], list)
	le.PutUint16(out[phnum:], uint16(n+1))
	return nil
}
