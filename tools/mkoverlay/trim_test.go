package mkoverlay

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/libos/edit"
	"ampoule/libos/netif/trim"
	"ampoule/tools/workspace"
)

// everything is all that can be left out.
var everything = slices.Sorted(maps.Keys(trim.Optional))

// stack is the module's sources, not yet changed.
func stack(t *testing.T) *tree {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	m, err := module(root)
	if err != nil {
		t.Fatal(err)
	}
	return newTree(m.Dir, "stack v9", "release of it")
}

// written is the overlay that leaves parts out, with extra files of the stack by path.
func written(t *testing.T, extra map[string][]byte, parts ...string) (root, file string) {
	t.Helper()
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewTrim(root, parts...)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range extra {
		o.extra[filepath.Join(root, trimmed, name)] = b
	}
	if file, err = o.Write(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return root, file
}

// Every edit of the network stack that does not fit stops the build, and the
// message says in which file, and which pattern.
func TestTrimThatDoesNotFit(t *testing.T) {
	whole := stack(t)
	if err := whole.trim(everything); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	edits := slices.Concat(trim.Edits, trim.Cheap, trim.Connections)
	for _, part := range everything {
		edits = append(edits, trim.Optional[part]...)
	}
	for i, e := range edits {
		for _, more := range []int{-1, 1} {
			d := stack(t)
			d.folders = trim.Folders
			d.dropped = whole.dropped
			if err := d.put(trim.Replacements, true); err != nil {
				t.Fatal(err)
			}
			file := holder(t, d, e)
			b, err := d.read(file)
			if err != nil {
				t.Fatal(err)
			}
			if more < 0 {
				d.files[file] = bytes.Replace(b, []byte(e.Old), []byte("\n"), 1)
			} else {
				d.files[file] = append(bytes.Clone(b), "\n"+e.Old...)
			}
			err = d.apply(e)
			if err == nil {
				t.Errorf("edit %d, of %s, fits what it should not", i, e.File)
				continue
			}
			checkMessage(t, err, e.File, strconv.Quote(e.Old), "found "+strconv.Itoa(e.Count+more)+" times, want "+strconv.Itoa(e.Count),
				"this release of it is not supported")
		}
	}
}

// holder is a file that has e's pattern.
func holder(t *testing.T, d *tree, e edit.Edit) string {
	t.Helper()
	names, err := d.match(e.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := d.read(name); err == nil && bytes.Contains(b, []byte(e.Old)) {
			return name
		}
	}
	t.Fatalf("no file for %s: %q", e.File, e.Old)
	return ""
}

// What is left out must be there, as often as was said, and be what was meant.
func TestDrop(t *testing.T) {
	for _, c := range []struct {
		drop edit.Drop
		want string
	}{
		{edit.Drop{File: "*_state_autogen.go", Mark: "stateify", Count: 2}, "want 2"},
		{edit.Drop{File: "nothing*.go", Count: 1}, "0 files of that name, want 1"},
		{edit.Drop{File: "pkg/log/json.go", Mark: "no such text", Count: 1}, `pattern "no such text" not found`},
		{edit.Drop{File: "pkg/log/none.go", Count: 1}, "no such file"},
		{edit.Drop{File: "[", Count: 1}, "syntax error"},
	} {
		d := stack(t)
		d.folders = trim.Folders
		checkMessage(t, d.drop(c.drop), c.drop.File, c.want, "this release of it is not supported")
	}
	if err := stack(t).trim([]string{"breakfast"}); err == nil || !strings.Contains(err.Error(), `no part "breakfast"`) {
		t.Error(err)
	}
}

// A file that is to be replaced must be there, one that is added must not.
func TestPut(t *testing.T) {
	d := stack(t)
	for file := range trim.Replacements {
		checkMessage(t, d.put(map[string]string{file: trim.Replacements[file]}, false), file, "to be added, but it is there")
	}
	for file := range trim.Additions {
		checkMessage(t, d.put(map[string]string{file: trim.Additions[file]}, true), file, "to be replaced", "no such file")
	}
}

// The go command sees nothing of the module cache replaced, and finds each file
// of the stack either there or among those that were written.
func TestTrimOverlay(t *testing.T) {
	root, file := written(t, nil, everything...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var j struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	cached := 0
	for from, to := range j.Replace {
		if !strings.HasPrefix(from, filepath.Join(root, trimmed)) && from != filepath.Join(root, "go.work") {
			t.Errorf("%s is replaced", from)
		}
		if _, err := os.Stat(to); err != nil {
			t.Error(err)
		}
		if strings.Contains(to, "gvisor.dev/gvisor@") {
			cached++
		}
	}
	if cached < 50 {
		t.Errorf("only %d files are those of the module", cached)
	}
}

// The tests of libos/netif pass with the trimmed stack as well.
func TestTrimmedStack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles and runs the tests of libos/netif")
	}
	root, file := written(t, nil)
	cmd := exec.Command("go", "test", "-vet=off", "-overlay", file, "ampoule/libos/netif/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A connection of the trimmed stack comes out of each segment that is processed at
// once, or sent at once, as the stack's own code leaves it: the tests of that are
// inside its package.
func TestEstablished(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles and runs tests of the network stack")
	}
	extra := map[string][]byte{}
	for _, name := range []string{"established_test.go", "script_test.go"} {
		b, err := trim.Files.ReadFile("_gvisor/" + name)
		if err != nil {
			t.Fatal(err)
		}
		extra["pkg/tcpip/transport/tcp/"+name] = b
	}
	root, file := written(t, extra)
	cmd := exec.Command("go", "test", "-vet=off", "-v", "-overlay", file, trim.Module+"/pkg/tcpip/transport/tcp")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestEstablished") || !strings.Contains(string(out), "PASS: TestFaults") {
		t.Errorf("%v\n%s", err, out)
	}
}
