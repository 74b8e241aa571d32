package dom0

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// tree is a folder that holds unpacked packages as an installed system would.
// Symbolic links in it, absolute ones too, stay within it.
type tree string

// libraryFolders are where Debian keeps libraries on amd64.
var libraryFolders = []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib"}

// resolve is the path below the tree of the file behind name's links.
func (t tree) resolve(name string) (string, error) {
	for range 10 {
		target, err := os.Readlink(filepath.Join(string(t), name))
		if err != nil {
			if _, err := os.Stat(filepath.Join(string(t), name)); err != nil {
				return "", err
			}
			return name, nil
		}
		if path.IsAbs(target) {
			name = strings.TrimPrefix(path.Clean(target), "/")
		} else {
			name = strings.TrimPrefix(path.Join("/", path.Dir(name), target), "/")
		}
	}
	return "", fmt.Errorf("%s: too many links", name)
}

func (t tree) read(name string) ([]byte, error) {
	name, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(string(t), name))
}

// one is the only file that matches pattern.
func (t tree) one(pattern string) (string, error) {
	m, err := filepath.Glob(filepath.Join(string(t), pattern))
	if err != nil {
		return "", err
	}
	if len(m) != 1 {
		return "", fmt.Errorf("%d files match %s in the packages, want one", len(m), pattern)
	}
	return filepath.Rel(string(t), m[0])
}

// trees are searched in order.
type trees []tree

// library finds a shared library by its name.
func (ts trees) library(soname string) (string, error) {
	for _, t := range ts {
		for _, d := range libraryFolders {
			if p, err := t.resolve(path.Join(d, soname)); err == nil {
				return filepath.Join(string(t), p), nil
			}
		}
	}
	return "", fmt.Errorf("no package brings the library %s", soname)
}

// needed collects into libs what the ELF file needs to run: soname, or the
// absolute path of the interpreter, to the file on this machine. Something that
// is no ELF file, or a static one, needs nothing.
func (ts trees) needed(file string, libs map[string]string) error {
	f, err := elf.Open(file)
	if err != nil {
		if bad := (*elf.FormatError)(nil); errors.As(err, &bad) {
			return nil
		}
		return err
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				return fmt.Errorf("%s: interpreter: %w", file, err)
			}
			names = append(names, strings.TrimRight(string(b), "\x00"))
		}
	}
	for _, n := range names {
		if libs[n] != "" {
			continue
		}
		p, err := ts.library(path.Base(n))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		libs[n] = p
		if err := ts.needed(p, libs); err != nil {
			return err
		}
	}
	return nil
}
