package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// finding is one line of the report.
type finding struct {
	pos     string // path:line from the root
	text    string
	warning bool // does not fail the run
}

func (f finding) String() string {
	if f.warning {
		return f.pos + ": warning: " + f.text
	}
	return f.pos + ": " + f.text
}

// linter collects findings on the tree under root.
type linter struct {
	root  string
	files int
	found []finding
}

func (l *linter) add(pos, format string, args ...any) {
	l.found = append(l.found, finding{pos, fmt.Sprintf(format, args...), false})
}

func (l *linter) warn(pos, format string, args ...any) {
	l.found = append(l.found, finding{pos, fmt.Sprintf(format, args...), true})
}

// run checks every module of the tree. An error means that it could not look.
func (l *linter) run() error {
	modules := make([]string, 0, len(requires))
	for m := range requires {
		modules = append(modules, m)
	}
	slices.Sort(modules)
	for _, m := range modules {
		dir := filepath.Join(l.root, m)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := l.module(m); err != nil {
			return err
		}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			// The folders that the go command ignores too; libos/rt/_runtime is
			// one, whose sources are compiled as part of package runtime.
			if name := d.Name(); d.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(p, ".go") {
				return nil
			}
			return l.file(p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// module checks the siblings that a go.mod requires.
func (l *linter) module(name string) error {
	b, err := os.ReadFile(filepath.Join(l.root, name, "go.mod"))
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		for _, w := range strings.Fields(strings.SplitN(sc.Text(), "=>", 2)[0]) {
			sib, ours := strings.CutPrefix(w, "ampoule/")
			if ours && sib != name && !slices.Contains(requires[name], sib) {
				l.add(fmt.Sprintf("%s/go.mod:%d", name, n), "module %s must not require module %s", name, sib)
				break
			}
		}
	}
	return sc.Err()
}

// within says whether p is one of dirs or below one.
func within(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") })
}

func (l *linter) file(name string) error {
	rel, err := filepath.Rel(l.root, name)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	dir := path.Dir(rel)
	l.files++
	src, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, rel, src, parser.ParseComments)
	if err != nil {
		l.add(rel, "cannot be parsed: %v", err)
		return nil
	}
	at := func(p token.Pos) string { return fmt.Sprintf("%s:%d", rel, fset.Position(p).Line) }
	l.imports(dir, f, at)
	l.unsafe(rel, dir, f, at)
	l.verbs(f, at)
	l.functions(f, fset, at)
	if n := bytes.Count(src, []byte("\n")); n > maxFileLines && !ast.IsGenerated(f) {
		l.warn(rel+":1", "%d lines, more than the %d that fit a mind", n, maxFileLines)
	}
	return nil
}

// imports checks the direction of dependencies.
func (l *linter) imports(dir string, f *ast.File, at func(token.Pos) string) {
	i := slices.IndexFunc(rules, func(r rule) bool { return within(dir, []string{r.under}) })
	for _, im := range f.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(p, "/")
		own, ours := strings.CutPrefix(p, "ampoule/")
		switch {
		case p == "C":
			l.add(at(im.Pos()), "cgo: an image has no C")
		case !ours && !strings.Contains(first, "."):
			// standard library
		case i < 0:
			l.add(at(im.Pos()), "%s has no rule in tools/archlint/rules.go; it imports %s", dir, p)
		case own != dir && !within(own, rules[i].may):
			l.add(at(im.Pos()), "%s must not import %s (packages under %s may import %s)",
				dir, p, rules[i].under, list(rules[i].may))
		}
	}
}

func list(s []string) string {
	if len(s) == 0 {
		return "the standard library only"
	}
	return strings.Join(s, ", ")
}

// unsafe checks that package unsafe is used where its file's name says so.
func (l *linter) unsafe(rel, dir string, f *ast.File, at func(token.Pos) string) {
	if unsafeFile.MatchString(rel) || within(dir, ring0) {
		return
	}
	for _, im := range f.Imports {
		if im.Path.Value != `"unsafe"` {
			continue
		}
		if im.Name != nil {
			l.add(at(im.Pos()), "unsafe imported as %s: go:linkname and the like belong in a file named *_unsafe.go", im.Name.Name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == "unsafe" && !harmless[sel.Sel.Name] {
			l.add(at(sel.Pos()), "unsafe.%s outside a file named *_unsafe.go", sel.Sel.Name)
		}
		return true
	})
}

// functions checks for init functions and for length.
func (l *linter) functions(f *ast.File, fset *token.FileSet, at func(token.Pos) string) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			l.add(at(fn.Pos()), "init function: set things up where they are used, in an order that can be read")
		}
		n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
		if n > maxFuncLines && !ast.IsGenerated(f) {
			l.warn(at(fn.Pos()), "function %s has %d lines, more than %d", fn.Name.Name, n, maxFuncLines)
		}
	}
}
