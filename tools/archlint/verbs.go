package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// formatPackage has the functions that guests print with.
const formatPackage = "ampoule/libos/format"

// known are the verbs of that package, with what may stand in front of them; verb
// is any, as package fmt would read it.
var (
	known = regexp.MustCompile(`^%[#+0-]*[0-9]*(\.[0-9]*)?[dsqvwxXcbtT%]`)
	verb  = regexp.MustCompile(`%[^a-zA-Z%]*[a-zA-Z%]?`)
)

// verbs checks that formats for libos/format have only verbs that it knows:
// go vet thinks that it can do all that package fmt can.
func (l *linter) verbs(f *ast.File, at func(token.Pos) string) {
	name := ""
	for _, im := range f.Imports {
		if p, err := strconv.Unquote(im.Path.Value); err == nil && p == formatPackage {
			name = "format"
			if im.Name != nil {
				name = im.Name.Name
			}
		}
	}
	if name == "" {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(sel.Sel.Name, "f") {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); !ok || id.Name != name {
			return true
		}
		for _, a := range call.Args {
			lit, ok := a.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			if text, err := strconv.Unquote(lit.Value); err == nil {
				for _, v := range verb.FindAllString(text, -1) {
					if !known.MatchString(v) {
						l.add(at(lit.Pos()), "%q is no verb of libos/format", v)
					}
				}
			}
			break // the first one is the format
		}
		return true
	})
}

// writeOverlay writes a file for go vet -overlay, with which that takes the
// functions of libos/format for those of package fmt that they stand for: then
// it checks formats and their arguments. more are other files to replace.
func writeOverlay(root, file string, more map[string]string) error {
	dir := filepath.Join(root, "libos", "format")
	replace := map[string]string{filepath.Join(dir, "print.go"): filepath.Join(dir, "_vet", "print.go")}
	for from, to := range more {
		replace[from] = to
	}
	for _, f := range replace {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
