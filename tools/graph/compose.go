package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	configimage "ampoule/tools/configc/image"
	"ampoule/tools/size/measure"
)

// measurement is what was found out about an image and its variants.
type measurement struct {
	size    int64 // of the image that ships
	plain   int64 // of it before its function tables were packed
	parts   []configimage.Part
	full    measure.Account
	without map[string]measure.Account // one part less, by its name
	base    measure.Account            // none of the parts
	title   func(configimage.Part) string
}

// graph is what is drawn: the sum of all its modules is the image.
type graph struct {
	title    string
	size     int64
	sections []section
}

// section is a part of the configuration, or of what is there whatever the
// configuration says.
type section struct {
	title   string
	about   string
	modules []module
}

func (s *section) sum() (sum measure.Bytes) {
	for _, m := range s.modules {
		sum = sum.Plus(m.bytes, 1)
	}
	return sum
}

// module is a package, or something that has no package.
type module struct {
	name  string
	bytes measure.Bytes
	more  bool // the package is there anyway, and larger by this
}

// label is a module's name as it is shown.
func (m *module) label() string {
	if m.more {
		return "+ " + m.name
	}
	return m.name
}

// tables is what function tables of packages that are there anyway take more.
const tables = "(function tables of them)"

// compose says for each package why it is there.
//
// A package that goes with one part belongs to it, and where parts are within
// each other, to the inner one. Packages that are there with and without a part,
// but are larger with it, give it the difference. What several parts need, or
// any of several would bring, is a section of its own; it also takes back what
// two parts count. The rest is the base.
//
// A part that brings next to nothing can be below it with what others are smaller by:
// layouts differ by some hundred bytes. That goes to the base then.
//
// Packages share function tables, and which of them are one package's alone
// depends on what others there are; so the differences of tables are not told
// apart by package.
func (m *measurement) compose() *graph {
	g := &graph{size: m.size, sections: make([]section, len(m.parts)+1)}
	index := map[string]int{}
	for i, p := range m.parts {
		g.sections[i].title, g.sections[i].about = m.title(p), p.About
		index[p.Name] = i
	}
	several := &g.sections[len(m.parts)]
	several.title, several.about = "more than one of these", "what several need together, or any of them brings"
	base := measure.Account{measure.Elf: {Data: m.plain - m.full.Sum().Sum()}}
	if m.size != m.plain {
		base[measure.Packing] = measure.Bytes{Tables: m.size - m.plain}
	}
	grown := make([][]module, len(m.parts)) // of each part, where others are larger or smaller
	for _, p := range slices.Sorted(maps.Keys(m.full)) {
		if p == measure.Padding { // the layout's, not a part's
			base[p] = m.full[p]
			continue
		}
		owners, s := m.owners(p), several
		if len(owners) == 1 {
			s = &g.sections[index[owners[0]]]
		}
		if len(owners) == 1 || m.base[p] == (measure.Bytes{}) {
			s.modules = append(s.modules, module{p, m.full[p], false})
			continue
		}
		rest := m.full[p].Plus(m.base[p], -1)
		for i := range m.parts {
			d := m.growth(p, i)
			grown[i] = append(grown[i], module{p, d, true})
			rest = rest.Plus(d, -1)
		}
		several.grow(p, rest)
		base[p] = m.base[p]
	}
	for i := range m.parts {
		if sum := g.sections[i].sum(); (&section{modules: grown[i]}).sum().Plus(sum, 1).Sum() < 0 {
			saved(grown[i], base)
		}
		for _, m := range grown[i] {
			g.sections[i].grow(m.name, m.bytes)
		}
	}
	for i := range g.sections {
		g.sections[i].tidy()
	}
	g.sections = slices.DeleteFunc(g.sections, func(s section) bool { return len(s.modules) == 0 })
	g.sections = append(g.sections, groups(base)...)
	return g
}

// saved moves what is below nothing to base.
func saved(modules []module, base measure.Account) {
	for i := range modules {
		m := &modules[i]
		less := measure.Bytes{Code: min(m.bytes.Code, 0), Data: min(m.bytes.Data, 0), Tables: min(m.bytes.Tables, 0)}
		m.bytes, base[m.name] = m.bytes.Plus(less, -1), base[m.name].Plus(less, 1)
	}
}

// grow adds what the package p is larger by.
func (s *section) grow(p string, d measure.Bytes) {
	for _, m := range []module{{p, measure.Bytes{Code: d.Code, Data: d.Data}, true}, {tables, measure.Bytes{Tables: d.Tables}, true}} {
		i := slices.IndexFunc(s.modules, func(o module) bool { return o.more && o.name == m.name })
		switch {
		case m.bytes == measure.Bytes{}:
		case i < 0:
			s.modules = append(s.modules, m)
		default:
			s.modules[i].bytes = s.modules[i].bytes.Plus(m.bytes, 1)
		}
	}
}

// owners are the parts without any of which the package p is not in the image,
// less those that have such a part within them.
func (m *measurement) owners(p string) (names []string) {
	outer := map[string]bool{}
	for _, part := range m.parts {
		if m.without[part.Name][p] == (measure.Bytes{}) {
			names = append(names, part.Name)
			for w := part.Within; w != ""; w = m.within(w) {
				outer[w] = true
			}
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return outer[n] })
}

// within names the part that a part is within.
func (m *measurement) within(name string) string {
	for _, p := range m.parts {
		if p.Name == name {
			return p.Within
		}
	}
	return ""
}

// growth is by how much the package p is larger for part i, less what parts
// within it account for.
func (m *measurement) growth(p string, i int) measure.Bytes {
	part := m.parts[i]
	d := m.full[p].Plus(m.without[part.Name][p], -1)
	for k, o := range m.parts {
		if o.Within == part.Name {
			d = d.Plus(m.growth(p, k), -1)
		}
	}
	return d
}

// tidy sorts the modules: packages first, then what is larger, each by bytes;
// small differences become one module.
func (s *section) tidy() {
	const small = 512 // bytes
	var rest module
	n := 0
	s.modules = slices.DeleteFunc(s.modules, func(m module) bool {
		drop := m.more && max(m.bytes.Sum(), -m.bytes.Sum()) < small
		if drop {
			rest.bytes = rest.bytes.Plus(m.bytes, 1)
			n++
		}
		return drop
	})
	sortModules(s.modules)
	if n > 0 {
		rest.name, rest.more = fmt.Sprintf("%d others", n), true
		s.modules = append(s.modules, rest)
	}
}

func sortModules(list []module) {
	slices.SortFunc(list, func(a, b module) int {
		if a.more != b.more {
			if b.more {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.bytes.Sum(), a.bytes.Sum()), strings.Compare(a.name, b.name))
	})
}

// kinds are those of what is in every image of an appliance.
var kinds = [...]struct {
	title, about string
	prefixes     []string
}{
	{"TCP/IP", "gVisor's stack", []string{"gvisor.dev/"}},
	{"appliance", "its own code", []string{"ampoule/appliances/", "main"}},
	{"libos", "the library OS", []string{"ampoule/libos/"}},
	{"drivers", "", []string{"ampoule/drivers/"}},
	{"boot", "from power-on to main, and the gate", []string{"ampoule/boot/"}},
	{"Go's runtime", "with the overlay", []string{"runtime", "internal/"}},
	{"compiler and linker", "made for all packages", []string{"("}},
	{"Go's library, other modules", "", []string{""}},
}

// groups are the sections of what is there whatever the configuration says.
func groups(base measure.Account) []section {
	const small = 4096 // bytes
	var list [len(kinds)]section
	var rest [len(kinds)]module
	var n [len(kinds)]int
	for p, b := range base {
		i := slices.IndexFunc(kinds[:], func(k struct {
			title, about string
			prefixes     []string
		}) bool {
			return slices.ContainsFunc(k.prefixes, func(prefix string) bool { return strings.HasPrefix(p, prefix) })
		})
		if b.Sum() < small && b.Sum() > -small {
			rest[i].bytes = rest[i].bytes.Plus(b, 1)
			n[i]++
			continue
		}
		list[i].modules = append(list[i].modules, module{p, b, false})
	}
	var out []section
	for i, s := range list {
		sortModules(s.modules)
		if n[i] > 0 {
			rest[i].name = fmt.Sprintf("%d smaller ones", n[i])
			s.modules = append(s.modules, rest[i])
		}
		if len(s.modules) > 0 {
			s.title, s.about = "base: "+kinds[i].title, kinds[i].about
			out = append(out, s)
		}
	}
	return out
}
