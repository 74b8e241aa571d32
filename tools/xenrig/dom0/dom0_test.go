package dom0

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const dependsOutput = `xen-system-amd64
  Depends: xen-hypervisor-4.99-amd64
  Depends: xen-utils-4.99
  Depends: xen-hypervisor-common
xen-hypervisor-4.99-amd64
xen-utils-4.99
  PreDepends: libc6
 |Depends: libfirst
  Depends: libsecond
  Depends: <python3:any>
    python3
  Depends: zlib1g
<python3:any>
libc6
  Depends: libgcc-s1
libgcc-s1
  Depends: libc6
libfirst
libsecond
zlib1g
python3
  Depends: libpython
`

func TestClosure(t *testing.T) {
	got, err := walk(parseDepends(dependsOutput), []string{"xen-system-amd64"})
	want := "[libc6 libfirst libgcc-s1 xen-hypervisor-4.99-amd64 xen-system-amd64 xen-utils-4.99 zlib1g]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("closure %v, error %v; want %s", got, err, want)
	}
	if _, err := walk(parseDepends(dependsOutput), []string{"no-such"}); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("unknown package: %v", err)
	}
}

func TestUntar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data string) {
		h.Size, h.Mode = int64(len(data)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, data)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./lib/"}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./lib/x86_64-linux-gnu/liba.so.1.2"}, "library")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "./lib/x86_64-linux-gnu/liba.so.1", Linkname: "liba.so.1.2"}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "./lib64/liba.so", Linkname: "/lib/x86_64-linux-gnu/liba.so.1"}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./usr/share/doc/a"}, "text")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./lib/modules/6/kernel/drivers/gpu/gpu.ko"}, "gpu")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./lib/modules/6/kernel/net/llc/llc.ko"}, "llc")
	w.Close()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := untar(root, tar.NewReader(&b), moduleFolders); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lib64/liba.so", "lib/x86_64-linux-gnu/liba.so.1"} {
		if b, err := tree(dir).read(name); err != nil || string(b) != "library" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if p, err := (trees{tree(dir)}).library("liba.so"); err != nil || p != filepath.Join(dir, "lib/x86_64-linux-gnu/liba.so.1.2") {
		t.Errorf("library: %s, %v", p, err)
	}
	for name, want := range map[string]bool{"usr/share": false, "lib/modules/6/kernel/drivers": false, "lib/modules/6/kernel/net/llc/llc.ko": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUntarStaysInside(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "../escaped", Mode: 0o644})
	w.Close()
	dir := filepath.Join(t.TempDir(), "in")
	os.Mkdir(dir, 0o755)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := untar(root, tar.NewReader(&b), moduleFolders); err == nil {
		t.Error("a path outside was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "../escaped")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside: %v", err)
	}
}

// bzImage wraps a payload as the Linux boot protocol has it, with two setup
// sectors and the size behind the compressed stream.
func bzImage(payload []byte) []byte {
	b := make([]byte, 3*512+16)
	b[0x1f1] = 2
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(b[0x248:], 16)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)+4))
	return append(append(b, payload...), "sizeand the rest"...)
}

func TestVmlinux(t *testing.T) {
	pack := func(s string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.Bytes()
	}
	got, err := vmlinux(t.Context(), bzImage(pack("\x7fELF kernel")))
	if err != nil || string(got) != "\x7fELF kernel" {
		t.Errorf("%q, %v", got, err)
	}
	cut := bzImage(pack("\x7fELF"))
	for name, in := range map[string][]byte{
		"empty": nil, "no image": make([]byte, 4096), "no ELF": bzImage(pack("text")), "cut": cut[:len(cut)-20],
	} {
		if _, err := vmlinux(t.Context(), in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPrepareRefusesFolder(t *testing.T) {
	_, err := Prepare(t.Context(), filepath.Join(t.TempDir(), "with space"), Options{}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "space") {
		t.Errorf("error %v", err)
	}
}
