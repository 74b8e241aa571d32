package image

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A table is the schema of one table of the configuration. It is all there is
// to know about its keys but for what depends on other keys; the reference in
// the README is written from it.
type table struct {
	name  string // "network"; "" for the file as a whole
	about string
	keys  []key
}

// A key is one that may be in a table.
type key struct {
	name   string
	want   want
	def    any    // what holds when it is left out: an int, string or bool; nil: absent says
	absent string // what being left out means; "" is that it must be there
	about  string
}

// want is what a value may be. String says it in words that fit behind "must
// be".
type want interface{ String() string }

// integer is a number within bounds.
type integer struct{ low, high int }

func (w integer) String() string { return fmt.Sprintf("a number from %d to %d", w.low, w.high) }

// flag is true or false.
type flag struct{}

func (flag) String() string { return "true or false" }

// duration is a time within bounds, which are whole seconds.
type duration struct{ low, high time.Duration }

func (w duration) String() string {
	return fmt.Sprintf(`a time from "%ds" to "%ds"`, w.low/time.Second, w.high/time.Second)
}

// size is a number of bytes within bounds.
type size struct{ low, high int }

func (w size) String() string {
	return fmt.Sprintf("a size from %q to %q", sizeText(w.low), sizeText(w.high))
}

// sizeUnits are the units of a size, the largest first.
var sizeUnits = [...]struct {
	name string
	n    int
}{{"MiB", 1 << 20}, {"KiB", 1 << 10}}

func sizeText(n int) string {
	for _, u := range sizeUnits {
		if n%u.n == 0 {
			return strconv.Itoa(n/u.n) + u.name
		}
	}
	return strconv.Itoa(n)
}

// parseSize reads a size, and answers -1 when it is none.
func parseSize(s string) int {
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseUint(digits, 10, 20)
			if err != nil {
				return -1
			}
			return int(n) * u.n
		}
	}
	return -1
}

// choice is one of several words.
type choice []string

func (w choice) String() string {
	return "one of " + quoted(w[:len(w)-1]) + " and " + strconv.Quote(w[len(w)-1])
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, ", ")
}

// text is a string, of which the section's reader knows more.
type text string

func (w text) String() string { return string(w) }

// sequence is a list, of which the section's reader knows more.
type sequence string

func (w sequence) String() string { return string(w) }

// tables is a table, or a list of tables, of its own schema.
type tables string

func (w tables) String() string { return string(w) }

// names are the keys of a table.
func (t *table) names() []string {
	var all []string
	for _, k := range t.keys {
		all = append(all, k.name)
	}
	return all
}

// key returns the key of a name, or nil.
func (t *table) key(name string) *key {
	for i := range t.keys {
		if t.keys[i].name == name {
			return &t.keys[i]
		}
	}
	return nil
}

// path is the full name of a key.
func (t *table) path(key string) string {
	if t.name == "" {
		return key
	}
	return t.name + "." + key
}

// nearest is the word most like what was written, or "" when none is like it.
func nearest(written string, words []string) string {
	best, at := "", 1+max(1, len(written)/3)
	for _, w := range words {
		if len(w) > 2 && strings.HasPrefix(written, w) || len(written) > 2 && strings.HasPrefix(w, written) {
			return w
		}
		if d := distance(strings.ToLower(written), w); d < at {
			best, at = w, d
		}
	}
	return best
}

// distance is the number of characters to insert, remove, replace or swap with
// the next to make one word of the other.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		older := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			d := before[j]
			if a[i] != b[j] {
				d++
			}
			row[j+1] = min(d, before[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
