// Package workspace finds the top of the tree, for tools and tests that are
// started anywhere in it.
package workspace

import (
	"fmt"
	"os"
	"path/filepath"
)

// Root is the nearest folder, from the current one up, that holds a go.work.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.work")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.work in %s or above it", dir)
		}
	}
}
