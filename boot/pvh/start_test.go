//go:build !ampoule

package pvh

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
)

func TestFailures(t *testing.T) {
	seen := map[string]failure{}
	for f := failNone + 1; f < failures; f++ {
		s := f.String()
		if s == "" || s == failures.String() || strings.ContainsAny(s, "\r\n\t") || strings.HasSuffix(s, ".") || len(s) > 120 {
			t.Errorf("failure %d: %q is not one line", f, s)
		}
		if o, ok := seen[s]; ok {
			t.Errorf("failures %d and %d share %q", o, f, s)
		}
		seen[s] = f
		for _, c := range []byte(s) {
			if c < ' ' || c > '~' {
				t.Errorf("failure %d: %q is not ASCII", f, s)
			}
		}
	}
}

func TestReadStart(t *testing.T) {
	good := []entry{{mib, 63 * mib, mapRAM}}
	word := func(off uint64, v uint32) func(memory) {
		return func(mem memory) { mem.store32(infoAt+off, v) }
	}
	long := func(off, v uint64) func(memory) {
		return func(mem memory) { mem.store(infoAt+off, v) }
	}
	for _, tc := range []struct {
		name   string
		start  uint64
		change func(memory)
		want   failure
	}{
		{"good", infoAt, nil, failNone},
		{"version 2", infoAt, word(infoVersion, 2), failNone},
		{"no start info", 0, nil, failStartInfo},
		{"above 4 GiB", 1<<32 + infoAt, nil, failStartInfo},
		{"end of 4 GiB", 1<<32 - infoSize + 1, nil, failStartInfo},
		{"last place, empty", 1<<32 - infoSize, nil, failStartInfo},
		{"wrapping", ^uint64(0), nil, failStartInfo},
		{"bad magic", infoAt, word(0, startMagic+1), failStartInfo},
		{"version 0", infoAt, word(infoVersion, 0), failNoMap},
		{"no map", infoAt, long(infoMap, 0), failNoMap},
		{"no entries", infoAt, word(infoMapCount, 0), failNoMap},
		{"too many entries", infoAt, word(infoMapCount, maxEntries+1), failNoMap},
		{"most entries", infoAt, word(infoMapCount, maxEntries), failNone},
		{"map above 4 GiB", infoAt, long(infoMap, 1<<32), failNoMap},
		{"map ends behind 4 GiB", infoAt, long(infoMap, 1<<32-mapEntrySize+1), failNoMap},
		{"map at the end", infoAt, long(infoMap, 1<<32-mapEntrySize), failNone},
		{"map wraps", infoAt, long(infoMap, ^uint64(0)), failNoMap},
		{"no command line", infoAt, long(infoCommand, 0), failNone},
		{"command line above 4 GiB", infoAt, long(infoCommand, 1<<32), failNone},
		{"command line wraps", infoAt, long(infoCommand, ^uint64(0)), failNone},
	} {
		m, hw := newMachine(t)
		putInfo(hw.mem, good, "a=b")
		hw.mem.store(infoAt+infoRSDP, 0xe0000)
		if tc.change != nil {
			tc.change(hw.mem)
		}
		m.start = tc.start
		if f := m.readStart(); f != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, f, tc.want)
		} else if f == failNone && m.rsdp != 0xe0000 {
			t.Errorf("%s: RSDP %#x", tc.name, m.rsdp)
		}
	}
}

func TestReadCommand(t *testing.T) {
	m, hw := newMachine(t)
	long := bytes.Repeat([]byte("x"), 2*rtabi.MaxCommand)
	copy(hw.mem.bytes(cmdAt, len(long)), long)
	if m.readCommand(cmdAt); m.info.CommandLen != rtabi.MaxCommand-1 || m.info.Command[rtabi.MaxCommand-1] != 0 {
		t.Errorf("long: %d bytes", m.info.CommandLen)
	}
	m.info = new(rtabi.BootInfo)
	copy(hw.mem.bytes(reachable-3, 3), "end")
	if m.readCommand(reachable - 3); string(m.info.Command[:m.info.CommandLen]) != "end" {
		t.Errorf("at the end of memory: %q", m.info.Command[:m.info.CommandLen])
	}
}

// TestMemoryMap reads maps of all sorts.
func TestMemoryMap(t *testing.T) {
	const k4 = 4 * kib
	const top = ^uint64(0)
	for _, tc := range []struct {
		name string
		ram  []entry
		want []span
	}{
		{"one", []entry{{mib, mib, 1}}, []span{{mib, 2 * mib}}},
		{"other kinds", []entry{{mib, mib, 1}, {4 * mib, mib, 2}, {6 * mib, mib, 0}, {8 * mib, mib, 1 << 16}}, []span{{mib, 2 * mib}}},
		{"unsorted", []entry{{8 * mib, mib, 1}, {mib, mib, 1}, {4 * mib, mib, 1}}, []span{{mib, 2 * mib}, {4 * mib, 5 * mib}, {8 * mib, 9 * mib}}},
		{"touching", []entry{{2 * mib, mib, 1}, {mib, mib, 1}}, []span{{mib, 3 * mib}}},
		{"overlapping", []entry{{mib, 3 * mib, 1}, {2 * mib, 4 * mib, 1}}, []span{{mib, 6 * mib}}},
		{"inside", []entry{{mib, 8 * mib, 1}, {2 * mib, mib, 1}, {3 * mib, k4, 1}, {5 * mib, 6 * mib, 1}}, []span{{mib, 11 * mib}}},
		{"the same twice", []entry{{mib, mib, 1}, {mib, mib, 1}}, []span{{mib, 2 * mib}}},
		{"empty", []entry{{mib, 0, 1}, {3 * mib, mib, 1}}, []span{{3 * mib, 4 * mib}}},
		{"odd ends", []entry{{mib + 1, mib, 1}, {8*mib - 1, k4 + 2, 1}}, []span{{mib + k4, 2 * mib}, {8 * mib, 8*mib + k4}}},
		{"less than a page", []entry{{mib + 1, k4 - 2, 1}, {2 * mib, k4 - 1, 1}, {3 * mib, k4, 1}}, []span{{3 * mib, 3*mib + k4}}},
		{"two halves of a page", []entry{{mib, k4 / 2, 1}, {mib + k4/2, k4 / 2, 1}}, nil},
		{"wrapping", []entry{{mib, top, 1}}, []span{{mib, maxPhys}}},
		{"wrapping to 0", []entry{{mib, top - mib + 1, 1}}, []span{{mib, maxPhys}}},
		{"all there is", []entry{{0, top, 1}}, []span{{0, maxPhys}}},
		{"at the top", []entry{{top - k4, k4, 1}, {top, 1, 1}, {top - 2, 2, 1}, {mib, mib, 1}}, []span{{mib, 2 * mib}}},
		{"too high", []entry{{maxPhys, mib, 1}, {maxPhys - mib, 2 * mib, 1}}, []span{{maxPhys - mib, maxPhys}}},
	} {
		m, hw := newMachine(t)
		m.start = infoAt
		putInfo(hw.mem, tc.ram, "")
		if f := m.readStart(); f != failNone {
			t.Errorf("%s: %v", tc.name, f)
		}
		if got := m.ram[:m.nram]; !slices.Equal(got, tc.want) {
			t.Errorf("%s: %x, want %x", tc.name, got, tc.want)
		}
		if m.info.RAM != m.total() {
			t.Errorf("%s: %d bytes of RAM, want %d", tc.name, m.info.RAM, m.total())
		}
	}
}

// More entries than spans: the first ones count.
func TestMemoryMapFull(t *testing.T) {
	m, hw := newMachine(t)
	var ram []entry
	for i := range uint64(maxSpans + 10) {
		ram = append(ram, entry{mib + 2*i*layout.Page, layout.Page, 1})
	}
	m.start = infoAt
	putInfo(hw.mem, ram, "")
	if f := m.readStart(); f != failNone || m.nram != maxSpans || m.info.RAM != maxSpans*layout.Page {
		t.Errorf("%v, %d spans, %d bytes", f, m.nram, m.info.RAM)
	}
}

func TestCut(t *testing.T) {
	var m machine
	copy(m.ram[:], []span{{0, 4}, {6, 10}, {12, 20}})
	m.nram = 3
	m.cut(8)
	if want := []span{{8, 8}, {8, 10}, {12, 20}}; !slices.Equal(m.ram[:3], want) {
		t.Errorf("cut: %v, want %v", m.ram[:3], want)
	}
	for _, tc := range []struct {
		start, end uint64
		want       bool
	}{{8, 10, true}, {9, 11, false}, {7, 9, false}, {12, 20, true}, {10, 12, false}, {8, 20, false}, {20, 21, false}} {
		if got := m.inRAM(tc.start, tc.end); got != tc.want {
			t.Errorf("inRAM(%d, %d) is %v", tc.start, tc.end, got)
		}
	}
	if m.total() != 10 {
		t.Errorf("total %d, want 10", m.total())
	}
}

func TestTakeIO(t *testing.T) {
	const low = 0x1f0000 - bootEnd
	for _, tc := range []struct {
		name       string
		ram        []span
		phys, size uint64
		left       uint64 // RAM
	}{
		{"small machine", []span{{3 * mib, 16 * mib}}, bootEnd, low, 13 * mib},
		{"64 MiB", []span{{4 * mib, 68 * mib}}, 64 * mib, 4 * mib, 60 * mib},
		{"odd end", []span{{4 * mib, 68*mib + 8*kib}}, 64 * mib, 4 * mib, 60 * mib},
		{"the largest", []span{{4 * mib, 8 * mib}, {16 * mib, 80 * mib}, {90 * mib, 91 * mib}}, 76 * mib, 4 * mib, 65 * mib},
		{"much", []span{{2 * mib, 3 * gib}, {4 * gib, 64 * gib}}, 64*gib - maxIO, maxIO, 63*gib - 2*mib - maxIO},
		{"in pieces", []span{{mib, 2*mib + 4*kib}}, bootEnd, low, mib + 4*kib},
	} {
		m, _ := newMachine(t)
		m.pages.end = bootEnd + low
		m.nram = copy(m.ram[:], tc.ram)
		m.takeIO(m.total())
		if m.ioPhys != tc.phys || m.ioSize != tc.size {
			t.Errorf("%s: %#x+%#x, want %#x+%#x", tc.name, m.ioPhys, m.ioSize, tc.phys, tc.size)
		}
		if m.total() != tc.left {
			t.Errorf("%s: %#x left, want %#x", tc.name, m.total(), tc.left)
		}
		if m.pages.next > m.pages.end {
			t.Errorf("%s: pages beyond their end", tc.name)
		}
	}
}

// Machines of all sizes must find room for their tables.
func TestMapRAM(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ram    []span
		window uint64
		want   failure
	}{
		{"too small", []span{{3 * mib, 7*mib - layout.Page}}, 0, failSmall},
		{"least", []span{{3 * mib, 7 * mib}}, 4 * mib, failNone},
		{"microvm", []span{{3*mib + 4*kib, 64 * mib}}, 59*mib - 4*kib, failNone},
		{"q35", []span{{3 * mib, 2*gib - 132*kib}, {4 * gib, 6 * gib}}, 0, failNone},
		{"as much as fits", []span{{3 * mib, 3 * gib}, {4 * gib, 33*gib + 35*mib}}, 0, failNone},
		{"more", []span{{3 * mib, 3 * gib}, {4 * gib, 256 * gib}}, layout.MaxWindow, failNone},
		{"a TiB in pieces", []span{{3 * mib, 3 * gib}, {4 * gib, 256*gib + 4*kib}, {512*gib + 4*kib, 1024 * gib}}, layout.MaxWindow, failNone},
	} {
		m, _ := newMachine(t)
		m.pages.next += 60 * layout.Page // what the steps before take at least
		m.nram = copy(m.ram[:], tc.ram)
		if f := m.mapRAM(); f != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, f, tc.want)
			continue
		}
		if tc.want != failNone {
			continue
		}
		if tc.window != 0 && m.window != tc.window {
			t.Errorf("%s: window of %#x, want %#x", tc.name, m.window, tc.window)
		}
		if tc.window == 0 && m.window != m.total() {
			t.Errorf("%s: window of %#x for %#x bytes of RAM", tc.name, m.window, m.total())
		}
		checkWindow(t, m, check(t, &m.tables))
	}
}

// checkWindow: the window and the I/O region are what they say, and RAM.
func checkWindow(t testing.TB, m *machine, leaves []leaf) {
	t.Helper()
	io, window := uint64(0), uint64(0)
	for _, l := range leaves {
		switch {
		case l.va >= m.at.Window && l.va < m.at.Window+layout.MaxWindow:
			window += l.size
			if !m.inRAM(l.pa, l.pa+l.size) {
				t.Fatalf("%v is no RAM", l)
			}
		case l.va >= m.at.IO && l.va < m.at.IO+maxIO:
			io += l.size
			if l.pa < m.ioPhys || l.pa+l.size > m.ioPhys+m.ioSize {
				t.Fatalf("%v lies outside the I/O region", l)
			}
		}
	}
	if io != m.ioSize || window != m.window || window > layout.MaxWindow {
		t.Fatalf("maps %#x and %#x bytes, want %#x and %#x", io, window, m.ioSize, m.window)
	}
	if m.ioPhys < layout.LowEnd && m.ioPhys+m.ioSize > layout.LowEnd {
		t.Fatalf("I/O region %#x+%#x runs into the image", m.ioPhys, m.ioSize)
	}
}

// FuzzMemoryMap gives boot start infos that a hostile loader could make: the
// fields first, then the map. Whatever they say, boot ends, with a map of RAM
// or a reason.
func FuzzMemoryMap(f *testing.F) {
	info := func(ram ...entry) []byte {
		b := binary.LittleEndian.AppendUint32(nil, startMagic)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = append(b, make([]byte, 16)...)
		for _, v := range []uint64{cmdAt, 0xe0000, mapAt, uint64(len(ram))} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		for _, e := range ram {
			b = binary.LittleEndian.AppendUint64(b, e.base)
			b = binary.LittleEndian.AppendUint64(b, e.size)
			b = binary.LittleEndian.AppendUint64(b, uint64(e.kind))
		}
		return b
	}
	f.Add(uint64(infoAt), info(entry{0, 640 * kib, 1}, entry{mib, 63 * mib, 1}))
	f.Add(uint64(infoAt), info(entry{mib, 3 * gib, 1}, entry{4 * gib, 1 << 45, 1}))
	f.Add(uint64(infoAt), info(entry{8 * mib, 1 << 63, 1}, entry{mib, 1 << 63, 1}, entry{^uint64(0), 1, 1}))
	f.Add(uint64(infoAt), info(entry{2 * mib, 6 * mib, 1}, entry{mib, 9*mib + 77, 1}, entry{0, 0, 1}, entry{mib, 5, 3}))
	f.Add(uint64(1<<32-20), info(entry{mib, mib, 1}))
	f.Fuzz(func(t *testing.T, start uint64, data []byte) {
		m, hw := newMachine(t)
		m.start = start
		const head = infoSize
		if start < reachable-head {
			copy(hw.mem.bytes(start, head), data)
		}
		if len(data) > head {
			copy(hw.mem.bytes(mapAt, 512*mapEntrySize), data[head:])
		}
		putImage(hw.mem, image)
		f := m.readStart()
		checkSpans(t, m)
		copy(m.info.Random[secretAt:], data) // the map is the attacker's, this is not, but let it be anything
		for _, step := range []func(*machine) failure{(*machine).mapImage, (*machine).place, (*machine).mapRAM} {
			if f == failNone {
				f = step(m)
			}
		}
		if f >= failures {
			t.Fatalf("failure %d", f)
		}
		if f == failNone {
			checkWindow(t, m, check(t, &m.tables))
		}
	})
}

// checkSpans: sorted, apart, whole pages, not empty, within the bounds.
func checkSpans(t *testing.T, m *machine) {
	t.Helper()
	end := uint64(0)
	for i, s := range m.ram[:m.nram] {
		if s.start >= s.end || s.start < end || i > 0 && s.start == end || (s.start|s.end)%layout.Page != 0 || s.end > maxPhys {
			t.Fatalf("span %d: %x of %x", i, s, m.ram[:m.nram])
		}
		end = s.end
	}
	if m.info.CommandLen >= rtabi.MaxCommand {
		t.Fatalf("command line of %d bytes", m.info.CommandLen)
	}
}
