package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/configc/image"

	"golang.org/x/tools/txtar"
)

// FuzzConfig has any file end in Go source or in at least one error, each with
// its place.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	for _, odd := range []string{
		"network = 1\n[network]\n", "[[network]]\n[network.a]\n", "a = [1]\n[a.b]\n", "a.b = 1\n[a]\nb.c = 2\n",
		"[[dns.zones]]\n[dns]\nzones = []\n", "dns = { zones = [ { origin = { } } ] }\n", "network = { ipv4 = 1, ipv4 = 2 }\n",
	} {
		f.Add([]byte(odd))
	}
	file := filepath.Join(f.TempDir(), "image.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, app := range image.Apps {
			var stdout, stderr bytes.Buffer
			code := run([]string{"-config", file, "-app", app}, &stdout, &stderr)
			if code == 0 && stdout.Len() > 0 || code == 1 && strings.HasPrefix(stderr.String(), file+":") {
				continue
			}
			t.Errorf("%s: exit code %d, %q", app, code, stderr.String())
		}
	})
}
