package dom0

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrPackages says that Debian's packages cannot be had on this machine: the
// tools are missing, or the archive does not answer.
var ErrPackages = errors.New("the packages of Debian cannot be had")

// corePackages are what dom0 is made of. The versioned packages behind the
// names (hypervisor, utilities, kernel) are found by their dependencies.
var corePackages = []string{"xen-system-amd64", "xenstore-utils", "busybox-static", "linux-image-amd64"}

// follow says which dependencies are wanted: libraries, and the versioned
// packages that a meta package names. Interpreters and the scripts of an
// installed system are not.
var follow = regexp.MustCompile(`^z?lib|-libs$|^(xen-hypervisor|xen-utils|linux-image)-[0-9]`)

// fetch downloads roots and the packages they need into dir, unpacked, without
// installing anything: installing a hypervisor would touch this machine's boot
// loader. Of a kernel's modules it keeps those in folders.
func fetch(ctx context.Context, dir string, roots, folders []string, say func(string)) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %s is not installed: this needs Debian", ErrPackages, tool)
		}
	}
	names, err := closure(ctx, roots)
	if err != nil && os.Getuid() == 0 {
		if _, uerr := output(ctx, "", "apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"); uerr != nil {
			return fmt.Errorf("%w: %w", ErrPackages, uerr)
		}
		names, err = closure(ctx, roots)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPackages, err)
	}
	say(fmt.Sprintf("downloading %d packages: %s", len(names), strings.Join(names, " ")))
	debs, err := os.MkdirTemp(filepath.Dir(dir), "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	args := append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, names...)
	if _, err := output(ctx, debs, "apt-get", args...); err != nil {
		return fmt.Errorf("%w: %w", ErrPackages, err)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != len(names) {
		return fmt.Errorf("%w: %d packages came of %d", ErrPackages, len(files), len(names))
	}
	for _, f := range files {
		if err := unpack(ctx, f, dir, folders); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(f), err)
		}
	}
	return nil
}

// closure is roots and what they depend on, as far as follow goes.
func closure(ctx context.Context, roots []string) ([]string, error) {
	args := []string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}
	out, err := output(ctx, "", "apt-cache", append(args, roots...)...)
	if err != nil {
		return nil, err
	}
	return walk(parseDepends(out), roots)
}

// parseDepends reads the output of apt-cache depends: a package at the left
// margin, "  Depends: NAME" or "  PreDepends: NAME" below it, the first of
// several alternatives marked " |Depends:".
func parseDepends(out string) map[string][]string {
	deps := map[string][]string{}
	name, alternative := "", false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, " ") {
			name = line
			deps[name] = deps[name][:len(deps[name]):len(deps[name])]
			alternative = false
			continue
		}
		kind, dep, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !strings.HasSuffix(kind, "Depends") {
			continue
		}
		if !alternative { // the first alternative is the preferred one
			deps[name] = append(deps[name], dep)
		}
		alternative = strings.HasPrefix(kind, "|")
	}
	return deps
}

func walk(deps map[string][]string, roots []string) ([]string, error) {
	todo, seen := slices.Clone(roots), map[string]bool{}
	var names []string
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		if _, ok := deps[n]; !ok {
			return nil, fmt.Errorf("the archive has no package %s", n)
		}
		names = append(names, n)
		for _, d := range deps[n] {
			if follow.MatchString(d) {
				todo = append(todo, d)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// unwanted files are not unpacked: documentation, and the modules of a kernel
// that are in none of folders: they drive what our machines do not have.
func unwanted(name string, folders []string) bool {
	if strings.HasPrefix(name, "usr/share/") {
		return true
	}
	_, module, ok := strings.Cut(name, "/kernel/")
	if !ok || !strings.Contains(name, "lib/modules/") {
		return false
	}
	return !slices.ContainsFunc(folders, func(d string) bool { return strings.HasPrefix(module, d) })
}

// unpack adds a package's files to the tree at dir.
func unpack(ctx context.Context, deb, dir string, folders []string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	err = untar(root, tar.NewReader(out), folders)
	io.Copy(io.Discard, out)
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, strings.TrimSpace(stderr.String()))
	}
	return err
}

func untar(root *os.Root, r *tar.Reader, folders []string) error {
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if name == "." || unwanted(name, folders) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			if err = root.MkdirAll(path.Dir(name), 0o755); err == nil {
				err = root.Symlink(h.Linkname, name)
			}
		case tar.TypeLink:
			err = root.Link(path.Clean(h.Linkname), name)
		case tar.TypeReg:
			err = extract(root, name, h.FileInfo().Mode().Perm(), r)
		}
		if err != nil && !(h.Typeflag == tar.TypeSymlink && errors.Is(err, fs.ErrExist)) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

func extract(root *os.Root, name string, perm fs.FileMode, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// output runs a command and returns what it prints; an error holds the end of
// what it said.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		return "", fmt.Errorf("%s: %w: %s", name, err, said[max(0, len(said)-500):])
	}
	return stdout.String(), nil
}
