// Package metrics writes counters as text for Prometheus (its text exposition
// format, version 0.0.4).
//
// There is no registry: whoever counts keeps its own words, counts by adding to
// them, and is asked for them by calling its Collector when somebody wants to know.
// So counting costs an addition, and a metric that nobody asks for costs nothing.
package metrics

import (
	"math/bits"
	"strconv"
)

// Collector writes what its owner has counted. It may be called by any goroutine,
// one call at a time, and must not block for long.
type Collector func(*Writer)

// Kind is the kind of a family of metrics.
type Kind string

const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Label is a name with a value. Names are from [a-zA-Z_][a-zA-Z0-9_]*.
type Label struct{ Name, Value string }

// Type is the media type of the text.
const Type = "text/plain; version=0.0.4; charset=utf-8"

// Writer puts the text together. All values of a family are written in a row,
// behind its Family. The zero value is ready.
type Writer struct {
	buf  []byte
	name string
}

// Bytes is the text so far.
func (w *Writer) Bytes() []byte { return w.buf }

// Family begins a family of metrics. help is one sentence.
func (w *Writer) Family(name string, kind Kind, help string) {
	w.name = name
	w.buf = append(append(append(w.buf, "# HELP "...), name...), ' ')
	w.buf = escape(w.buf, help, false)
	w.buf = append(append(append(w.buf, "\n# TYPE "...), name...), ' ')
	w.buf = append(append(w.buf, kind...), '\n')
}

// Value writes a value of the family.
func (w *Writer) Value(v uint64, labels ...Label) {
	w.line("", labels, "", strconv.AppendUint(nil, v, 10))
}

// Signed is Value for a number that may be negative.
func (w *Writer) Signed(v int64, labels ...Label) {
	w.line("", labels, "", strconv.AppendInt(nil, v, 10))
}

// Seconds writes a time given in nanoseconds.
func (w *Writer) Seconds(ns int64, labels ...Label) {
	w.line("", labels, "", seconds(nil, ns))
}

// Bool writes 1 or 0.
func (w *Writer) Bool(v bool, labels ...Label) {
	n := uint64(0)
	if v {
		n = 1
	}
	w.Value(n, labels...)
}

// One is a family of one value.
func (w *Writer) One(name string, kind Kind, help string, v uint64, labels ...Label) {
	w.Family(name, kind, help)
	w.Value(v, labels...)
}

// Sizes counts sizes in bytes, by powers of two.
type Sizes struct {
	N   [18]uint64 // by bits.Len: N[i] has sizes below 2^i that N[i-1] has not; the last has all from 65536 on
	Sum uint64
}

// Add counts a size.
func (s *Sizes) Add(size int) {
	s.AddMany(size, 1)
	s.Sum += uint64(size)
}

// AddMany counts n sizes of one bucket, without their sum.
func (s *Sizes) AddMany(size int, n uint64) { s.N[min(uint(bits.Len(uint(size))), 17)] += n }

// Sizes writes a histogram of the family, with the bounds 63, 127 and so on up to
// 65535.
func (w *Writer) Sizes(s *Sizes, labels ...Label) {
	total := uint64(0)
	for i, n := range s.N[:17] {
		if total += n; i >= 6 {
			w.line("_bucket", labels, strconv.Itoa(1<<i-1), strconv.AppendUint(nil, total, 10))
		}
	}
	w.finish(total+s.N[17], strconv.AppendUint(nil, s.Sum, 10), labels)
}

// Times counts times by powers of two of 1024 ns, up to 8.6 s.
type Times struct {
	N   [25]uint64
	Sum int64 // ns
}

// Add counts a time in nanoseconds.
func (t *Times) Add(ns int64) {
	ns = max(ns, 0)
	t.N[min(uint(bits.Len64(uint64(ns)>>10)), 24)]++
	t.Sum += ns
}

// Times writes a histogram of the family in seconds: every second of the bounds is
// written.
func (w *Writer) Times(t *Times, labels ...Label) {
	total := uint64(0)
	for i, n := range t.N[:24] {
		if total += n; i%2 == 1 {
			w.line("_bucket", labels, string(seconds(nil, 1024<<i)), strconv.AppendUint(nil, total, 10))
		}
	}
	w.finish(total+t.N[24], seconds(nil, t.Sum), labels)
}

// finish writes the last lines of a histogram.
func (w *Writer) finish(total uint64, sum []byte, labels []Label) {
	n := strconv.AppendUint(nil, total, 10)
	w.line("_bucket", labels, "+Inf", n)
	w.line("_sum", labels, "", sum)
	w.line("_count", labels, "", n)
}

// line writes one line. le is the bound of a bucket, or empty.
func (w *Writer) line(suffix string, labels []Label, le string, value []byte) {
	b := append(append(w.buf, w.name...), suffix...)
	if le != "" {
		labels = append(labels[:len(labels):len(labels)], Label{"le", le})
	}
	for i, l := range labels {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b = append(append(append(b, sep), l.Name...), `="`...)
		b = append(escape(b, l.Value, true), '"')
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	w.buf = append(append(append(b, ' '), value...), '\n')
}

// seconds appends a time in ns as seconds, to the digit.
func seconds(b []byte, ns int64) []byte {
	n := uint64(ns)
	if ns < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendUint(b, n/1e9, 10)
	if n %= 1e9; n == 0 {
		return b
	}
	b = append(b, '.')
	for digit := uint64(1e8); n > 0; digit /= 10 {
		b = append(b, byte('0'+n/digit))
		n %= digit
	}
	return b
}

// escape appends text as the format wants it.
func escape(b []byte, s string, quotes bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '"' && quotes:
			b = append(b, `\"`...)
		default:
			b = append(b, c)
		}
	}
	return b
}
