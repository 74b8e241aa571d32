package dom0

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// entry is one member of an archive as list reads it.
type entry struct {
	name string
	mode uint64
	data string
}

// list reads a newc archive by its definition: 6 bytes of magic, 13 fields of
// 8 hexadecimal digits, name and data each padded to 4 bytes.
func list(t *testing.T, b []byte) []entry {
	t.Helper()
	var out []entry
	for off := 0; ; {
		if off+110 > len(b) || string(b[off:off+6]) != "070701" {
			t.Fatalf("no header at %d of %d", off, len(b))
		}
		var f [13]uint64
		for i := range f {
			v, err := strconv.ParseUint(string(b[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			f[i] = v
		}
		size, nameSize := int(f[6]), int(f[11])
		name := string(b[off+110 : off+110+nameSize-1])
		data := (off + 110 + nameSize + 3) &^ 3
		off = (data + size + 3) &^ 3
		if name == "TRAILER!!!" {
			return out
		}
		out = append(out, entry{name, f[1], string(b[data : data+size])})
	}
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("a/b/one", 0o755, []byte("12345"))
	a.dir("a/b")
	a.symlink("a/link", "b/one")
	a.char("dev/console", 5, 1)
	a.file("zz", 0o640, nil)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	got := list(t, b.Bytes())
	want := []entry{{"a", 0o40755, ""}, {"a/b", 0o40755, ""}, {"a/b/one", 0o100755, "12345"},
		{"a/link", 0o120777, "b/one"}, {"dev", 0o40755, ""}, {"dev/console", 0o20600, ""}, {"zz", 0o100640, ""}}
	if !slices.Equal(got, want) {
		t.Errorf("archive holds %v\nwant %v", got, want)
	}
	// The first header, byte for byte.
	head := "070701" + "00000001" + "000041ed" + strings.Repeat("0", 16) + "00000001" + strings.Repeat("0", 48) + "00000002" + "00000000" + "a\x00"
	if !bytes.HasPrefix(b.Bytes(), []byte(head)) {
		t.Errorf("header\n%s\nwant\n%s", hex.Dump(b.Bytes()[:112]), hex.Dump([]byte(head)))
	}
}

func TestArchiveRefuses(t *testing.T) {
	for _, name := range []string{"/abs", "../up", "twice"} {
		a := newArchive(io.Discard)
		a.file("twice", 0o644, nil)
		a.file(name, 0o644, nil)
		if err := a.close(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
