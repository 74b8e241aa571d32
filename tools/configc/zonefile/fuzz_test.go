package zonefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ampoule/tools/configc/report"

	"golang.org/x/tools/txtar"
)

// FuzzRead checks that any file is either compiled or refused with a reason,
// and that every reason has a place.
func FuzzRead(f *testing.F) {
	zones, _ := filepath.Glob("../../../testdata/dns/zones/*.zone")
	for _, file := range zones {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	cases, _ := filepath.Glob("../testdata/*.txtar")
	for _, file := range cases {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range archive.Files {
			if filepath.Ext(a.Name) == ".zone" {
				f.Add(a.Data)
			}
		}
	}
	if len(zones) == 0 || len(cases) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read1 := func(file string) ([]byte, error) {
			if file == "main" {
				return data, nil
			}
			return nil, errors.New("no such file")
		}
		var list report.List
		z := read(read1, "main", "example.org.", nil, &list)
		if (z == "") != list.Failed() {
			t.Errorf("a table of %d bytes, and %v", len(z), list.Problems())
		}
		for _, p := range list.Problems() {
			if p.File == "" || p.Text == "" || p.Line < 0 {
				t.Errorf("%+v", p)
			}
		}
		if z != "" {
			if err := z.Check(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestIncludeFromRoot reads a zone by its path from the root, with a file beside it.
func TestIncludeFromRoot(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"main":  "@ 1 SOA . . 1 1 1 1 1\n@ 1 NS ns\n$INCLUDE below/more\n",
		"more":  "ns 1 A 192.0.2.1\n$INCLUDE other\n",
		"other": "www 1 A 192.0.2.2\n",
	} {
		folder := dir
		if file != "main" {
			folder = filepath.Join(dir, "below")
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var list report.List
	if z := Read(filepath.Join(dir, "main"), "example.org.", nil, &list); z == "" || z.Len() != 3 {
		t.Errorf("%v", list.Problems())
	}
}
