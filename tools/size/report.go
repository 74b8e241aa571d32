package main

import (
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"slices"

	"ampoule/tools/size/measure"
)

// part is something with a name and a size.
type part struct {
	name  string
	bytes uint64
}

// report prints the sections of an image, and its largest packages and symbols.
func report(w io.Writer, file string, top int) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintln(w, "   bytes  section")
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 && s.Type == elf.SHT_PROGBITS && s.Size >= 1024 {
			fmt.Fprintf(w, "%8d  %s\n", s.Size, s.Name)
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	packages := map[string]uint64{}
	var largest []part
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || s.Size == 0 || f.Sections[s.Section].Type != elf.SHT_PROGBITS ||
			f.Sections[s.Section].Name == ".gopclntab" {
			continue
		}
		packages[measure.PackageOf(s.Name)] += s.Size
		largest = append(largest, part{s.Name, s.Size})
	}
	var sums []part
	for name, n := range packages {
		sums = append(sums, part{name, n})
	}
	fmt.Fprintln(w, "\n   bytes  package: its code and data, without function tables and type descriptors")
	list(w, sums, top)
	fmt.Fprintln(w, "\n   bytes  symbol")
	list(w, largest, top)
	return nil
}

func list(w io.Writer, parts []part, top int) {
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
	})
	for _, p := range parts[:min(top, len(parts))] {
		name := p.name
		if len(name) > 100 {
			name = name[:97] + "..."
		}
		fmt.Fprintf(w, "%8d  %s\n", p.bytes, name)
	}
}
