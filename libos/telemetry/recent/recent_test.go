package recent

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, size := range []int{16, 31, 64, 1000} {
		var console, all bytes.Buffer
		l := New(&console, size)
		if got := l.Last(5); len(got) != 0 {
			t.Errorf("size %d: %q before anything was written", size, got)
		}
		for i := range 40 {
			line := fmt.Sprintf("%s%d\n", strings.Repeat("x", i%7), i)
			all.WriteString(line)
			if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
			lines := strings.SplitAfter(all.String(), "\n")
			lines = lines[:len(lines)-1]
			for _, want := range []int{0, 1, 3, 100} {
				text := strings.Join(lines[max(0, len(lines)-want):], "")
				for len(text) > size || len(text) == size && all.Len() > size && want > 0 {
					// A line at the very start of the ring can't be told from a part of one.
					text = text[strings.IndexByte(text, '\n')+1:]
				}
				if got := string(l.Last(want)); got != text {
					t.Fatalf("size %d, the last %d of %d lines: %q, want %q", size, want, len(lines), got, text)
				}
			}
		}
		if console.String() != all.String() {
			t.Errorf("size %d: the console has another text", size)
		}
	}
}
