package dom0

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Plain is an ordinary Linux VM that is made the same way, without Xen: a kernel, one
// program, and what that needs.
type Plain struct {
	Name     string
	Packages []string          // Debian's, among them the kernel's and busybox-static
	Programs []string          // absolute paths, as the packages have them
	Modules  []string          // of the kernel, to be listed in /modules/order
	Folders  []string          // where those and what they need live, below kernel/
	Files    map[string]string // path without its first slash, and content
	Init     string            // the first process: a script for busybox sh
	Dirs     []string          // empty folders
}

// Prepare returns the path of the kernel, a bzImage, and the initramfs. It blocks as
// the function Prepare does, with the same errors.
func (p Plain) Prepare(ctx context.Context, cache string, say func(string)) (kernel string, initramfs []byte, err error) {
	if cache, err = filepath.Abs(cache); err != nil {
		return "", nil, err
	}
	lock, err := lockCache(cache)
	if err != nil {
		return "", nil, err
	}
	defer lock.Close() // unlocks
	dir, err := cached(ctx, cache, p.Name, p.Packages, p.Folders, say, nil)
	if err != nil {
		return "", nil, err
	}
	t := tree(filepath.Join(dir, "tree"))
	if kernel, err = t.one("boot/vmlinuz-*"); err != nil {
		return "", nil, fmt.Errorf("dom0: %s: %w", p.Name, err)
	}
	var b bytes.Buffer
	if err := p.archive(ctx, trees{t}, newArchive(&b)); err != nil {
		return "", nil, fmt.Errorf("dom0: %s: %w", p.Name, err)
	}
	return filepath.Join(string(t), kernel), b.Bytes(), nil
}

func (p Plain) archive(ctx context.Context, ts trees, a *archive) error {
	for _, d := range append([]string{"proc", "sys", "dev", "run", "tmp"}, p.Dirs...) {
		a.dir(d)
	}
	a.char("dev/console", 5, 1)
	a.symlink("bin/sh", "busybox")
	a.file("init", 0o755, []byte(p.Init))
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		a.file(strings.TrimPrefix(name, "/"), 0o644, []byte(p.Files[name]))
	}
	if err := ts.modules(ctx, a, p.Modules); err != nil {
		return err
	}
	if err := ts.programs(a, p.Programs); err != nil {
		return err
	}
	return a.close()
}
