package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRoot(t *testing.T) {
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	if root, err := Root(); err == nil || !strings.Contains(err.Error(), deep) {
		t.Errorf("%q, %v", root, err)
	}
	if err := os.WriteFile(filepath.Join(top, "go.work"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if root, err := Root(); err != nil || root != top {
		t.Errorf("%q, %v", root, err)
	}
}
