package sitefolder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/secret"
)

// file is a file of the site.
type file struct {
	name  string // from the folder, with slashes
	shown string // as messages name it
	size  int64
	time  time.Time

	// what content finds
	done     bool
	data     []byte
	typ      string
	modified int64
	variants []site.Variant
}

func (f *file) place() place { return place{f.shown, 0} }

// maxDepth is how deep folders may be in each other.
const maxDepth = 64

// walk finds all files. Links are followed where they stay in the folder: os.Root
// sees to it, whatever else changes meanwhile.
func (r *reader) walk() {
	info, err := os.Stat(r.Folder)
	if err == nil && !info.IsDir() {
		err = errors.New("is no folder")
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(r.Folder)
	}
	if err != nil {
		r.list.Errorf(r.Config, r.Line, "http.sites.folder: found %q, must be a folder that can be read: %v", r.Folder, cause(err))
		return
	}
	defer root.Close()
	w := walker{reader: r, root: root, folded: map[string]string{}}
	w.folder(".", []fs.FileInfo{info})
	if w.dots > 0 {
		r.list.Warnf(r.Folder, 0, "%d names that begin with a dot are left out, the first is %s; with dot_files = true they are taken in", w.dots, w.firstDot)
	}
	if r.MaxBytes > 0 && w.bytes > r.MaxBytes {
		r.list.Errorf(r.Config, r.Line, "http.sites.folder: found %d bytes in %s, must be at most %d (http.sites.max_size)", w.bytes, r.Folder, r.MaxBytes)
		r.files = nil // they are not read
		return
	}
	for _, f := range r.files {
		if f.data, err = w.read(f); err != nil {
			r.list.Errorf(f.shown, 0, "can't be read: %v", cause(err))
		} else {
			secret.Check(f.shown, f.data, r.list)
		}
	}
}

type walker struct {
	*reader
	root     *os.Root
	folded   map[string]string // names by their lower case
	dots     int
	firstDot string
	bytes    int64
}

// folder walks through one folder; above are the folders that it is in and itself.
func (w *walker) folder(name string, above []fs.FileInfo) {
	entries, err := fs.ReadDir(w.root.FS(), name)
	if err != nil {
		w.list.Errorf(w.shown(name), 0, "can't be read: %v", cause(err))
		return
	}
	for _, e := range entries {
		full := path.Join(name, e.Name())
		if !w.named(full, e.Name()) {
			continue
		}
		info, err := w.root.Stat(full)
		switch {
		case err != nil && e.Type()&fs.ModeSymlink != 0:
			w.list.Errorf(w.shown(full), 0, "found a link that leads out of the folder or to nothing (%v), must be a link to what is in %s, relative", cause(err), w.Folder)
		case err != nil:
			w.list.Errorf(w.shown(full), 0, "can't be read: %v", cause(err))
		case info.IsDir():
			w.sub(full, info, above)
		case !info.Mode().IsRegular():
			w.list.Errorf(w.shown(full), 0, "found no file and no folder (%v), must be one", info.Mode().Type())
		default:
			f := &file{name: full, shown: w.shown(full), size: info.Size(), time: info.ModTime()}
			w.bytes += f.size
			w.files = append(w.files, f)
			w.byName[full] = f
		}
	}
}

// sub walks through a folder in another, unless it is that other.
func (w *walker) sub(name string, info fs.FileInfo, above []fs.FileInfo) {
	for _, a := range above {
		if os.SameFile(a, info) {
			w.list.Errorf(w.shown(name), 0, "found a link to a folder that it is in itself, must be without end")
			return
		}
	}
	if len(above) > maxDepth {
		w.list.Errorf(w.shown(name), 0, "found a folder %d deep, must be at most %d", len(above), maxDepth)
		return
	}
	w.folder(name, append(above[:len(above):len(above)], info))
}

// named says whether a file or folder is in the site, by its name.
func (w *walker) named(full, base string) bool {
	if strings.HasPrefix(base, ".") && !w.DotFiles && base != ".well-known" {
		if w.dots++; w.dots == 1 {
			w.firstDot = full
		}
		return false
	}
	if !utf8.ValidString(base) || strings.ContainsFunc(base, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		w.list.Errorf(w.shown(""), 0, "found the name %q, must be UTF-8 without control characters: browsers could not ask for it", full)
		return false
	}
	lower := strings.ToLower(full)
	if old, ok := w.folded[lower]; ok {
		w.list.Warnf(w.shown(full), 0, "differs from %s in letter case alone", old)
	}
	w.folded[lower] = full
	return true
}

// read reads a file, which must have the size that it had.
func (w *walker) read(f *file) ([]byte, error) {
	in, err := w.root.Open(f.name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, f.size+1))
	if err == nil && int64(len(b)) != f.size {
		err = errors.New("it is being changed")
	}
	return b, err
}

// shown is how messages name what is in the folder.
func (w *walker) shown(name string) string {
	return filepath.ToSlash(filepath.Join(w.Folder, name))
}

// cause is an error without the path, which the message has already.
func cause(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}
