package rt

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run compiles files of _runtime outside package runtime, with the stubs and
// the main function given, and runs the result: what needs no machine can be
// tested on the host.
func run(t *testing.T, stubs string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		b, err := fs.ReadFile(Files, "_runtime/"+n)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(b), "package runtime", "package main", 1)
		var kept []string
		for _, line := range strings.Split(text, "\n") {
			if !strings.HasPrefix(line, "//go:") { // nosplit and the like are the runtime's
				kept = append(kept, line)
			}
		}
		write(n, strings.Join(kept, "\n"))
	}
	write("main.go", stubs)
	write("go.mod", "module harness\n\ngo 1.26.0\n")
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// RFC 8439, section 2.3.2 with a nonce of zeros: the vectors of appendix A.1.
func TestChaCha(t *testing.T) {
	out := run(t, `package main

import (
	"fmt"
	"unsafe"
)

type boot struct {
	Random   [64]byte
	Features uint64
}

var ampBoot boot

const ampFeatureRDRAND, ampExitEntropy = 1, 47

func memclrNoHeapPointers(p unsafe.Pointer, n uintptr) {}
func systemstack(f func())                     { f() }
func ampRDRAND() (uint64, bool)                { return 0, false }
func ampDie(code uintptr, s string, a uintptr) { panic(s) }

func main() {
	var out [16]uint32
	for ctr := uint32(0); ctr < 2; ctr++ {
		ampChaCha(&out, ctr)
		fmt.Printf("%08x\n", out)
	}
	// What is handed out is erased, and the key of the next pool is new.
	var a, b [3000]byte
	fill(a[:])
	fill(b[:])
	if a == b {
		panic("repeats")
	}
	zero := 0
	for _, c := range a {
		if c == 0 {
			zero++
		}
	}
	if zero > 60 {
		panic("too many zeros: erased words were handed out")
	}
}

func fill(b []byte) { ampRandom(uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))) }
`, "amp_rand.go")
	want := `[ade0b876 903df1a0 e56a5d40 28bd8653 b819d2bd 1aed8da0 ccef36a8 c70d778b 7c5941da 8d485751 3fe02477 374ad8b8 f4b8436a 1ca11815 69b687c3 8665eeb2]
[bee7079f 7a385155 7c97ba98 0d082d73 a0290fcb 6965e348 3e53c612 ed7aee32 7621b729 434ee69c b03371d5 d539d874 281fed31 45fb0a51 1f0ae1ac 6f4d794b]
`
	if out != want {
		t.Errorf("blocks 0 and 1 of the zero key:\n%swant\n%s", out, want)
	}
}

// The window under random use: no two pieces that are in use overlap, all are
// zeroed, and memory that was given back serves again.
func TestWindow(t *testing.T) { run(t, windowUse, "amp_mem.go") }

// windowUse is a program around amp_mem.go.
const windowUse = `package main

import (
	"fmt"
	"math/rand/v2"
	"unsafe"
)

type boot struct{ Window, WindowEnd uintptr }

var ampBoot boot

const (
	ampPageSize    = 4096
	_MAP_FIXED     = 0x10
	_PROT_NONE     = 0
	heapArenaBytes = 64 << 20
	ampExitOSFault = 48
	size           = 24 << 20
)

func ampDie(code uintptr, s string, a uintptr) { panic(fmt.Sprint(s, a)) }

func memclrNoHeapPointers(p unsafe.Pointer, n uintptr) { clear(unsafe.Slice((*byte)(p), n)) }

type piece struct{ addr, n uintptr }

func main() {
	mem := make([]byte, size+4096)
	base := (uintptr(unsafe.Pointer(&mem[0])) + 4095) &^ 4095
	ampBoot = boot{base, base + size}
	ampHeapLow, ampHeapHigh, ampMetaLow = base, base, base+size
	arenaBaseOffset = base &^ (heapArenaBytes - 1)
	ampReserve()
	if p := ampMmap(base+4<<20, heapArenaBytes, _PROT_NONE, 0); p != ampENOMEM {
		panic("a hint was taken before the first arena")
	}
	if p := ampMmap(0, heapArenaBytes, _PROT_NONE, 0); p != arenaBaseOffset {
		panic("the arena is not the one that the window begins in")
	}
	if p := ampMmap(base-4096, 4096, 3, _MAP_FIXED); p != ampENOMEM {
		panic("memory in front of the window was handed out")
	}
	var used []piece
	heap := base
	served := 0
	for i := 0; i < 200000; i++ {
		switch rand.IntN(9) {
		case 0:
			if n := uintptr(rand.IntN(3)) << 20; heap+n <= ampMetaLow && heap < base+8<<20 {
				if p := ampMmap(heap, n, 3, _MAP_FIXED); n > 0 && p != heap {
					panic("commit")
				}
				heap += n
			}
		case 1, 2, 3, 4:
			n := uintptr(rand.IntN(40)+1) * 4096
			p := ampMmap(0, n, 3, 0)
			if p == ampENOMEM {
				continue
			}
			served++
			if p < heap || p+n > base+size {
				panic("outside the metadata")
			}
			b := unsafe.Slice((*byte)(unsafe.Pointer(p)), n)
			for _, o := range used {
				if p < o.addr+o.n && o.addr < p+n {
					panic(fmt.Sprintf("%x+%x overlaps %x+%x", p, n, o.addr, o.n))
				}
			}
			for k := 0; k < len(b); k += 511 {
				if b[k] != 0 {
					panic("not zeroed")
				}
				b[k] = 0xaa
			}
			used = append(used, piece{p, n})
		default:
			if len(used) > 0 {
				k := rand.IntN(len(used))
				ampMunmap(used[k].addr, used[k].n)
				used[k] = used[len(used)-1]
				used = used[:len(used)-1]
			}
		}
	}
	for _, o := range used {
		ampMunmap(o.addr, o.n)
	}
	// Anew: the heap takes all that it gets, and there is still some metadata.
	ampHeapHigh, ampMetaLow, ampFrees = base, base+size, 0
	ampReserve()
	for p := base; ampMmap(p, 4096, 3, _MAP_FIXED) == p; p += 4096 {
	}
	left := uintptr(0)
	for p := ampMmap(0, 4096, 3, 0); p != ampENOMEM; p = ampMmap(0, 4096, 3, 0) {
		if p < ampHeapHigh || p >= base+size || *(*byte)(unsafe.Pointer(p)) != 0 {
			panic("kept metadata is elsewhere or not zeroed")
		}
		left += 4096
	}
	if left < size/64-4096 {
		panic(fmt.Sprint("only ", left, " of metadata are kept"))
	}
	if served < 50000 {
		panic(fmt.Sprint("only ", served, " served: memory is lost"))
	}
}
`
