package measure

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"ampoule/boot/image"
)

// Bytes are those of a part of an image, in its file.
type Bytes struct {
	Code   int64
	Data   int64 // constants, type descriptors and variables with a first value
	Tables int64 // that the runtime needs of functions: to unwind, collect, trace
}

// Sum is all of them.
func (b Bytes) Sum() int64 { return b.Code + b.Data + b.Tables }

// Plus adds n times o.
func (b Bytes) Plus(o Bytes, n int64) Bytes {
	return Bytes{b.Code + n*o.Code, b.Data + n*o.Data, b.Tables + n*o.Tables}
}

// Account says whose the bytes of all sections of an image are, by package. What
// the linker makes for several packages is in brackets.
type Account map[string]Bytes

// Names of what is no package's.
const (
	Types    = "(type descriptors)"
	Strings  = "(string constants)"
	Shared   = "(function tables of several)"
	Linker   = "(the linker's own)"
	Assembly = "(assembly)"
	Elf      = "(headers and page alignment)"
	Padding  = "(padding between symbols)"
	Packing  = "(what packing the function tables saves)"
)

// Sum is all bytes of an account.
func (a Account) Sum() (sum Bytes) {
	for _, b := range a {
		sum = sum.Plus(b, 1)
	}
	return sum
}

// Read makes the account of the sections of an image that was linked with
// symbols. own are constants to be told apart, by the name they get: those that
// are in the image.
func Read(file []byte, own map[string]string) (Account, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("no symbols: %w", err)
	}
	a := Account{}
	for i, s := range f.Sections {
		if !loaded(s) {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		o := owners{of: make([]string, len(data))}
		switch {
		case s.Name == ".gopclntab":
			if err := o.tables(file, symbols); err != nil {
				return nil, err
			}
		case s.Name == ".typelink" || s.Name == ".itablink":
			o.set(0, len(data), Types)
		case s.Type == elf.SHT_NOTE:
			o.set(0, len(data), Linker)
		default:
			o.symbols(symbols, elf.SectionIndex(i), s)
			o.constants(data, own)
		}
		a.add(&o, s)
	}
	return a, nil
}

// Sections are the sizes of what is loaded from a file, by section.
func Sections(file []byte) (map[string]int64, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, s := range f.Sections {
		if loaded(s) {
			sizes[s.Name] = int64(s.Size)
		}
	}
	return sizes, nil
}

// loaded says whether a section is bytes of the image: not cleared memory, not
// for debuggers.
func loaded(s *elf.Section) bool {
	return s.Flags&elf.SHF_ALLOC != 0 && s.Type != elf.SHT_NOBITS
}

// add adds the bytes of a section.
func (a Account) add(o *owners, s *elf.Section) {
	for _, name := range o.of {
		b := a[name]
		switch {
		case s.Name == ".text":
			b.Code++
		case s.Name == ".gopclntab" || s.Name == ".typelink" || s.Name == ".itablink":
			b.Tables++
		default:
			b.Data++
		}
		a[name] = b
	}
}

// owners says whose each byte of a section is.
type owners struct{ of []string }

func (o *owners) set(from, to int, name string) {
	for i := max(from, 0); i < min(to, len(o.of)); i++ {
		o.of[i] = name
	}
}

// symbols gives each symbol's bytes to its package. Some symbols have no size: they
// begin a region of what has no symbols.
func (o *owners) symbols(all []elf.Symbol, index elf.SectionIndex, s *elf.Section) {
	regions := map[string]string{"type:*": Types, "runtime.gcbits.*": Types, "go:string.*": Strings, "go:funcdesc": Linker}
	var in []elf.Symbol
	for _, y := range all {
		if y.Section == index && (y.Size > 0 || regions[y.Name] != "") {
			in = append(in, y)
		}
	}
	slices.SortStableFunc(in, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	o.set(0, len(o.of), Linker)
	for i, y := range in {
		from, to := int(y.Value-s.Addr), len(o.of)
		if i+1 < len(in) {
			to = int(in[i+1].Value - s.Addr)
		}
		name := regions[y.Name]
		if name == "" {
			name = PackageOf(y.Name)
			const most = 64 // of padding; more is no padding
			end := min(to, from+int(y.Size))
			o.set(end, min(to, end+most), Padding)
			to = end
		}
		o.set(from, to, name)
	}
}

// constants takes constants out of a region of strings.
func (o *owners) constants(data []byte, own map[string]string) {
	for name, text := range own {
		if at := bytes.Index(data, []byte(text)); at >= 0 && text != "" {
			o.set(at, at+len(text), name)
		}
	}
}

// tables gives the function tables to the packages whose functions need them,
// where all are of one package.
func (o *owners) tables(file []byte, symbols []elf.Symbol) error {
	uses, err := image.Uses(file)
	if err != nil {
		return err
	}
	at := map[uint64]string{}
	for _, y := range symbols {
		if elf.ST_TYPE(y.Info) == elf.STT_FUNC {
			at[y.Value] = PackageOf(y.Name)
		}
	}
	for _, u := range uses {
		name := at[u.Entry]
		if name == "" {
			name = Linker
		}
		for _, p := range u.Parts {
			if p[1] > uint64(len(o.of)) || p[0] > p[1] {
				return fmt.Errorf("function tables of %#x: %d to %d of %d bytes", u.Entry, p[0], p[1], len(o.of))
			}
			for i := p[0]; i < p[1]; i++ {
				if o.of[i] != "" && o.of[i] != name {
					o.of[i] = Shared
				} else {
					o.of[i] = name
				}
			}
		}
	}
	for i, name := range o.of {
		if name == "" {
			o.of[i] = Shared
		}
	}
	return nil
}

// PackageOf is the package of a symbol. What the linker and the compiler make for
// a type is no package's: it may be there without the package's code.
func PackageOf(symbol string) string {
	for _, made := range []struct{ prefix, of string }{
		{"type:", Types}, {"go:itab.", Types}, {".gcmask.", Types}, {"go.shape.", Types}, {"go:", Linker}, {"$", Linker},
	} {
		if strings.HasPrefix(symbol, made.prefix) {
			return made.of
		}
	}
	if p := declared(symbol); p != "" {
		return p
	}
	return Assembly
}

// declared is the package in front of a name; "": there is none.
func declared(name string) string {
	end := strings.IndexAny(name, "[({ ")
	if end < 0 {
		end = len(name)
	}
	slash := strings.LastIndexByte(name[:end], '/')
	if dot := strings.IndexByte(name[slash+1:], '.'); dot >= 0 && slash+1+dot <= end {
		return name[:slash+1+dot]
	}
	return ""
}
