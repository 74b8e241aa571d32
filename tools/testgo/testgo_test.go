package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestCopyTree(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "deep", "copy")
	tool := filepath.Join(from, "bin", "go")
	if err := os.MkdirAll(filepath.Dir(tool), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, []byte("tool"), 0o555); err != nil {
		t.Fatal(err)
	}
	// what an interrupted copy leaves
	if err := os.MkdirAll(filepath.Join(to+".part", "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time finds it there
		if err := copyTree(from, to); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(filepath.Join(to, "bin", "go"))
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v: want an executable that can be removed", st, err)
	}
	if _, err := os.Stat(filepath.Join(to, "old")); err == nil {
		t.Error("the interrupted copy was kept")
	}
	if err := copyTree(filepath.Join(from, "nowhere"), to+"2"); err == nil {
		t.Error("copying nothing succeeded")
	}
}

func TestBuiltWith(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(runtime.Version(), " ")
	version, _, _ = strings.Cut(version, "-")
	if err := builtWith(self, version); err != nil {
		t.Error(err)
	}
	if err := builtWith(self, "go1.99.0"); err == nil || !strings.Contains(err.Error(), "not go1.99.0") {
		t.Errorf("another release: %v", err)
	}
}
