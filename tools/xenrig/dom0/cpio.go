package dom0

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Types of a file in a cpio header (the S_IF constants of stat.h).
const (
	typeDir  = 0o040000
	typeChar = 0o020000
	typeFile = 0o100000
	typeLink = 0o120000
)

// archive writes a cpio archive in the "newc" format that the Linux kernel
// unpacks as initramfs (Documentation/driver-api/early-userspace/buffer-format).
// The first error sticks and is returned by close.
type archive struct {
	w    io.Writer
	ino  uint32
	seen map[string]bool // paths present
	err  error
}

func newArchive(w io.Writer) *archive { return &archive{w: w, seen: map[string]bool{}} }

// entry writes one header with its data. All belongs to root; the time is 0.
func (a *archive) entry(name string, mode, rdevMajor, rdevMinor uint32, data []byte) {
	if a.err != nil {
		return
	}
	a.ino++
	const nlink, mtime, dev, check = 1, 0, 0, 0
	header := "070701"
	for _, v := range []uint32{a.ino, mode, 0, 0, nlink, mtime, uint32(len(data)), dev, dev,
		rdevMajor, rdevMinor, uint32(len(name) + 1), check} {
		header += fmt.Sprintf("%08x", v)
	}
	header += name + "\x00"
	header += strings.Repeat("\x00", pad4(len(header)))
	if _, a.err = io.WriteString(a.w, header); a.err != nil {
		return
	}
	if _, a.err = a.w.Write(data); a.err != nil {
		return
	}
	_, a.err = a.w.Write(make([]byte, pad4(len(data))))
}

func pad4(n int) int { return -n & 3 }

// parents makes the folders above name that are not there yet.
func (a *archive) parents(name string) {
	if d := path.Dir(name); d != "." {
		a.dir(d)
	}
}

// dir makes a folder and those above it.
func (a *archive) dir(name string) {
	if a.seen[name] {
		return
	}
	a.parents(name)
	a.seen[name] = true
	a.entry(name, typeDir|0o755, 0, 0, nil)
}

// file adds a file; a second one of that name is refused.
func (a *archive) file(name string, perm fs.FileMode, data []byte) {
	if a.add(name) {
		a.entry(name, typeFile|uint32(perm.Perm()), 0, 0, data)
	}
}

func (a *archive) symlink(name, target string) {
	if a.add(name) {
		a.entry(name, typeLink|0o777, 0, 0, []byte(target))
	}
}

func (a *archive) char(name string, major, minor uint32) {
	if a.add(name) {
		a.entry(name, typeChar|0o600, major, minor, nil)
	}
}

// add notes a new name and makes the folders above it.
func (a *archive) add(name string) bool {
	if a.err == nil && (a.seen[name] || !fs.ValidPath(name)) {
		a.err = fmt.Errorf("cpio: %q is there twice or is no path", name)
	}
	if a.err != nil {
		return false
	}
	a.parents(name)
	a.seen[name] = true
	return true
}

// close ends the archive; it does not close the writer.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}
