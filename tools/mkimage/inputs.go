package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// goPackage is what go list says of a package (go help list).
type goPackage struct {
	Dir, ImportPath, Name string
	Standard              bool
	Module                *goModule

	GoFiles, SFiles, HFiles, SysoFiles, EmbedFiles []string
}

type goModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *goModule
}

// list gives all packages that the program depends on, itself included.
func (o *options) list(overlay string) ([]goPackage, error) {
	cmd := o.goCommand("list", "-deps", "-trimpath", "-tags", o.tags(), "-overlay", overlay,
		"-json=Dir,ImportPath,Name,Standard,Module,GoFiles,SFiles,HFiles,SysoFiles,EmbedFiles", o.pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var list []goPackage
	for dec := json.NewDecoder(out); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("go list %s: %w", o.pkg, err)
		}
		list = append(list, p)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go list %s: %w", o.pkg, err)
	}
	slices.SortFunc(list, func(a, b goPackage) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return list, nil
}

// ours says whether a package is of this repository, or of another folder: its
// version says nothing of its content.
func (p *goPackage) ours() bool {
	return !p.Standard && (p.Module == nil || p.Module.Main || p.Module.Version == "" || p.Module.Replace != nil)
}

// inputs is the fingerprint of all that the image is made from but for the seed:
// toolchain, target, every source file of ours, the version of every other
// module, and the overlay, which has the compiled configuration. It knows no
// path, user or time.
func (o *options) inputs(deps []goPackage, overlay string) (string, error) {
	version, err := o.goCommand("env", "GOVERSION", "GOFIPS140").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "ampoule image\n%s%s %s %s %s %q\n", version, o.pkg, o.target, o.goamd64, o.profile, o.tags())
	for _, p := range deps {
		switch {
		case p.Standard:
			fmt.Fprintf(h, "standard %s\n", p.ImportPath)
		case p.ours():
			for _, f := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.EmbedFiles) {
				if err := hashFile(h, p.ImportPath+"/"+f, filepath.Join(p.Dir, f)); err != nil {
					return "", err
				}
			}
		default:
			fmt.Fprintf(h, "module %s %s@%s\n", p.ImportPath, p.Module.Path, p.Module.Version)
		}
	}
	if err := o.hashOverlay(h, deps, overlay); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile adds a file under a name that does not depend on where it lies. A
// file that only the overlay has is added with the overlay.
func hashFile(h hash.Hash, name, path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "file %s %x\n", name, sha256.Sum256(b))
	return nil
}

// hashOverlay adds the files of the overlay.
func (o *options) hashOverlay(h hash.Hash, deps []goPackage, overlay string) error {
	b, err := os.ReadFile(overlay)
	if err != nil {
		return err
	}
	var j struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("%s: %w", overlay, err)
	}
	dirs := map[string]string{}
	for _, p := range deps {
		dirs[p.Dir] = p.ImportPath
	}
	names := map[string]string{} // by which each file is known everywhere, and where it is
	for at, file := range j.Replace {
		dir := filepath.Dir(at)
		if path, ok := dirs[dir]; ok {
			names[path+"/"+filepath.Base(at)] = file
		} else if rel, err := filepath.Rel(o.goroot, at); err == nil && filepath.IsLocal(rel) {
			names["GOROOT/"+rel] = file
		} // else it is of a package that is not linked
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := hashFile(h, "overlay "+name, names[name]); err != nil {
			return err
		}
	}
	return nil
}

// goCommand is a command of the Go that images are built with, in the
// environment that they are built in: of the user's, only what says where things
// are kept.
func (o *options) goCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(o.goroot, "bin", "go"), args...)
	cmd.Env = append(os.Environ(), o.env()...)
	return cmd
}
