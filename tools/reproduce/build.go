package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// build is one of the two.
type build struct {
	name  string
	dir   string // has the copy of the tree, and all that the build writes
	uid   uint32 // 0: the user who runs this
	umask int
	time  time.Time // of every file of the copy
	env   []string
}

func (b *build) tree() string { return filepath.Join(b.dir, "src") }

func (b *build) user() uint32 {
	if b.uid != 0 {
		return b.uid
	}
	return uint32(os.Getuid())
}

// copyTree copies the tree, and gives all to the build's user.
func (b *build) copyTree(ctx context.Context, root string) error {
	files, err := sources(ctx, root)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := b.copy(root, f); err != nil {
			return err
		}
	}
	for _, d := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(b.dir, d), 0o755); err != nil {
			return err
		}
	}
	if b.uid == 0 {
		return nil
	}
	return filepath.WalkDir(b.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(b.uid), int(b.uid))
	})
}

// make builds images in the copy.
func (b *build) make(ctx context.Context, images []string) error {
	// The shell sets the mask, as it does for a user.
	script := fmt.Sprintf("umask %03o && exec make %s", b.umask, strings.Join(images, " "))
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = b.tree()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir + "/home", "GOPATH=" + b.dir + "/home/go",
		"GOCACHE=" + b.dir + "/home/cache", "GOMODCACHE=" + b.dir + "/home/modules", "TMPDIR=" + b.dir + "/tmp", "GOFLAGS=-modcacherw"}, b.env...)
	if b.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: b.uid, Gid: b.uid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build in %s: %w\n%s", b.dir, err, out)
	}
	return nil
}

// sources is every file of the tree that git would keep, or that is not the
// product of a build where there is no git.
func sources(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case rel == "build" || rel == "dist" || rel == ".git":
			return filepath.SkipDir
		case d.Type().IsRegular():
			files = append(files, rel)
		}
		return nil
	})
	return files, err
}

// copy copies a file, with its mode as to execution and the build's time.
func (b *build) copy(root, name string) error {
	from, to := filepath.Join(root, name), filepath.Join(b.tree(), name)
	info, err := os.Stat(from)
	if os.IsNotExist(err) { // git knows it, the user has removed it
		return nil
	}
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, content, info.Mode().Perm()&0o111|0o644); err != nil {
		return err
	}
	return os.Chtimes(to, b.time, b.time)
}
