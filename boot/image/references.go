package image

import (
	"cmp"
	"debug/elf"
	"slices"
)

// starts says whether a part that is known begins at an address.
func (f *finder) starts(at uint64) bool {
	if !f.inside(at) {
		return false
	}
	_, ok := slices.BinarySearchFunc(f.parts, at, func(p part, at uint64) int { return cmp.Compare(p.from, at) })
	return ok
}

// references calls mark for whatever may be a reference from code or data. In
// code it is the last four bytes of an address relative to the next instruction:
// a ModR/M byte with RIP as base stands before it, and up to four bytes of an
// immediate operand behind it. The compiler writes no address as it is; one that
// is the start of a part all the same counts.
func (f *finder) references(mark func(at uint64)) error {
	for _, sec := range f.s.f.Sections {
		if sec.Type == elf.SHT_NOBITS || sec.Flags&elf.SHF_ALLOC == 0 || sec == f.s.tab || sec.Name == ".typelink" {
			continue
		}
		b, err := f.s.section(sec)
		if err != nil {
			return err
		}
		if sec.Flags&elf.SHF_EXECINSTR != 0 {
			for i := 1; i+4 <= len(b); i++ {
				if at := uint64(le.Uint32(b[i:])); f.starts(at) {
					mark(at)
				}
				if b[i-1]&0xc7 == 0x05 {
					to := sec.Addr + uint64(i) + 4 + uint64(int64(int32(le.Uint32(b[i:]))))
					for _, n := range []uint64{0, 1, 2, 4} {
						mark(to + n)
					}
				}
			}
			continue
		}
		skip := f.parts
		for i := -sec.Addr & 7; i+8 <= uint64(len(b)); i += 8 {
			at := sec.Addr + i
			for len(skip) > 0 && skip[0].to <= at {
				skip = skip[1:]
			}
			if len(skip) == 0 || at+8 <= skip[0].from { // in no descriptor
				mark(le.Uint64(b[i:]))
			}
		}
	}
	return nil
}
