// Package mkoverlay builds the runtime overlay: a file for `go build -overlay`
// and the changed and added sources it names, from the sources of a GOROOT.
package mkoverlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"ampoule/libos/rt"
)

// Overlay collects the files to replace, by path below GOROOT/src.
type Overlay struct {
	goroot string
	files  map[string][]byte
}

// New makes an overlay for the sources in goroot.
func New(goroot string) (*Overlay, error) {
	o := &Overlay{goroot: goroot, files: map[string][]byte{}}
	if _, err := os.Stat(filepath.Join(goroot, "src", "runtime")); err != nil {
		return nil, fmt.Errorf("%s is no GOROOT with sources: %w", goroot, err)
	}
	for _, step := range []func() error{o.applyEdits, o.applyCopies, o.addFiles, o.addABI, o.check} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("overlay for %s: %w", o.release(), err)
		}
	}
	return o, nil
}

// release names the Go release in messages.
func (o *Overlay) release() string {
	b, err := os.ReadFile(filepath.Join(o.goroot, "VERSION"))
	if err != nil {
		return "Go in " + o.goroot
	}
	v, _, _ := strings.Cut(string(b), "\n")
	return v
}

// read returns a file as changed so far.
func (o *Overlay) read(file string) ([]byte, error) {
	if b, ok := o.files[file]; ok {
		return b, nil
	}
	return os.ReadFile(filepath.Join(o.goroot, "src", file))
}

func (o *Overlay) applyEdits() error {
	for _, e := range rt.Edits {
		file := e.File
		b, err := o.read(file)
		if errors.Is(err, fs.ErrNotExist) && e.Alt != "" {
			file = e.Alt
			b, err = o.read(file)
		}
		if err != nil {
			return fmt.Errorf("%s: %w (for pattern %q): this Go release is not supported", e.File, err, e.Old)
		}
		n := bytes.Count(b, []byte(e.Old))
		if n == 0 && e.Absent {
			continue
		}
		if n != e.Count {
			return fmt.Errorf("%s: pattern %q found %d times, want %d: this Go release is not supported", file, e.Old, n, e.Count)
		}
		o.files[file] = bytes.ReplaceAll(b, []byte(e.Old), []byte(e.New))
	}
	return nil
}

func (o *Overlay) applyCopies() error {
	for _, c := range rt.Copies {
		b, err := o.read(c.From)
		if err != nil {
			return fmt.Errorf("%s: %w (for pattern %q): this Go release is not supported", c.From, err, c.Drop)
		}
		if bytes.Count(b, []byte(c.Drop)) != 1 {
			return fmt.Errorf("%s: pattern %q not found once: this Go release is not supported", c.From, c.Drop)
		}
		if _, err := o.read(c.File); err != nil {
			return fmt.Errorf("%s, to be replaced: %w: this Go release is not supported", c.File, err)
		}
		o.files[c.File] = bytes.Replace(b, []byte(c.Drop), nil, 1)
	}
	return nil
}

func (o *Overlay) addFiles() error {
	replaced := map[string]string{}
	for file, by := range rt.Replacements {
		if _, err := o.read(file); err != nil {
			return fmt.Errorf("%s, to be replaced: %w: this Go release is not supported", file, err)
		}
		replaced[by] = file
	}
	names, err := fs.ReadDir(rt.Files, "_runtime")
	if err != nil {
		return err
	}
	for _, n := range names {
		b, err := fs.ReadFile(rt.Files, "_runtime/"+n.Name())
		if err != nil {
			return err
		}
		file := "runtime/" + n.Name()
		if r, ok := replaced[n.Name()]; ok {
			file = r
		}
		o.files[file] = b
	}
	return nil
}

// addABI puts a copy of package rtabi into package runtime, each identifier
// that it declares prefixed with "amp".
func (o *Overlay) addABI() error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "rtabi.go", rt.ABI, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	declared := map[string]bool{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			return fmt.Errorf("rtabi.go: functions are not allowed there")
		}
		for _, s := range g.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				declared[s.Name.Name] = true
			case *ast.ValueSpec:
				for _, n := range s.Names {
					declared[n.Name] = true
				}
			}
		}
	}
	delete(declared, "_")
	rename(f, declared)
	f.Name.Name = "runtime"
	var buf bytes.Buffer
	if err := format.Node(&buf, fset, f); err != nil {
		return err
	}
	o.files["runtime/amp_abi.go"] = buf.Bytes()
	return nil
}

// rename prefixes uses and declarations of names, but not fields and
// selectors, which may be spelled alike.
func rename(f *ast.File, names map[string]bool) {
	skip := map[*ast.Ident]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, id := range n.Names {
				skip[id] = true
			}
		case *ast.SelectorExpr:
			skip[n.Sel] = true
		}
		return true
	})
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && names[id.Name] && !skip[id] {
			r, w := utf8.DecodeRuneInString(id.Name)
			id.Name = "amp" + string(unicode.ToUpper(r)) + id.Name[w:]
		}
		return true
	})
}

var systemCall = regexp.MustCompile(`(?m)^\s*SYSCALL\b`)

// check refuses a system call left over in any file that was edited.
func (o *Overlay) check() error {
	for file, b := range o.files {
		if strings.HasSuffix(file, ".s") && !strings.HasPrefix(filepath.Base(file), "amp_") && systemCall.Match(b) {
			return fmt.Errorf("%s: a SYSCALL instruction is left: this Go release is not supported", file)
		}
	}
	return nil
}

// Add puts another file into the overlay; path is absolute, or below
// GOROOT/src.
func (o *Overlay) Add(path string, content []byte) { o.files[path] = content }

// Write stores the overlay in dir and returns the path of the file for
// -overlay. Files that have not changed keep their time stamps.
func (o *Overlay) Write(dir string) (string, error) {
	replace := map[string]string{}
	for file, b := range o.files {
		from := file
		if !filepath.IsAbs(file) {
			from = filepath.Join(o.goroot, "src", file)
		}
		to := filepath.Join(dir, "src", strings.TrimPrefix(file, "/"))
		if old, err := os.ReadFile(to); err != nil || !bytes.Equal(old, b) {
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(to, b, 0o644); err != nil {
				return "", err
			}
		}
		replace[from] = to
	}
	j, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, j, 0o644)
}
