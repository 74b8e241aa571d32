package mkoverlay

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ampoule/libos/edit"
)

// tree is a folder of other people's sources, and what is changed of it.
type tree struct {
	dir     string            // where the stock sources are
	release string            // of them, as messages name it
	what    string            // "Go release": what is not supported if an edit does not fit
	folders []string          // in which a name without a folder is looked for
	files   map[string][]byte // changed and added files, by path below dir
	dropped map[string]bool
}

func newTree(dir, release, what string) *tree {
	return &tree{dir: dir, release: release, what: what, files: map[string][]byte{}, dropped: map[string]bool{}}
}

// read returns a file as changed so far.
func (t *tree) read(file string) ([]byte, error) {
	if b, ok := t.files[file]; ok {
		return b, nil
	}
	return os.ReadFile(filepath.Join(t.dir, file))
}

// unsupported is the error for a file in which something is not as expected.
func (t *tree) unsupported(file, format string, args ...any) error {
	return fmt.Errorf("%s: %w: this %s is not supported", file, fmt.Errorf(format, args...), t.what)
}

// match lists the files that name stands for (see edit.Edit), without those
// that were dropped.
func (t *tree) match(name string) ([]string, error) {
	if strings.Contains(name, "/") {
		return []string{name}, nil
	}
	var out []string
	for _, dir := range t.folders {
		list, err := os.ReadDir(filepath.Join(t.dir, dir))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			file := path.Join(dir, e.Name())
			ok, err := path.Match(name, e.Name())
			if err != nil {
				return nil, fmt.Errorf("%q: %w", name, err)
			}
			if ok && e.Type().IsRegular() && !t.dropped[file] {
				out = append(out, file)
			}
		}
	}
	return out, nil
}

// apply makes one edit.
func (t *tree) apply(e edit.Edit) error {
	names, err := t.match(e.File)
	if err != nil {
		return t.unsupported(e.File, "%w (for pattern %q)", err, e.Old)
	}
	found, where := 0, e.File
	for _, file := range names {
		b, err := t.read(file)
		if errors.Is(err, fs.ErrNotExist) && e.Alt != "" {
			file, where = e.Alt, e.Alt
			b, err = t.read(file)
		}
		if err != nil {
			return t.unsupported(e.File, "%w (for pattern %q)", err, e.Old)
		}
		if n := bytes.Count(b, []byte(e.Old)); n > 0 {
			found += n
			t.files[file] = bytes.ReplaceAll(b, []byte(e.Old), []byte(e.New))
		}
	}
	if found == 0 && e.Absent {
		return nil
	}
	if found != e.Count {
		return t.unsupported(where, "pattern %q found %d times, want %d", e.Old, found, e.Count)
	}
	return nil
}

// drop leaves files out.
func (t *tree) drop(d edit.Drop) error {
	names, err := t.match(d.File)
	if err != nil {
		return t.unsupported(d.File, "%w", err)
	}
	if len(names) != d.Count {
		return t.unsupported(d.File, "%d files of that name, want %d", len(names), d.Count)
	}
	for _, file := range names {
		b, err := t.read(file)
		if err != nil {
			return t.unsupported(file, "%w", err)
		}
		if !bytes.Contains(b, []byte(d.Mark)) {
			return t.unsupported(file, "pattern %q not found, so it is not what is to be left out", d.Mark)
		}
		t.dropped[file] = true
	}
	return nil
}
