// Package mkoverlay builds the runtime overlay: a file for `go build -overlay`
// and the changed and added sources it names, from the sources of a GOROOT.
package mkoverlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"ampoule/libos/rt"
)

// Overlay is what `go build -overlay` is to replace.
type Overlay struct {
	*tree                   // the runtime and standard library, below GOROOT/src
	links map[string]string // other files: where the compiler looks, where they are
	extra map[string][]byte // other files: where the compiler looks, what it finds
}

// New makes an overlay of the runtime for the sources in goroot.
func New(goroot string) (*Overlay, error) {
	src := filepath.Join(goroot, "src")
	if _, err := os.Stat(filepath.Join(src, "runtime")); err != nil {
		return nil, fmt.Errorf("%s is no GOROOT with sources: %w", goroot, err)
	}
	o := &Overlay{tree: newTree(src, release(goroot), "Go release"), links: map[string]string{}, extra: map[string][]byte{}}
	for _, step := range []func() error{o.applyEdits, o.applyCopies, o.addFiles, o.addABI, o.check} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("overlay for %s: %w", o.release, err)
		}
	}
	return o, nil
}

// release names the Go release in messages.
func release(goroot string) string {
	b, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return "Go in " + goroot
	}
	v, _, _ := strings.Cut(string(b), "\n")
	return v
}

func (o *Overlay) applyEdits() error {
	for _, e := range rt.Edits {
		if err := o.apply(e); err != nil {
			return err
		}
	}
	return nil
}

func (o *Overlay) applyCopies() error {
	for _, c := range rt.Copies {
		b, err := o.read(c.From)
		if err != nil {
			return o.unsupported(c.From, "%w (for pattern %q)", err, c.Drop)
		}
		if bytes.Count(b, []byte(c.Drop)) != 1 {
			return o.unsupported(c.From, "pattern %q not found once", c.Drop)
		}
		if _, err := o.read(c.File); err != nil {
			return o.unsupported(c.File, "to be replaced: %w", err)
		}
		o.files[c.File] = bytes.Replace(b, []byte(c.Drop), nil, 1)
	}
	return nil
}

func (o *Overlay) addFiles() error {
	replaced := map[string]string{}
	for file, by := range rt.Replacements {
		if _, err := o.read(file); err != nil {
			return o.unsupported(file, "to be replaced: %w", err)
		}
		replaced[by] = file
	}
	for folder, to := range rt.Folders {
		names, err := fs.ReadDir(rt.Files, folder)
		if err != nil {
			return err
		}
		for _, n := range names {
			if strings.HasSuffix(n.Name(), "_test.go") {
				continue
			}
			b, err := fs.ReadFile(rt.Files, folder+"/"+n.Name())
			if err != nil {
				return err
			}
			file := to + "/" + n.Name()
			if r, ok := replaced[n.Name()]; ok {
				file = r
			}
			o.files[file] = b
		}
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
			return o.unsupported(file, "a SYSCALL instruction is left")
		}
	}
	return nil
}

// Add puts another file where the compiler looks for path, which is absolute.
func (o *Overlay) Add(path string, content []byte) { o.extra[path] = content }

// Write stores the overlay in dir and returns the path of the file for
// -overlay. Files that have not changed keep their time stamps.
func (o *Overlay) Write(dir string) (string, error) {
	replace := maps.Clone(o.links)
	contents := maps.Clone(o.extra)
	if o.tree != nil {
		for file, b := range o.files {
			contents[filepath.Join(o.dir, file)] = b
		}
	}
	for from, b := range contents {
		to := filepath.Join(dir, "src", from)
		if err := update(to, b); err != nil {
			return "", err
		}
		replace[from] = to
	}
	j, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, update(path, j)
}

// update writes a file unless it is like that already.
func update(file string, b []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
