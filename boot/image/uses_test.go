package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"testing"
)

// What functions need is in the tables, slimmed or not, and together it is most of
// them.
func TestUses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	slim, err := Slim(file, Traceable)
	if err != nil {
		t.Fatal(err)
	}
	for least, b := range map[int][]byte{50: file, 90: slim} {
		uses, err := Uses(b)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		table, err := f.Section(".gopclntab").Data()
		if err != nil {
			t.Fatal(err)
		}
		used := make([]bool, len(table))
		named := 0
		for i, u := range uses {
			if i > 0 && u.Entry < uses[i-1].Entry {
				t.Fatalf("function %d is in front of the last", i)
			}
			for _, p := range u.Parts {
				if p[0] > p[1] || p[1] > uint64(len(table)) {
					t.Fatalf("function %d needs %d to %d of %d", i, p[0], p[1], len(table))
				}
				if string(table[p[0]:p[1]]) == "ampoule/boot/image.TestUses\x00" {
					named++
				}
				for at := p[0]; at < p[1]; at++ {
					used[at] = true
				}
			}
		}
		all := 0
		for _, u := range used {
			if u {
				all++
			}
		}
		if named == 0 || len(uses) < 1000 || all*100 < least*len(table) {
			t.Errorf("%d functions need %d of %d bytes, %d have the name of this one", len(uses), all, len(table), named)
		}
		damaged := bytes.Clone(b)
		damaged[f.Section(".gopclntab").Offset+11] = 1 // far more functions
		if _, err := Uses(damaged); !errors.Is(err, errTables) {
			t.Errorf("damaged tables: %v", err)
		}
	}
}
