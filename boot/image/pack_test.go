package image

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/libos/rt"
)

// numbers reads what number and place wrote.
type numbers struct{ b []byte }

func (r *numbers) next() uint32 {
	v, n := varint(r.b)
	r.b = r.b[n:]
	return v
}

func (r *numbers) place(last *uint32) uint32 {
	v := r.next()
	if v&1 != 0 {
		return v >> 1
	}
	*last += v >> 1
	return *last
}

// unpack reads functions as the runtime does.
func unpack(t *testing.T, c *compact) (fs []*function) {
	b := c.pack.bytes()
	at := uint32(0)
	for batch := 0; batch*batchSize < c.old.nfunc; batch++ {
		r := &numbers{b[le.Uint32(b[4+4*batch:]):]}
		last := r.next()
		for i := batch * batchSize; i < min(c.old.nfunc, (batch+1)*batchSize); i++ {
			f := &function{}
			f.set(fEntry, le.Uint32(c.funcs[8*i:]))
			if got := le.Uint32(c.funcs[8*i+4:]); got != at {
				t.Fatalf("function %d is unpacked to %#x, want %#x", i, got, at)
			}
			head, kind := r.next(), r.next()
			f.set(fName, r.place(&last))
			v := r.next()
			f.set(fArgs, uint32(-int32(v&1))^v>>1)
			if kind&1 != 0 {
				f.set(fDefer, r.next())
			}
			f.set(fPCSP, r.place(&last))
			f.set(fCU, none)
			if kind&2 != 0 {
				f.set(fPCFile, r.place(&last))
				f.set(fPCLn, r.place(&last))
				f.set(fCU, r.next())
				f.set(fStartLine, r.next())
			}
			f.fixed[fFlag], f.fixed[fFuncID] = byte(kind>>2&0x1f), byte(kind>>7)
			for range head & 7 {
				f.pcdata = append(f.pcdata, r.place(&last))
			}
			for range head >> 3 {
				v := r.place(&last)
				if v == 0 {
					v = none
				}
				f.data = append(f.data, v)
			}
			f.set(fNPCData, uint32(len(f.pcdata)))
			f.fixed[fNData] = byte(len(f.data))
			at += funcSize + 4*uint32(len(f.pcdata)+len(f.data))
			fs = append(fs, f)
		}
	}
	return fs
}

// packable runs a go command that builds a program, with the edits to the runtime
// that let it read packed tables, and nothing else of the overlay, so that it runs
// on the host.
func packable(t *testing.T, command ...string) []byte {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	dir := t.TempDir()
	changed, replace := map[string]string{}, map[string]string{}
	for _, e := range rt.Edits {
		if !strings.Contains(e.New, "ampUnpack(") && !strings.Contains(e.New, "ampCall(") {
			continue
		}
		if _, ok := changed[e.File]; !ok {
			b, err := os.ReadFile(filepath.Join(src, e.File))
			if err != nil {
				t.Fatal(err)
			}
			changed[e.File] = string(b)
		}
		changed[e.File] = strings.ReplaceAll(changed[e.File], e.Old, e.New)
	}
	b, err := rt.Files.ReadFile("_runtime/amp_func.go")
	if err != nil || len(changed) < 2 {
		t.Fatalf("%d files are changed, %v", len(changed), err)
	}
	changed["runtime/amp_func.go"] = string(b)
	for name, text := range changed {
		to := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(src, name)] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "exe")
	cmd := exec.Command("go", append(command[:len(command)-1:len(command)-1], "-trimpath", "-ldflags=-s -w",
		"-overlay", filepath.Join(dir, "overlay.json"), "-o", exe, command[len(command)-1])...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A program whose tables are packed runs as one with others does. With Go 1.27
// nothing is packed, and it runs too.
func TestPacked(t *testing.T) {
	file := packable(t, "test", "-c", ".")
	if s := open(t, file); !s.movable() {
		o, err := s.tables()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.newArena(o); !errors.Is(err, errTables) {
			t.Errorf("there is room for packed tables: %v", err)
		}
		slim(t, file, Slim)
		return
	}
	t.Run("tables", func(t *testing.T) { testTables(t, file) })
	t.Run("program", func(t *testing.T) {
		packed, plain := slim(t, file, Slim), slim(t, itself(t), Slim)
		for keep, n := range packed {
			if n > plain[keep]*19/20 {
				t.Errorf("%d: %d bytes, without packing %d", keep, n, plain[keep])
			}
		}
	})
}

// testTables holds what is packed to be what would stand there unpacked.
func testTables(t *testing.T, file []byte) {
	s := open(t, file)
	for _, keep := range []Tables{Traceable, Tiny} {
		o, err := s.tables()
		if err != nil {
			t.Fatal(err)
		}
		s.out.b = make([]byte, headerSize)
		a, err := s.newArena(o)
		if err != nil {
			t.Fatal(err)
		}
		c, err := build(*o, keep, a)
		if err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for i, f := range unpack(t, c) {
			want, err := c.read(int(le.Uint32(o.funcs[i*8+4:])))
			if err != nil {
				t.Fatal(err)
			}
			c.cut(want)
			c.move(want)
			if f.fixed != want.fixed || !slices.Equal(f.pcdata, want.pcdata) || !slices.Equal(f.data, want.data) {
				t.Errorf("%d: %s:\n%+v\nbecame\n%+v", keep, want.name, want, f)
				if wrong++; wrong == 5 {
					t.FailNow()
				}
			}
			if !c.sameCalls(i, f) {
				t.Errorf("%d: %s has other inlined calls", keep, want.name)
			}
		}
	}
}

// sameCalls compares the tree of inlined calls of old function i with what
// became of it.
func (c *compact) sameCalls(i int, now *function) bool {
	was, err := c.read(int(le.Uint32(c.old.funcs[i*8+4:])))
	if dataInlTree >= len(now.data) || now.data[dataInlTree] == none || err != nil {
		return err == nil
	}
	b := c.pack.bytes()
	callees := b[le.Uint32(b):]
	r := &numbers{c.pack.arena.at(now.data[dataInlTree])}
	parent := int32(0)
	for k := range c.calls(was) {
		e := c.old.gofunc[int(was.data[dataInlTree])+k*callSize:][:callSize]
		to := callees[8*r.next():]
		v := r.next()
		parent += -int32(v&1) ^ int32(v>>1)
		if name := c.nameAt[c.cutName(c.text(le.Uint32(e[callName:])))]; le.Uint32(to) != name|uint32(e[0])<<24 ||
			le.Uint32(to[4:]) != le.Uint32(e[callStart:]) || parent != int32(le.Uint32(e[callParent:])) {
			return false
		}
	}
	return true
}
