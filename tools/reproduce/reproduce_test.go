package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproduce builds an image twice, each time from nothing: some minutes.
func TestReproduce(t *testing.T) {
	if testing.Short() {
		t.Skip("REPRODUCTION IS NOT TESTED: it takes minutes")
	}
	var out strings.Builder
	same, err := run(t.Context(), &out, "", false, []string{"echo-virtio"})
	if err != nil || !same {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, name := range []string{"echo.elf", "manifest.json", "sbom.spdx.json", "START.txt", "REPRODUCED"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("nothing of %s in\n%s", name, &out)
		}
	}
	t.Log(out.String())
}

// TestCompare: whatever differs is found.
func TestCompare(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"nothing", func(*testing.T, string) {}, "REPRODUCED"},
		{"a byte", func(t *testing.T, dir string) { put(t, dir, "a.elf", "iMage", 0o644) }, "DIFFERENT  5 and 5 bytes, from offset 1  dist/a-virtio/a.elf"},
		{"a length", func(t *testing.T, dir string) { put(t, dir, "a.elf", "image ", 0o644) }, "DIFFERENT  5 and 6 bytes, from offset 5"},
		{"permissions", func(t *testing.T, dir string) { put(t, dir, "a.elf", "image", 0o600) }, "DIFFERENT  mode -rw-r--r-- and -rw-------"},
		{"one file more", func(t *testing.T, dir string) { put(t, dir, "b", "", 0o644) }, "DIFFERENT  dist/a-virtio has [a.elf] and [a.elf b]"},
		{"one file less", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "dist", "a-virtio", "a.elf")) }, "DIFFERENT  dist/a-virtio has [a.elf] and []"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := t.TempDir(), t.TempDir()
			for _, dir := range []string{a, b} {
				put(t, dir, "a.elf", "image", 0o644)
			}
			tc.change(t, b)
			var out strings.Builder
			same, err := compare(&out, a, b, []string{"a-virtio"})
			if err != nil || same != (tc.want == "REPRODUCED") || !strings.Contains(out.String(), tc.want) {
				t.Errorf("%v, %v:\n%s", same, err, &out)
			}
		})
	}
	if _, err := compare(&strings.Builder{}, t.TempDir(), t.TempDir(), []string{"a-virtio"}); err == nil {
		t.Error("no images at all, and no error")
	}
}

func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	file := filepath.Join(dir, "dist", "a-virtio", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}
