package image

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
)

// section is a section's bytes in the file.
func (s *slimmer) section(sec *elf.Section) ([]byte, error) {
	if sec.Offset > uint64(len(s.file)) || sec.FileSize > uint64(len(s.file))-sec.Offset {
		return nil, fmt.Errorf("%w: section %s is truncated", errTables, sec.Name)
	}
	return s.file[sec.Offset:][:sec.FileSize], nil
}

// holes removes from the type descriptors what no one can look at, and returns
// where there is room now, by address. There is none if reflection is linked.
func (s *slimmer) holes(o *old) ([]extent, error) {
	if reflects(o.names) != "" {
		return nil, nil
	}
	ro := s.f.Section(".rodata")
	data, err := s.section(ro)
	if err != nil {
		return nil, err
	}
	f := &finder{s: s, base: ro.Addr, data: data, types: map[uint64]*descriptor{}, names: map[uint64]*name{}, asked: map[string]bool{}}
	if err := f.references(f.add); err != nil {
		return nil, err
	}
	f.follow()
	if err := f.order(); err != nil {
		return nil, err
	}
	if err := f.references(f.mark); err != nil {
		return nil, err
	}
	f.markAll()
	free := f.release()
	if f.wrong {
		return nil, fmt.Errorf("%w: a type descriptor", errTables)
	}
	s.dropLinks()
	return free, nil
}

// dropLinks leaves out the list of types that reflection looks through, which is
// right behind the tables.
func (s *slimmer) dropLinks() {
	links := s.f.Section(".typelink")
	if links == nil {
		return
	}
	next := s.seg.Vaddr + s.seg.Filesz
	for _, sec := range s.f.Sections {
		if sec.Addr > links.Addr {
			next = min(next, sec.Addr)
		}
		if sec.Addr > s.tab.Addr && sec.Addr < links.Addr {
			return
		}
	}
	for i := mdText; i+2 < len(s.md)/8; i++ {
		if s.word(i) == links.Addr {
			s.setWord(i, 0)
			s.setWord(i+1, 0)
			s.setWord(i+2, 0)
			s.links = next - links.Addr
			return
		}
	}
}

// newArena finds the room that there is.
func (s *slimmer) newArena(o *old) (*arena, error) {
	ro := s.f.Section(".rodata")
	start, _ := s.gofunc()
	const types, rodata = -3, -1 // words of moduledata, from that for go:func.*
	if ro == nil || s.word(start+types) != ro.Addr || s.word(start+rodata) != ro.Addr {
		return nil, fmt.Errorf("%w: types are not where .rodata begins", errTables)
	}
	holes, err := s.holes(o)
	return &arena{s: s, base: ro.Addr, holes: holes}, err
}

// release takes what is not needed out of live types, erases it and the dead
// ones, and returns where they were.
func (f *finder) release() []extent {
	var free []extent
	for _, d := range f.types {
		if !d.live {
			free = append(free, d.parts...)
			continue
		}
		if p := f.bytes(d.at+tPtrTo, 4); le.Uint32(p) != 0 {
			if t := f.types[f.base+uint64(le.Uint32(p))]; t == nil || !t.live {
				le.PutUint32(p, 0) // as the linker does when the pointer type is not linked
			}
		}
		if !f.fieldsRead(d) {
			free = append(free, d.fields)
			if d.kind == kindStruct {
				clear(f.bytes(d.at+56, 24))
			}
		}
		free = append(free, f.keepCalled(d))
	}
	for _, n := range f.names {
		if !n.live {
			free = append(free, n.extent)
		}
	}
	free = slices.DeleteFunc(free, func(e extent) bool { return e.from >= e.to })
	slices.SortFunc(free, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	var merged []extent
	for _, e := range free {
		clear(f.bytes(e.from, e.to-e.from))
		if n := len(merged); n > 0 && merged[n-1].to == e.from {
			merged[n-1].to = e.to
		} else {
			merged = append(merged, e)
		}
	}
	return merged
}

// keepCalled moves the methods that may be called to the front, and returns the
// rest. Their order by name stays: exported ones come first.
func (f *finder) keepCalled(d *descriptor) extent {
	if d.methods.from == d.methods.to {
		return extent{}
	}
	to, count, exported := d.methods.from, uint16(0), uint16(0)
	u := f.bytes(d.uncommon, uncommonSize)
	for i, at := uint16(0), d.methods.from; at < d.methods.to; i, at = i+1, at+methodSize {
		if !f.called(at) {
			continue
		}
		copy(f.bytes(to, methodSize), f.bytes(at, methodSize))
		to += methodSize
		if count++; i < le.Uint16(u[6:]) {
			exported++
		}
	}
	le.PutUint16(u[4:], count)
	le.PutUint16(u[6:], exported)
	return extent{to, d.methods.to}
}

// arena has room for tables: holes, in the order of their addresses, and then
// the end of the new section. Places in it are distances from base.
type arena struct {
	s     *slimmer
	base  uint64
	holes []extent
	size  uint32 // of all that was added
}

const (
	near  = 4 // how many holes are looked at before the one in use is left
	spare = 24
)

// add puts data where there is room and returns the place. Most things go behind
// what was added before them, so that places are small numbers.
func (a *arena) add(data []byte, align uint64) uint32 {
	n := uint64(len(data))
	a.size += uint32(n)
	for i := range min(near, len(a.holes)) {
		if at := alignUp(a.holes[i].from, align); at+n <= a.holes[i].to {
			if a.left(i) > spare {
				break // too much to leave
			}
			a.holes = a.holes[i:]
			return a.use(0, at, data)
		}
	}
	best := -1
	for i, h := range a.holes {
		if at := alignUp(h.from, align); at+n <= h.to && (best < 0 || h.to-h.from < a.holes[best].to-a.holes[best].from) {
			best = i
		}
	}
	if best >= 0 {
		return a.use(best, alignUp(a.holes[best].from, align), data)
	}
	return uint32(a.s.tab.Addr - a.base + uint64(a.s.out.add(data, int(align))))
}

// left is the room in the holes before hole i.
func (a *arena) left(i int) (n uint64) {
	for _, h := range a.holes[:i] {
		n += h.to - h.from
	}
	return n
}

// use writes data to hole i.
func (a *arena) use(i int, at uint64, data []byte) uint32 {
	ro := a.s.f.Section(".rodata")
	copy(a.s.file[ro.Offset+at-ro.Addr:], data)
	a.holes[i].from = at + uint64(len(data))
	return uint32(at - a.base)
}

// at is what was added at a place.
func (a *arena) at(place uint32) []byte {
	ro := a.s.f.Section(".rodata")
	if uint64(place) < ro.Size {
		return a.s.file[ro.Offset+uint64(place):]
	}
	return a.s.out.b[a.base+uint64(place)-a.s.tab.Addr:]
}

func alignUp(v, align uint64) uint64 { return (v + align - 1) / align * align }
