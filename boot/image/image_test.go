package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// seg is a program header and, for PT_LOAD, the bytes it loads.
type seg struct {
	kind, flags         uint32
	vaddr, paddr, memsz uint64
	data                []byte
}

const (
	rx = uint32(elf.PF_R | elf.PF_X)
	ro = uint32(elf.PF_R)
	rw = uint32(elf.PF_R | elf.PF_W)
)

// base is where images are loaded.
const base = 0x200000

// pvhNote is a note for an entry point.
func pvhNote(entry uint64) []byte {
	return binary.LittleEndian.AppendUint64(bytes.Clone(note), entry)
}

// goodFile has the segments that the Go linker makes.
func goodFile() []seg {
	text, rodata := bytes.Repeat([]byte{0x90}, 0x1234), append(make([]byte, 40), pvhNote(0x200800)...)
	return []seg{
		{kind: uint32(elf.PT_PHDR), flags: ro, vaddr: 0x200040, paddr: 0x200040},
		{kind: uint32(elf.PT_NOTE), flags: ro, vaddr: 0x200f9c, paddr: 0x200f9c},
		{kind: uint32(elf.PT_LOAD), flags: rx, vaddr: 0x200000, paddr: 0x200000, memsz: 0x1234, data: text},
		{kind: uint32(elf.PT_LOAD), flags: ro, vaddr: 0x202000, paddr: 0x202000, memsz: uint64(len(rodata)), data: rodata},
		{kind: uint32(elf.PT_LOAD), flags: rw, vaddr: 0x203000, paddr: 0x203000, memsz: 0x5008, data: make([]byte, 0x100)},
		{kind: uint32(elf.PT_GNU_STACK), flags: rw},
	}
}

// link writes an ELF file: headers, then the segments on pages of the file.
// The first PT_LOAD holds the headers.
func link(segs []seg) []byte {
	le := binary.LittleEndian
	out := make([]byte, 64+56*len(segs))
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], uint16(elf.ET_EXEC))
	le.PutUint16(out[18:], uint16(elf.EM_X86_64))
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[32:], 64)
	le.PutUint16(out[52:], 64)
	le.PutUint16(out[54:], 56)
	le.PutUint16(out[56:], uint16(len(segs)))
	le.PutUint16(out[58:], 64)
	first := true
	for i, s := range segs {
		ph := 64 + 56*i
		off := 0
		if s.kind == uint32(elf.PT_PHDR) {
			off = 64
		}
		if s.kind == uint32(elf.PT_LOAD) {
			if off = (len(out) + 4095) &^ 4095; first {
				off, first = 0, false
				out = append(out, make([]byte, max(0, len(s.data)-len(out)))...)
				copy(out[64+56*len(segs):], s.data[64+56*len(segs):])
			} else {
				out = append(out, make([]byte, off-len(out))...)
				out = append(out, s.data...)
			}
		}
		le.PutUint32(out[ph:], s.kind)
		le.PutUint32(out[ph+4:], s.flags)
		for k, v := range []uint64{uint64(off), s.vaddr, s.paddr, uint64(len(s.data)), s.memsz, 4096} {
			le.PutUint64(out[ph+8+8*k:], v)
		}
	}
	return out
}

func TestSeal(t *testing.T) {
	file := link(goodFile())
	kept := bytes.Clone(file)
	out, info, err := Seal(file, base)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, kept) {
		t.Error("Seal changed what it was given")
	}
	if info.Entry != 0x200800 || info.End != 0x208008 {
		t.Errorf("entry %#x, end %#x", info.Entry, info.End)
	}
	// Only the PT_NOTE header differs, which leads to the note, and the entry.
	diff := 0
	for i := range file {
		if file[i] != out[i] {
			if diff++; (i < 24 || i >= 32) && (i < 64+56+8 || i >= 64+56+56) {
				t.Errorf("byte %#x changed", i)
			}
		}
	}
	f, err := elf.NewFile(bytes.NewReader(out))
	if err != nil || diff == 0 {
		t.Fatalf("%v, %d bytes changed", err, diff)
	}
	p := f.Progs[1]
	got := make([]byte, 24)
	if _, err := p.ReadAt(got, 0); err != nil || !bytes.Equal(got, pvhNote(0x200800)) {
		t.Errorf("PT_NOTE leads to % x, %v", got, err)
	}
	if p.Type != elf.PT_NOTE || p.Vaddr != 0x202028 || p.Paddr != p.Vaddr || p.Filesz != 24 || p.Memsz != 24 || p.Align != 4 {
		t.Errorf("PT_NOTE is %+v", p.ProgHeader)
	}
	if f.Entry != 0x200800 {
		t.Errorf("the file's entry point is %#x", f.Entry)
	}
	if again, _, err := Seal(out, base); err != nil || !bytes.Equal(again, out) {
		t.Errorf("a sealed image changes when sealed again: %v", err)
	}
}

// An image that is linked anywhere is loaded at base: its segments keep their
// distances, the entry point and the note go along, addresses stay.
func TestSealMoves(t *testing.T) {
	for _, linked := range []uint64{0x100000, 0x200000, 0x12345000, 0x7ff00000} {
		segs := goodFile()
		for i := range segs {
			if segs[i].vaddr != 0 {
				segs[i].vaddr += linked - base
				segs[i].paddr = segs[i].vaddr
			}
		}
		copy(segs[3].data[40:], pvhNote(linked+0x800))
		out, info, err := Seal(link(segs), base)
		if err != nil || info.Entry != 0x200800 || info.End != 0x208008 {
			t.Fatalf("linked at %#x: %+v, %v", linked, info, err)
		}
		f, err := elf.NewFile(bytes.NewReader(out))
		if err != nil || f.Entry != 0x200800 {
			t.Fatalf("linked at %#x: entry %#x, %v", linked, f.Entry, err)
		}
		for i, p := range f.Progs {
			if p.Type != elf.PT_GNU_STACK && p.Type != elf.PT_NOTE && (p.Vaddr != segs[i].vaddr || p.Paddr != p.Vaddr-linked+base) {
				t.Errorf("linked at %#x: %+v", linked, p.ProgHeader)
			}
		}
		note := make([]byte, 24)
		if _, err := f.Progs[1].ReadAt(note, 0); err != nil || !bytes.Equal(note, pvhNote(0x200800)) || f.Progs[1].Paddr != 0x202028 {
			t.Errorf("linked at %#x: PT_NOTE %+v leads to % x, %v", linked, f.Progs[1].ProgHeader, note, err)
		}
		if again, _, err := Seal(out, base); err != nil || !bytes.Equal(again, out) {
			t.Errorf("linked at %#x: sealing again: %v", linked, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	segs := func(change func([]seg) []seg) []byte { return link(change(goodFile())) }
	bytesAt := func(at int, b ...byte) []byte {
		f := link(goodFile())
		copy(f[at:], b)
		return f
	}
	good := link(goodFile())
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "EOF"},
		{"no ELF", []byte("#!/bin/sh\nexit 1\n# and what else there is to it, 64 bytes or so...."), "bad magic number"},
		{"ARM", bytesAt(18, byte(elf.EM_AARCH64)), "want EM_X86_64"},
		{"position independent", bytesAt(16, byte(elf.ET_DYN)), "want EM_X86_64 ET_EXEC"},
		{"32-bit headers", bytesAt(54, 32), "32"},
		{"no note", segs(func(s []seg) []seg { clear(s[3].data); return s }), "no PVH note: the program does not import ampoule/boot/platform"},
		{"two notes", segs(func(s []seg) []seg { copy(s[4].data, pvhNote(1)); return s }), "more than one PVH note"},
		{"W and X", segs(func(s []seg) []seg { s[2].flags |= rw; return s }), "segment at 0x200000 is writable and executable"},
		{"shared page", segs(func(s []seg) []seg { s[2].memsz = 0x2001; return s }), "segments at 0x200000 and 0x202000 share a page"},
		{"shared page of a ragged start", segs(func(s []seg) []seg { s[3].vaddr, s[3].paddr = 0x201800, 0x201800; return s }), "share a page"},
		{"paddr", segs(func(s []seg) []seg { s[3].paddr = 0x302000; return s }), "segment at 0x202000 has physical address 0x302000"},
		{"order", segs(func(s []seg) []seg { s[3], s[4] = s[4], s[3]; return s }), "segment at 0x202000 comes after the one at 0x203000"},
		{"less memory than file", segs(func(s []seg) []seg { s[4].memsz = 1; return s }), "make no sense"},
		{"wraps", segs(func(s []seg) []seg { s[4].memsz = 1<<64 - 1; return s }), "make no sense"},
		{"above 4 GiB", segs(func(s []seg) []seg { s[4].vaddr, s[4].paddr = 1<<32, 1<<32; return s }), "make no sense"},
		{"no PT_PHDR", segs(func(s []seg) []seg { return s[1:] }), "the first program header is not PT_PHDR"},
		{"PT_PHDR elsewhere", segs(func(s []seg) []seg { s[0].vaddr += 8; return s }), "the first program header is not PT_PHDR"},
		{"one moved", segs(func(s []seg) []seg { s[4].paddr += 0x1000; return s }), "segment at 0x203000 has physical address 0x204000"},
		{"nothing to load", append(segs(func(s []seg) []seg { return s[:2] }), pvhNote(0x200800)...), "no segment to load"},
		{"no PT_NOTE", segs(func(s []seg) []seg { s[1].kind = uint32(elf.PT_NULL); return s }), "no PT_NOTE program header"},
		{"note outside", append(segs(func(s []seg) []seg { clear(s[3].data); return s }), pvhNote(0x200800)...), "the PVH note is in no loaded segment"},
		{"note cut by its segment", segs(func(s []seg) []seg { s[3].data = s[3].data[:60]; return s }), "the PVH note is in no loaded segment"},
		{"entry in data", segs(func(s []seg) []seg { copy(s[3].data[56:], "\x00\x30\x20\x00"); return s }), "entry point 0x203000 is no code"},
		{"entry behind text", segs(func(s []seg) []seg { copy(s[3].data[56:], "\x34\x12\x20\x00"); return s }), "entry point 0x201234 is no code"},
		{"truncated", good[:len(good)-1], "segment at 0x203000 ends behind the file"},
		{"truncated in the note", good[:0x2000+60], "ends behind the file"},
		{"truncated in the headers", good[:100], "EOF"},
	} {
		_, _, err := Seal(tc.file, base)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// Each prefix of a file is refused: none is a whole image.
func TestSealTruncated(t *testing.T) {
	good := link(goodFile())
	for n := range good {
		if _, _, err := Seal(good[:n], base); err == nil {
			t.Fatalf("%d of %d bytes are an image", n, len(good))
		}
	}
}

// FuzzSeal: files that no linker made are refused or sealed, and what is sealed
// is an image by its own rules.
func FuzzSeal(f *testing.F) {
	good := link(goodFile())
	f.Add(good)
	f.Add(good[:200])
	for _, at := range []int{4, 32, 40, 54, 56, 64 + 56*2 + 8, 64 + 56*3 + 8, 64 + 56*4 + 40} {
		bad := bytes.Clone(good)
		bad[at] ^= 0xff
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		out, info, err := Seal(file, base)
		if err != nil {
			return
		}
		again, info2, err := Seal(out, base)
		if err != nil || !bytes.Equal(out, again) || *info != *info2 || len(out) != len(file) {
			t.Errorf("sealing again: %v", err)
		}
	})
}
