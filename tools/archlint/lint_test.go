package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lint writes one file into a tree of its own and returns the report.
func lint(t *testing.T, name, src string) string {
	t.Helper()
	root := t.TempDir()
	for m := range requires {
		write(t, filepath.Join(root, m, "go.mod"), "module ampoule/"+m+"\n")
	}
	write(t, filepath.Join(root, name), src)
	l := &linter{root: root}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range l.found {
		out = append(out, f.String())
	}
	return strings.Join(out, "\n")
}

func write(t *testing.T, name, src string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	for _, tc := range []struct {
		dir, path string
		ok        bool
	}{
		{"boot/gate", "ampoule/libos/rt/rtabi", true},
		{"boot/gate", "ampoule/libos/event", false},
		{"boot/gate", "ampoule/boot/pvh", false},
		{"boot/pvh", "ampoule/boot/gate", true},
		{"boot/image", "debug/elf", true},
		{"boot/image", "ampoule/libos/rt", true},
		{"boot/image", "ampoule/libos/netif", false},
		{"boot/platform", "ampoule/drivers/virtio/net", true},
		{"boot/platform", "ampoule/libos/device", true},
		{"boot/pvh", "ampoule/drivers/virtio", false},
		{"drivers/virtio/net", "ampoule/drivers/virtio", true},
		{"drivers/virtio/net", "ampoule/libos/device", true},
		{"drivers/virtio/net", "ampoule/boot/platform", false},
		{"drivers/virtio/net", "gvisor.dev/gvisor/pkg/tcpip", false},
		{"libos/device", "ampoule/libos/iopage", true},
		{"libos/device", "ampoule/drivers/virtio", false},
		{"libos/device", "gvisor.dev/gvisor/pkg/tcpip", false},
		{"libos/netif", "gvisor.dev/gvisor/pkg/tcpip", true},
		{"libos/netifx", "gvisor.dev/gvisor/pkg/tcpip", false},
		{"libos/rt/rtabi", "ampoule/libos/device", false},
		{"libos/mgmt", "golang.org/x/crypto/ssh", true},
		{"appliances/dns", "github.com/miekg/dns", true},
		{"appliances/dns", "ampoule/boot/platform", true},
		{"appliances/dns", "ampoule/boot/gate", false},
		{"appliances/dns", "ampoule/drivers/virtio", false},
		{"appliances/dns", "ampoule/tools/boottest/vm", false},
		{"tools/mkimage", "ampoule/boot/image", true},
		{"tools/mkimage", "ampoule/libos/config", true},
		{"tools/mkimage", "ampoule/libos/netif", false},
		{"tools/bench", "github.com/spf13/cobra", false},
		{"tools/bench", "C", false},
	} {
		got := lint(t, tc.dir+"/a.go", "package a\n\nimport _ \""+tc.path+"\"\n")
		if tc.ok != (got == "") {
			t.Errorf("%s importing %s: %q", tc.dir, tc.path, got)
		}
		if !tc.ok && !strings.HasPrefix(got, tc.dir+"/a.go:3: ") {
			t.Errorf("%s importing %s: no position in %q", tc.dir, tc.path, got)
		}
	}
}

func TestRequires(t *testing.T) {
	for name, tc := range map[string]struct{ mod, src, want string }{
		"allowed": {"drivers", "module ampoule/drivers\n\nrequire ampoule/libos v0.0.0\n\nreplace ampoule/libos => ../libos\n", ""},
		"upward":  {"libos", "module ampoule/libos\n\nrequire ampoule/drivers v0.0.0\n", "libos/go.mod:3: module libos must not require module drivers"},
		"block":   {"drivers", "module ampoule/drivers\n\nrequire (\n\tampoule/boot v0.0.0\n)\n", "drivers/go.mod:4: module drivers must not require module boot"},
	} {
		if got := lint(t, tc.mod+"/go.mod", tc.src); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestUnsafe(t *testing.T) {
	const use = "package a\n\nimport \"unsafe\"\n\nvar P = unsafe.Pointer(nil)\n"
	const size = "package a\n\nimport \"unsafe\"\n\nvar _ [8]byte = [unsafe.Sizeof(0)]byte{}\n"
	const link = "package a\n\nimport _ \"unsafe\"\n"
	for _, tc := range []struct {
		name, src string
		ok        bool
	}{
		{"libos/a/a.go", use, false},
		{"libos/a/a_unsafe.go", use, true},
		{"libos/a/a_unsafe_amd64.go", use, true},
		{"libos/a/a_unsafe_test.go", use, true},
		{"libos/a/unsafely.go", use, false},
		{"libos/a/a_test.go", use, false},
		{"libos/a/a.go", size, true},
		{"libos/a/a.go", link, false},
		{"libos/rt/_runtime/a.go", use, true},
		{"libos/rt/a.go", use, false},
		{"boot/gate/a.go", use, true},
		{"boot/platform/a.go", use, false},
	} {
		if got := lint(t, tc.name, tc.src); tc.ok != (got == "") || !tc.ok && !strings.Contains(got, "_unsafe.go") {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}

func TestInit(t *testing.T) {
	if got := lint(t, "libos/a/a.go", "package a\n\nfunc init() {}\n"); !strings.HasPrefix(got, "libos/a/a.go:3: init function") {
		t.Errorf("init function: %q", got)
	}
	for name, src := range map[string]string{
		"libos/a/a.go":           "package a\n\ntype T int\n\nfunc (T) init() {}\n",
		"libos/rt/_runtime/a.go": "package runtime\n\nfunc init() {}\n",
	} {
		if got := lint(t, name, src); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestLengthIsAWarning(t *testing.T) {
	long := "package a\n" + strings.Repeat("\n", maxFileLines)
	if got := lint(t, "libos/a/a.go", long); !strings.Contains(got, "a.go:1: warning: 401 lines") {
		t.Errorf("long file: %q", got)
	}
	fn := "package a\n\nfunc f() {" + strings.Repeat("\n", maxFuncLines) + "}\n"
	if got := lint(t, "libos/a/a.go", fn); !strings.Contains(got, "a.go:3: warning: function f has 61 lines") {
		t.Errorf("long function: %q", got)
	}
	if got := lint(t, "libos/a/a.go", "// Code generated by a test. DO NOT EDIT.\n\n"+long); got != "" {
		t.Errorf("generated file: %q", got)
	}
}

func TestUnparsable(t *testing.T) {
	if got := lint(t, "libos/a/a.go", "package\n"); !strings.Contains(got, "cannot be parsed") {
		t.Errorf("got %q", got)
	}
}

func TestExitCode(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "libos/go.mod"), "module ampoule/libos\n")
	write(t, filepath.Join(root, "libos/a/a.go"), "package a\n")
	if got := run(root, ""); got != 0 {
		t.Errorf("clean tree: exit code %d", got)
	}
	write(t, filepath.Join(root, "libos/a/b.go"), "package a\n\nfunc init() {}\n")
	if got := run(root, ""); got != 1 {
		t.Errorf("violation: exit code %d", got)
	}
}
