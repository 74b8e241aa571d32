package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program without reflection does the same when the types that it does not need
// are overwritten: assertions, maps by interface, collections, panics.
func TestHoles(t *testing.T) {
	file := packable(t, "build", "./testdata/types")
	want := output(t, file)
	if !strings.Contains(want, "missing method Walk") || !strings.HasSuffix(want, "panic: cat panics") {
		t.Fatalf("the program says\n%s", want)
	}
	packs := open(t, file).movable() // up to Go 1.26
	for _, keep := range []Tables{Traceable, Tiny} {
		out, err := Slim(file, keep)
		if err != nil {
			t.Fatal(err)
		}
		if got := output(t, out); got != want {
			t.Errorf("%d: it says\n%s\nwant\n%s", keep, got, want)
		}
		for _, name := range []string{"NobodyCalls", "NorThisOne", "livesLeft"} { // two methods and a field
			if !bytes.Contains(file, []byte(name)) {
				t.Errorf("%s is not in the program", name)
			}
			if left := bytes.Contains(out, []byte(name)); keep == Tiny && left == packs {
				t.Errorf("%s is left: %v, types are overwritten: %v", name, left, packs)
			}
		}
	}
}

// output is what a program prints, up to the trace of its panic.
func output(t *testing.T, file []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "types")
	if err := os.WriteFile(name, file, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command(name).CombinedOutput()
	text, _, found := strings.Cut(string(b), "\n\ngoroutine 1 [running]:")
	if err == nil || !found {
		t.Fatalf("no panic at the end: %v\n%s", err, b)
	}
	return text
}

// Where any function is linked that may look at types, they stay as they are.
func TestReflects(t *testing.T) {
	for names, want := range map[string]string{
		"\x00main.main\x00reflect.Value.Kind\x00internal/reflectlite.Swapper\x00": "",
		"\x00reflect.Value.Field\x00":                              "reflect.Value.Field",
		"\x00x/reflect.Value.Field\x00reflect.(*rtype).Method\x00": "reflect.(*rtype).Method",
		"internal/reflectlite.haveIdenticalUnderlyingType\x00":     "internal/reflectlite.haveIdenticalUnderlyingType",
	} {
		if got := reflects([]byte(names)); got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
	o, err := open(t, itself(t)).tables()
	if err != nil {
		t.Fatal(err)
	}
	if reflects(o.names) == "" {
		t.Error("this test is taken for a program without reflection")
	}
}

// open reads a file as Slim does.
func open(t *testing.T, file []byte) *slimmer {
	t.Helper()
	s, err := newSlimmer(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The arena gives out each byte once, and nothing outside its holes.
func TestArena(t *testing.T) {
	s := open(t, itself(t))
	ro := s.f.Section(".rodata")
	holes := []extent{{ro.Addr + 1, ro.Addr + 40}, {ro.Addr + 64, ro.Addr + 65}, {ro.Addr + 100, ro.Addr + 300}}
	a := &arena{s: s, base: ro.Addr, holes: slices.Clone(holes)}
	before := bytes.Clone(s.file)
	type use struct {
		at   uint32
		data []byte
	}
	var uses []use
	for i := range 40 {
		data := bytes.Repeat([]byte{byte(i + 1)}, i%13+1)
		align := []uint64{1, 4, 8}[i%3]
		at := a.add(data, align)
		if uint64(at)%align != 0 {
			t.Errorf("place %#x is not aligned to %d", at, align)
		}
		uses = append(uses, use{at, data})
	}
	for i, u := range uses {
		if got := a.at(u.at)[:len(u.data)]; !bytes.Equal(got, u.data) {
			t.Errorf("use %d at %#x: % x, want % x", i, u.at, got, u.data)
		}
	}
	for i := range s.file {
		at := ro.Addr + uint64(i) - ro.Offset
		in := slices.ContainsFunc(holes, func(h extent) bool { return at >= h.from && at < h.to })
		if s.file[i] != before[i] && !in {
			t.Fatalf("%#x is outside the holes", at)
		}
	}
	if len(s.out.b) == 0 || len(a.holes) > 3 {
		t.Errorf("%d bytes behind the holes, %d holes", len(s.out.b), len(a.holes))
	}
}
