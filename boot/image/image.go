// Package image turns the ELF file that the Go linker made into a bootable
// image. It is a pure function of the file's bytes.
package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// note is how the PVH note of boot/pvh begins (Xen, public/elfnote.h,
// XEN_ELFNOTE_PHYS32_ENTRY).
var note = []byte("\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Xen\x00")

const (
	noteSize   = 24
	entryOff   = 16 // of the entry address in the note
	phdrSize   = 56
	phdrOffset = 8
	ehdrSize   = 64
	phoff      = 32 // in the ELF header: offset of the program headers

	entryOffELF  = 24      // in the ELF header: the entry point
	paddrOff     = 24      // in a program header: the physical address
	phentsizeOff = 54      // in the ELF header: size of one
	limit        = 1 << 32 // of the addresses that a loader can reach
)

// Info says what is in an image.
type Info struct {
	Entry uint64 // physical address of the PVH entry point
	End   uint64 // first physical address behind data and BSS
}

// Seal gives the file its place in memory, from physical address base on,
// wherever it is linked, and points PT_NOTE at the PVH note, so that a loader
// finds the entry point, which becomes physical. It checks that the segments can
// be mapped as the memory map says: none both writable and executable, no two on
// one page. It works on a copy; stripped files are fine, and so are sealed ones.
func Seal(file []byte, base uint64) ([]byte, *Info, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, nil, fmt.Errorf("image is %v %v %v %v, want EM_X86_64 ET_EXEC ELFCLASS64 ELFDATA2LSB", f.Machine, f.Type, f.Class, f.Data)
	}
	if n := binary.LittleEndian.Uint16(file[phentsizeOff:]); n != phdrSize {
		return nil, nil, fmt.Errorf("program headers of %d bytes, want %d", n, phdrSize)
	}
	at := bytes.Index(file, note)
	if at < 0 {
		return nil, nil, errors.New("no PVH note: the program does not import ampoule/boot/platform")
	}
	if bytes.Contains(file[at+1:], note) {
		return nil, nil, errors.New("more than one PVH note")
	}
	info, start, err := check(f, uint64(len(file)), base)
	if err != nil {
		return nil, nil, err
	}
	addr, ok := address(f, uint64(at), noteSize)
	if !ok {
		return nil, nil, errors.New("the PVH note is in no loaded segment")
	}
	shift := start - base // wraps where the image is loaded above its addresses
	info.Entry = binary.LittleEndian.Uint64(file[at+entryOff:])
	if first(f).Paddr == first(f).Vaddr {
		info.Entry -= shift
	}
	if !executable(f, info.Entry+shift) {
		return nil, nil, fmt.Errorf("the PVH entry point %#x is no code below 4 GiB", info.Entry+shift)
	}
	info.End -= shift
	out := bytes.Clone(file)
	binary.LittleEndian.PutUint64(out[at+entryOff:], info.Entry)
	binary.LittleEndian.PutUint64(out[entryOffELF:], info.Entry)
	table := binary.LittleEndian.Uint64(out[phoff:])
	for i, p := range f.Progs {
		if p.Type == elf.PT_LOAD || p.Type == elf.PT_PHDR {
			binary.LittleEndian.PutUint64(out[table+uint64(i)*phdrSize+paddrOff:], p.Vaddr-shift)
		}
	}
	if err := pointNote(out, f, uint64(at), addr, addr-shift); err != nil {
		return nil, nil, err
	}
	return out, info, nil
}

// first is the first segment to load, which check has seen.
func first(f *elf.File) *elf.Prog {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			return p
		}
	}
	return &elf.Prog{}
}

// check refuses segments that the seal cannot honour; it answers the first
// address, too.
func check(f *elf.File, size, base uint64) (*Info, uint64, error) {
	info := &Info{}
	var last *elf.Prog
	load := first(f)
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			return nil, 0, fmt.Errorf("segment at %#x is writable and executable", p.Vaddr)
		}
		if d := p.Vaddr - p.Paddr; d != 0 && d != load.Vaddr-base || d != load.Vaddr-load.Paddr {
			return nil, 0, fmt.Errorf("segment at %#x has physical address %#x", p.Vaddr, p.Paddr)
		}
		if p.Memsz < p.Filesz || p.Memsz > limit || p.Vaddr > limit-p.Memsz {
			return nil, 0, fmt.Errorf("segment at %#x: %#x bytes in memory, %#x in the file, make no sense", p.Vaddr, p.Memsz, p.Filesz)
		}
		if p.Filesz > size || p.Off > size-p.Filesz {
			return nil, 0, fmt.Errorf("segment at %#x ends behind the file: it is truncated", p.Vaddr)
		}
		if last != nil && p.Vaddr < last.Vaddr {
			return nil, 0, fmt.Errorf("segment at %#x comes after the one at %#x", p.Vaddr, last.Vaddr)
		}
		if last != nil && last.Vaddr+last.Memsz > p.Vaddr&^4095 {
			return nil, 0, fmt.Errorf("segments at %#x and %#x share a page", last.Vaddr, p.Vaddr)
		}
		last = p
		info.End = p.Vaddr + p.Memsz
	}
	if last == nil {
		return nil, 0, errors.New("no segment to load")
	}
	if p := f.Progs[0]; p.Type != elf.PT_PHDR || p.Vaddr != load.Vaddr+ehdrSize || p.Off != ehdrSize || load.Off != 0 {
		return nil, 0, errors.New("the first program header is not PT_PHDR, which tells the entry code where the image is linked")
	}
	if load.Vaddr%4096 != base%4096 || base+info.End-load.Vaddr > limit {
		return nil, 0, fmt.Errorf("the segment at %#x cannot be loaded at %#x", load.Vaddr, base)
	}
	return info, load.Vaddr, nil
}

// executable says whether a loader that jumps to addr in 32-bit mode finds code.
func executable(f *elf.File, addr uint64) bool {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			return true
		}
	}
	return false
}

// address converts a file offset to an address.
func address(f *elf.File, off, n uint64) (uint64, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && off >= p.Off && off+n <= p.Off+p.Filesz {
			return p.Vaddr + off - p.Off, true
		}
	}
	return 0, false
}

// pointNote rewrites the PT_NOTE program header.
func pointNote(out []byte, f *elf.File, off, addr, phys uint64) error {
	for i, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		ph := out[binary.LittleEndian.Uint64(out[phoff:])+uint64(i)*phdrSize:]
		for k, v := range []uint64{off, addr, phys, noteSize, noteSize, 4} {
			binary.LittleEndian.PutUint64(ph[phdrOffset+8*k:], v)
		}
		return nil
	}
	return errors.New("no PT_NOTE program header")
}
