package format

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type (
	number int16
	word   string
	state  uint8
)

func (s state) String() string { return "state" + string(rune('a'+s)) }

type pointed struct{ n int }

func (p *pointed) String() string { return fmt.Sprint("pointed ", p.n) }

type angry struct{}

func (angry) Error() string { panic("no") }

// What package fmt would print is printed.
func TestAsFmt(t *testing.T) {
	err := errors.New("broken")
	addr := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		format string
		args   []any
	}{
		{"", nil}, {"plain", nil}, {"100%%", nil}, {"é%s☃", []any{"ü"}},
		{"%d %d %d %d", []any{0, -7, uint64(1<<64 - 1), int64(-1 << 63)}},
		{"%d %d %d %d %d", []any{int8(-128), uint8(255), number(-3), uintptr(9), int32(4)}},
		{"%+d %+d %5d|%-5d|%05d|%05d", []any{3, -3, 42, 42, 42, -42}},
		{"%x %X %#x %#X %02x %04x", []any{255, 255, 255, 255, 7, uint16(0xbeef)}},
		{"%b %c %q", []any{5, 'é', 'x'}},
		{"%s|%10s|%-10s|%.3s|%.0s", []any{"abc", "é", "é", "äöüß", "x"}},
		{"%q %.16q %.2q", []any{"a\n\"", "short", "ä\x00ö"}},
		{"%x %X %#x %x %.2x", []any{"hi", "hi", "hi", []byte{0, 255}, "four"}},
		{"%s %q %v %d", []any{[]byte("by"), []byte("te"), []byte{1, 2}, []byte{3}}},
		{"%v %v %v %v", []any{1, "s", true, nil}},
		{"%t %t", []any{true, false}},
		{"%v %s %q", []any{err, err, err}},
		{"%v %s %x", []any{addr, netip.PrefixFrom(addr, 24), state(2)}},
		{"%v %d %s", []any{state(1), state(1), 90 * time.Second}},
		{"%v %v", []any{(*pointed)(nil), &pointed{3}}},
		{"%v %d %v %v", []any{[]int{1, 2}, []number{-1}, []string{"a", "b"}, [2]bool{true}}},
		{"%s %v", []any{word("w"), word("v")}},
		{"%T %T %T %T", []any{1, err, nil, addr}},
		{"%v %s", []any{io.EOF, fmt.Errorf("x: %w", io.EOF)}},
	} {
		got, want := Sprintf(c.format, c.args...), fmt.Sprintf(c.format, c.args...)
		if got != want {
			t.Errorf("%q: %q, fmt: %q", c.format, got, want)
		}
		var b strings.Builder
		if n, err := Fprintf(&b, c.format, c.args...); n != len(want) || err != nil || b.String() != want {
			t.Errorf("Fprintf %q: %q, %d, %v", c.format, b.String(), n, err)
		}
	}
	for _, args := range [][]any{nil, {"net", 0}, {1, 2}, {"a", "b"}, {1, "b", 2, 3}, {err, addr}} {
		if got, want := Sprint(args...), fmt.Sprint(args...); got != want {
			t.Errorf("%q, fmt: %q", got, want)
		}
	}
}

// What this package does not know, or a caller got wrong, is seen in the text.
func TestBad(t *testing.T) {
	for _, c := range []struct {
		format string
		args   []any
		want   string
	}{
		{"%d", []any{"x"}, "%!d(string)"},
		{"%s", []any{3}, "%!s(int)"},
		{"%t", []any{nil}, "%!t(<nil>)"},
		{"%d", []any{true}, "%!d(bool)"},
		{"%v", []any{struct{}{}}, "%!v(struct {})"},
		{"%v", []any{1.5}, "%!v(float64)"},
		{"%v", []any{map[int]int{}}, "%!v(map[int]int)"},
		{"%y", []any{1}, "%!y(int)"},
		{"%d", nil, "%!d(MISSING)"},
		{"%d", []any{1, 2, 3}, "1%!(EXTRA 2)"},
		{"%", nil, "%!(NOVERB)"},
		{"%5.", nil, "%!(NOVERB)"},
		{"%v", []any{angry{}}, "%!(PANIC format.angry)"},
	} {
		if got := Sprintf(c.format, c.args...); got != c.want {
			t.Errorf("%q: %q, want %q", c.format, got, c.want)
		}
	}
}

// Errors that were wrapped are found again.
func TestErrorf(t *testing.T) {
	a, b := errors.New("a"), &wrapped{"b", io.EOF}
	one := Errorf("one: %w", a)
	if one.Error() != "one: a" || !errors.Is(one, a) || errors.Unwrap(one) != a {
		t.Errorf("%v wraps %v", one, errors.Unwrap(one))
	}
	two := Errorf("%w and %w", a, b)
	var as *wrapped
	if two.Error() != "a and b" || !errors.Is(two, a) || !errors.Is(two, io.EOF) || !errors.As(two, &as) {
		t.Errorf("%v", two)
	}
	none := Errorf("%v", a)
	if errors.Is(none, a) {
		t.Errorf("%v wraps what was given to %%v", none)
	}
	if odd := Errorf("%w", nil); odd.Error() != "<nil>" || errors.Unwrap(odd) != nil {
		t.Errorf("%v", odd)
	}
}

// FuzzSprintf: no format makes it panic, and for strings and numbers it is
// fmt's wherever fmt has nothing to complain about.
func FuzzSprintf(f *testing.F) {
	for _, s := range []string{"%d %s", "%5d|%-8q", "%x%%%X", "%.3s %+d", "%", "%9999999999d", "%-05d %5.1q"} {
		f.Add(s, "text", 7)
	}
	f.Fuzz(func(t *testing.T, format, s string, n int) {
		if len(format) > 100 || strings.ContainsAny(format, "*[ ") || strings.Count(format, "%") > 2 {
			return
		}
		for _, args := range [][]any{{s, n}, {n, s}} {
			got, want := Sprintf(format, args...), fmt.Sprintf(format, args...)
			known := !strings.ContainsAny(format, "UoOeEfFgGp+#0.") && !strings.Contains(want, "%!")
			if known && got != want {
				t.Errorf("%q of %v: %q, fmt: %q", format, args, got, want)
			}
		}
	})
}
