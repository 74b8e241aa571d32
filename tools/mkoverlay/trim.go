package mkoverlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"ampoule/libos/netif/trim"
)

// trimmed is where the compiler finds the trimmed network stack, below the top
// of the workspace. There are empty folders only, the
// files are what the overlay says.
const trimmed = "build/gvisor"

// NewTrim makes an overlay that has the trimmed network stack only, as for
// tests on the host.
func NewTrim(workspace string, without ...string) (*Overlay, error) {
	o := &Overlay{links: map[string]string{}, extra: map[string][]byte{}}
	return o, o.Trim(workspace, without...)
}

// Trim puts the trimmed network stack in place of the module that the
// workspace, whose top folder is given, requires. The go command takes no
// overlay over its module cache: so the go.work that it sees replaces the
// module by a folder whose files exist in the overlay only, where those that
// are not edited point into the cache. Of what trim.Optional names, the image
// goes without the parts given.
func (o *Overlay) Trim(workspace string, without ...string) error {
	m, err := module(workspace)
	if err != nil {
		return err
	}
	t := newTree(m.Dir, trim.Module+" "+m.Version, "release of it")
	if err := t.trim(without); err != nil {
		return fmt.Errorf("trim %s: %w", t.release, err)
	}
	work := filepath.Join(workspace, "go.work")
	b, err := os.ReadFile(work)
	if err != nil {
		return err
	}
	o.extra[work] = fmt.Appendf(b, "\nreplace %s => ./%s\n", trim.Module, trimmed)
	top := filepath.Join(workspace, trimmed)
	for file, b := range t.files {
		o.extra[filepath.Join(top, file)] = b
	}
	return t.links(top, o.links)
}

// trim makes the changes of package trim, those of the parts given included.
func (t *tree) trim(without []string) error {
	t.folders = trim.Folders
	for _, d := range trim.Drops {
		if err := t.drop(d); err != nil {
			return err
		}
	}
	if err := t.put(trim.Replacements, true); err != nil {
		return err
	}
	if err := t.put(trim.Additions, false); err != nil {
		return err
	}
	edits := slices.Concat(trim.Edits, trim.Cheap, trim.Connections)
	for _, part := range without {
		more, ok := trim.Optional[part]
		if !ok {
			return fmt.Errorf("no part %q to leave out", part)
		}
		edits = append(edits, more...)
	}
	for _, e := range edits {
		if err := t.apply(e); err != nil {
			return err
		}
	}
	return nil
}

// put sets files to those of package trim, where the module has such a file, or
// where it has none.
func (t *tree) put(files map[string]string, there bool) error {
	for file, by := range files {
		_, err := t.read(file)
		switch {
		case there && err != nil:
			return t.unsupported(file, "to be replaced: %w", err)
		case !there && err == nil:
			return t.unsupported(file, "to be added, but it is there")
		}
		if t.files[file], err = trim.Files.ReadFile("_gvisor/" + by); err != nil {
			return err
		}
	}
	return nil
}

// links adds the files that are as they were, and go.mod, to the map.
func (t *tree) links(top string, to map[string]string) error {
	to[filepath.Join(top, "go.mod")] = filepath.Join(t.dir, "go.mod")
	added := []string{}
	for file := range trim.Additions {
		added = append(added, path.Dir(file))
	}
	for _, dir := range slices.Concat(t.folders, added) {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			return err // the assembler and vet are started in a package's folder
		}
	}
	for _, dir := range t.folders {
		list, err := os.ReadDir(filepath.Join(t.dir, dir))
		if err != nil {
			return t.unsupported(dir, "%w", err)
		}
		for _, e := range list {
			file, name := path.Join(dir, e.Name()), e.Name()
			source := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".s") || strings.HasSuffix(name, ".h")
			if _, changed := t.files[file]; source && !changed && !t.dropped[file] {
				to[filepath.Join(top, file)] = filepath.Join(t.dir, file)
			}
		}
	}
	return nil
}

type goModule struct{ Dir, Version, Error string }

// module finds the sources of the network stack, which it downloads if they
// are not there yet.
func module(workspace string) (*goModule, error) {
	var out, msg bytes.Buffer
	cmd := exec.Command("go", "mod", "download", "-json", trim.Module)
	cmd.Dir, cmd.Stdout, cmd.Stderr = workspace, &out, &msg
	err := cmd.Run()
	var m goModule
	if e := json.Unmarshal(out.Bytes(), &m); err == nil {
		err = e
	}
	if m.Error != "" {
		err = errors.New(m.Error)
	}
	if err != nil {
		return nil, fmt.Errorf("find module %s: %w %s", trim.Module, err, strings.TrimSpace(msg.String()))
	}
	return &m, nil
}
