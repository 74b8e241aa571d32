package mkoverlay

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/libos/rt"
)

// goroot is that of the Go which runs the test.
func goroot(t *testing.T) string {
	t.Helper()
	b, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// fakeRoot copies what New reads of a GOROOT, so that tests can damage it.
func fakeRoot(t *testing.T) string {
	t.Helper()
	real, dir := goroot(t), t.TempDir()
	names := map[string]bool{}
	for _, e := range rt.Edits {
		names[e.File] = true
		if e.Alt != "" {
			names[e.Alt] = true
		}
	}
	for f := range rt.Replacements {
		names[f] = true
	}
	for _, c := range rt.Copies {
		names[c.File], names[c.From] = true, true
	}
	for f := range names {
		b, err := os.ReadFile(filepath.Join(real, "src", f))
		if os.IsNotExist(err) {
			continue // one of a file and its other name
		}
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "src", f), b)
	}
	put(t, filepath.Join(dir, "VERSION"), []byte("go1.99.7\ntime 2030-01-01T00:00:00Z\n"))
	return dir
}

func put(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every edit that does not fit stops the build, and the message says for which
// release, in which file, and which pattern.
func TestEditsThatDoNotFit(t *testing.T) {
	if _, err := New(fakeRoot(t)); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	for i, e := range rt.Edits {
		for _, damage := range []struct {
			name string
			with func([]byte) []byte
			want string
		}{
			{"missing", func(b []byte) []byte { return bytes.Replace(b, []byte(e.Old), []byte("\n"), 1) },
				"found " + strconv.Itoa(e.Count-1) + " times, want " + strconv.Itoa(e.Count)},
			{"once more", func(b []byte) []byte { return append(bytes.Clone(b), "\n"+e.Old...) },
				"found " + strconv.Itoa(e.Count+1) + " times, want " + strconv.Itoa(e.Count)},
		} {
			dir := fakeRoot(t)
			name := e.File
			b, err := os.ReadFile(filepath.Join(dir, "src", name))
			if err != nil {
				name = e.Alt
				if b, err = os.ReadFile(filepath.Join(dir, "src", name)); err != nil {
					t.Fatal(err)
				}
			}
			if e.Absent && bytes.Count(b, []byte(e.Old)) != e.Count {
				continue // a pattern of another release
			}
			put(t, filepath.Join(dir, "src", name), damage.with(b))
			_, err = New(dir)
			if e.Absent && e.Count == 1 && damage.name == "missing" {
				if err != nil {
					t.Errorf("edit %d, which may be absent: %v", i, err)
				}
				continue
			}
			checkMessage(t, err, "go1.99.7", name, strconv.Quote(e.Old), damage.want, "this Go release is not supported")
		}
	}
}

// checkMessage wants one line with all parts.
func checkMessage(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q lacks %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has several lines", err)
	}
}

func TestFilesMissing(t *testing.T) {
	for _, e := range rt.Edits {
		dir := fakeRoot(t)
		for _, f := range []string{e.File, e.Alt} {
			if f != "" {
				os.Remove(filepath.Join(dir, "src", f)) // one of the two is not there
			}
		}
		_, err := New(dir)
		checkMessage(t, err, "go1.99.7", e.File, "no such file", "this Go release is not supported")
	}
	for f := range rt.Replacements {
		dir := fakeRoot(t)
		os.Remove(filepath.Join(dir, "src", f))
		_, err := New(dir)
		checkMessage(t, err, "go1.99.7", f, "no such file")
	}
	for _, c := range rt.Copies {
		for _, f := range []string{c.File, c.From} {
			dir := fakeRoot(t)
			os.Remove(filepath.Join(dir, "src", f))
			_, err := New(dir)
			checkMessage(t, err, "go1.99.7", f, "no such file")
		}
	}
	dir := t.TempDir()
	_, err := New(dir)
	checkMessage(t, err, dir, "is no GOROOT with sources")
}

// A system call that a new release adds must not slip through.
func TestSystemCallLeft(t *testing.T) {
	dir := fakeRoot(t)
	const name = "runtime/rt0_linux_amd64.s"
	b, err := os.ReadFile(filepath.Join(dir, "src", name))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "src", name), append(b, "\n\tSYSCALL // new\n"...))
	_, err = New(dir)
	checkMessage(t, err, "go1.99.7", name, "a SYSCALL instruction is left")
}

// typeCheck compiles one file that imports unsafe only.
func typeCheck(t *testing.T, name string, src []byte) (*types.Package, *ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Importer: importer.Default(), Sizes: types.SizesFor("gc", "amd64")}
	p, err := conf.Check(name, fset, []*ast.File{f}, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p, f
}

// The copy of rtabi in package runtime must compile and have the same layouts
// and constants, under the names with a prefix.
func TestABI(t *testing.T) {
	o, err := New(goroot(t))
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := typeCheck(t, "rtabi.go", rt.ABI)
	theirs, file := typeCheck(t, "amp_abi.go", o.files["runtime/amp_abi.go"])
	if file.Name.Name != "runtime" {
		t.Errorf("package %s", file.Name.Name)
	}
	sizes := types.SizesFor("gc", "amd64")
	structs, consts := 0, 0
	for _, name := range ours.Scope().Names() {
		a, b := ours.Scope().Lookup(name), theirs.Scope().Lookup("amp"+strings.ToUpper(name[:1])+name[1:])
		if b == nil {
			t.Errorf("%s is not there", name)
			continue
		}
		switch a := a.(type) {
		case *types.Const:
			consts++
			if !constant.Compare(a.Val(), token.EQL, b.(*types.Const).Val()) {
				t.Errorf("%s is %v and %v", name, a.Val(), b.(*types.Const).Val())
			}
		case *types.TypeName:
			structs++
			sameLayout(t, sizes, name, a.Type(), b.Type())
		default:
			t.Errorf("%s is a %T", name, a)
		}
	}
	if structs < 5 || consts < 30 || len(theirs.Scope().Names()) != len(ours.Scope().Names()) {
		t.Errorf("%d types and %d constants, %d names here and %d there", structs, consts, len(ours.Scope().Names()), len(theirs.Scope().Names()))
	}
}

func sameLayout(t *testing.T, sizes types.Sizes, name string, a, b types.Type) {
	t.Helper()
	x, ok1 := a.Underlying().(*types.Struct)
	y, ok2 := b.Underlying().(*types.Struct)
	if !ok1 || !ok2 || x.NumFields() != y.NumFields() || sizes.Sizeof(a) != sizes.Sizeof(b) {
		t.Errorf("%s: %v and %v", name, a.Underlying(), b.Underlying())
		return
	}
	var fx, fy []*types.Var
	for i := range x.NumFields() {
		fx, fy = append(fx, x.Field(i)), append(fy, y.Field(i))
	}
	ox, oy := sizes.Offsetsof(fx), sizes.Offsetsof(fy)
	for i := range fx {
		if fx[i].Name() != fy[i].Name() || ox[i] != oy[i] || sizes.Sizeof(fx[i].Type()) != sizes.Sizeof(fy[i].Type()) {
			t.Errorf("%s: field %s at %d and %s at %d", name, fx[i].Name(), ox[i], fy[i].Name(), oy[i])
		}
	}
}

// rename must not touch fields and selectors that are spelt like a declaration.
func TestRename(t *testing.T) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", "package x\ntype Desc struct{ Queue uint8; Next Queue }\ntype Queue struct{}\nvar _ = Desc{}.Queue\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	rename(f, map[string]bool{"Desc": true, "Queue": true})
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
		return true
	})
	if got, want := strings.Join(names, " "), "x ampDesc Queue uint8 Next ampQueue ampQueue _ ampDesc Queue"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// files gives the content and time stamp of all files below dir.
func files(t *testing.T, dir string) (content map[string]string, times map[string]time.Time) {
	t.Helper()
	content, times = map[string]string{}, map[string]time.Time{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		i, err := d.Info()
		content[p], times[p] = string(b), i.ModTime()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content, times
}

// Write is a function of the overlay: the same bytes each time, and unchanged
// files are left alone, or the go command would compile everything anew.
func TestWrite(t *testing.T) {
	root, dir := goroot(t), t.TempDir()
	write := func() string {
		o, err := New(root)
		if err != nil {
			t.Fatal(err)
		}
		path, err := o.Write(dir)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write()
	first, _ := files(t, dir)
	old := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	for f := range first {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	const changed = "runtime/amp_abi.go"
	put(t, filepath.Join(dir, "src", root, "src", changed), []byte("package runtime\n"))
	if again := write(); again != path {
		t.Errorf("overlay at %s, then at %s", path, again)
	}
	second, times := files(t, dir)
	if !maps.Equal(first, second) {
		t.Error("writing twice gives other bytes")
	}
	for f, at := range times {
		if strings.HasSuffix(f, changed) == at.Equal(old) && f != path {
			t.Errorf("%s has time stamp %v", f, at)
		}
	}
	checkJSON(t, root, []byte(first[path]), first)
}

// checkJSON: the overlay replaces or adds files of GOROOT only, by files that
// exist; all that was edited is among them.
func checkJSON(t *testing.T, root string, b []byte, have map[string]string) {
	t.Helper()
	var j struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	for from, to := range j.Replace {
		if !strings.HasPrefix(from, filepath.Join(root, "src")+"/") || have[to] == "" {
			t.Errorf("%s is replaced by %s", from, to)
		}
	}
	if len(j.Replace) != len(have)-1 {
		t.Errorf("%d files replaced, %d written", len(j.Replace), len(have)-1)
	}
	sources := slices.Collect(maps.Keys(j.Replace))
	for _, f := range []string{"runtime/proc.go", "runtime/netpoll_epoll.go", "runtime/amp_os.go", "syscall/asm_linux_amd64.s"} {
		if !slices.Contains(sources, filepath.Join(root, "src", f)) {
			t.Errorf("%s is not replaced", f)
		}
	}
}

// Add puts files at absolute paths, beside what is edited.
func TestAdd(t *testing.T) {
	o := &Overlay{tree: newTree("/goroot/src", "", ""), extra: map[string][]byte{}, links: map[string]string{"/a/z.go": "/b/z.go"}}
	o.Add("/elsewhere/x.go", []byte("package x\n"))
	o.files["fmt/y.go"] = []byte("package fmt\n")
	dir := t.TempDir()
	path, err := o.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var j struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{"/elsewhere/x.go": "package x\n", "/goroot/src/fmt/y.go": "package fmt\n"} {
		if got, err := os.ReadFile(j.Replace[from]); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", from, got, err)
		}
	}
	if j.Replace["/a/z.go"] != "/b/z.go" || len(j.Replace) != 3 {
		t.Errorf("%v", j.Replace)
	}
}
