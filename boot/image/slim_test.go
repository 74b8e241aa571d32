package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const asked = "AMPOULE_SLIM_TEST"

// TestMain is what the slimmed copies of this program do: collections over deep
// stacks, preemption, defers and recover; at last a panic.
func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	var wg sync.WaitGroup
	stop := make(chan bool)
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ { // to be preempted
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		if n := deep(200, make([]byte, 100)); n != 200 {
			panic("deep: " + fmt.Sprint(n))
		}
		runtime.GC()
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	wg.Wait()
	fmt.Println("ran:", recovered() != nil)
	inlined(7)
}

func inlined(n int) { crash(n) }

//go:noinline
func deep(n int, keep []byte) int {
	defer func() { keep[0]++ }()
	if n == 0 {
		runtime.GC()
		return 0
	}
	return 1 + deep(n-1, append([]byte(nil), keep...))
}

func recovered() (v any) {
	defer func() { v = recover() }()
	var p *int
	return *p
}

//go:noinline
func crash(n int) { panic(fmt.Sprint("crash ", n)) }

// largestGap is the most that lies between two segments of a file.
func largestGap(t *testing.T, file []byte) (gap uint64) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	end := uint64(0)
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			gap = max(gap, p.Off-end)
			end = p.Off + p.Filesz
		}
	}
	return gap
}

// splitOnly slims a file as where nothing behind the tables can move, which it may
// always be.
func splitOnly(file []byte, keep Tables) ([]byte, error) {
	s, err := newSlimmer(file)
	if err != nil {
		return nil, err
	}
	if err := s.rebuild(keep, false); err != nil {
		return nil, err
	}
	return s.split()
}

// itself is this program.
func itself(t *testing.T) []byte {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A program with smaller tables runs as before, and its trace has what was kept,
// whether what is behind the tables moves or not.
func TestSlim(t *testing.T) {
	file := itself(t)
	slim(t, file, Slim)
	slim(t, file, splitOnly)
}

// slim runs the program with each kind of tables, and returns their sizes.
func slim(t *testing.T, file []byte, way func([]byte, Tables) ([]byte, error)) map[Tables]int {
	t.Helper()
	sizes := map[Tables]int{}
	for _, c := range []struct {
		keep        Tables
		want, never []string
	}{
		{Traceable, []string{"ran: true", "panic: crash 7", "image.crash(", "image.inlined(...)", "image.TestMain(", "slim_test.go:"}, nil},
		{Tiny, []string{"ran: true", "panic: crash 7", "boot/image.", "0x"}, []string{"image.crash", "slim_test.go"}},
	} {
		out, err := way(file, c.keep)
		if err != nil {
			t.Fatal(err)
		}
		sizes[c.keep] = len(out)
		if gap := largestGap(t, out); gap >= page {
			t.Errorf("%d: %d bytes of nothing between two segments", c.keep, gap)
		}
		crashes(t, fmt.Sprint(c.keep), out, c.want, c.never)
	}
	if !(sizes[Tiny] < sizes[Traceable] && sizes[Traceable] < len(file)) {
		t.Errorf("%d bytes became %v", len(file), sizes)
	}
	return sizes
}

// crashes runs this program as file has it, and looks at its trace.
func crashes(t *testing.T, way string, file []byte, want, never []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "slim")
	if err := os.WriteFile(name, file, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name)
	cmd.Env = append(os.Environ(), asked+"=1", "GOTRACEBACK=all")
	b, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%s: it did not panic", way)
	}
	for _, w := range want {
		if !strings.Contains(string(b), w) {
			t.Errorf("%s: no %q in\n%s", way, w, b)
		}
	}
	for _, w := range never {
		if strings.Contains(string(b), w) {
			t.Errorf("%s: %q in\n%s", way, w, b)
		}
	}
}

// A file without room for one more program header is refused.
func TestSplitRefuses(t *testing.T) {
	file := itself(t)
	for what, damage := range map[string]func(s *slimmer){
		"a section in the way":      func(s *slimmer) { s.f.Sections[1].Offset = 0x180 },
		"section headers elsewhere": func(s *slimmer) { le.PutUint64(s.file[shoffAt:], le.Uint64(s.file[shoffAt:])+64) },
		"larger tables":             func(s *slimmer) { s.out.b = make([]byte, s.tab.Size+1) },
	} {
		s := open(t, file)
		if err := s.rebuild(Tiny, false); err != nil {
			t.Fatal(err)
		}
		damage(s)
		if _, err := s.split(); !errors.Is(err, errTables) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Tables that make no sense are refused, not followed.
func TestSlimRefuses(t *testing.T) {
	file := itself(t)
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	at := f.Section(".gopclntab").Offset
	for i, damage := range []func(b []byte){
		func(b []byte) { b[0]++ },                       // the version
		func(b []byte) { le.PutUint64(b[8:], 1<<40) },   // number of functions
		func(b []byte) { le.PutUint64(b[8:], 1<<63-1) }, // which overflows
	} {
		b := []byte(string(file))
		damage(b[at:])
		if _, err := Slim(b, Traceable); !errors.Is(err, errTables) {
			t.Errorf("damage %d: %v", i, err)
		}
	}
}

func TestPackageOf(t *testing.T) {
	for name, want := range map[string]string{
		"runtime.gopanic": "runtime.", "a.b/c/d.(*T).m": "a.b/c/d.", "reflect.Value.Int": "reflect.",
		"internal/runtime/maps.(*Map).x[go.shape.int]": "internal/runtime/maps.", "masks": "",
		"x/y.F[a/b.C]": "x/y.", "type:.eq.a/b.C": "type:.eq.a/b.",
	} {
		if got := packageOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
