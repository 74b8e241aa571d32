// Package format makes text for errors and the log, as package fmt does, of
// which it knows what the guest uses: the verbs %d %s %q %v %w %x %X %c %b %t
// %T and %%, the flags # + 0 and -, a width and a precision, for integers,
// booleans, strings, bytes, errors, Stringers, and slices of numbers and
// strings. For these the text is fmt's, with one exception: %+v and %#v are %v.
// Anything else becomes %!verb(type).
//
// fmt prints everything, so whatever it needs for that is in the image: floating
// point, maps, calls by reflection. The network stack is built with this package
// as well (libos/netif/trim).
package format

import (
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Stringer is a value that knows its text.
type Stringer interface{ String() string }

type wrapped struct {
	text string
	err  error
}

func (e *wrapped) Error() string { return e.text }
func (e *wrapped) Unwrap() error { return e.err }

type joined struct {
	text string
	errs []error
}

func (e *joined) Error() string   { return e.text }
func (e *joined) Unwrap() []error { return e.errs }

// verb is one % of a format.
type verb struct {
	letter             rune
	sharp, zero, minus bool
	plus               bool
	width, precision   int // precision is -1 if there is none
}

// printer collects text.
type printer struct {
	buf     []byte
	wrapped []error
}

func (p *printer) format(format string, args []any) {
	next := 0
	for i := 0; i < len(format); {
		if format[i] != '%' {
			p.buf = append(p.buf, format[i])
			i++
			continue
		}
		v, n := parse(format[i:])
		i += n
		switch {
		case v.letter == '%':
			p.buf = append(p.buf, '%')
		case v.letter == 0:
			p.buf = append(p.buf, "%!(NOVERB)"...)
		case next >= len(args):
			p.buf = append(p.buf, "%!"+string(v.letter)+"(MISSING)"...)
		default:
			p.arg(v, args[next])
			next++
		}
	}
	if next < len(args) {
		p.buf = append(p.buf, "%!(EXTRA "+strconv.Itoa(len(args)-next)+")"...)
	}
}

// parse reads a verb and says how many bytes it has.
func parse(s string) (verb, int) {
	v := verb{precision: -1}
	i := 1
flags:
	for ; i < len(s); i++ {
		switch s[i] {
		case '#':
			v.sharp = true
		case '+':
			v.plus = true
		case '0':
			v.zero = true
		case '-':
			v.minus = true
		default:
			break flags
		}
	}
	number := func() (n int) {
		for ; i < len(s) && s[i] >= '0' && s[i] <= '9' && n < 1000; i++ {
			n = n*10 + int(s[i]-'0')
		}
		return n
	}
	v.width = number()
	if i < len(s) && s[i] == '.' {
		i++
		v.precision = number()
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if n > 0 {
		v.letter = r
	}
	return v, i + n
}

// arg adds one argument, padded to the verb's width.
func (p *printer) arg(v verb, a any) {
	from := len(p.buf)
	switch v.letter {
	case 'T':
		p.buf = append(p.buf, typeName(reflect.TypeOf(a))...)
	case 'w':
		if err, ok := a.(error); ok {
			p.wrapped = append(p.wrapped, err)
		}
		v.letter = 'v'
		fallthrough
	default:
		p.value(v, a)
	}
	if missing := v.width - utf8.RuneCount(p.buf[from:]); missing > 0 {
		p.pad(v, from, missing)
	}
}

// pad widens what stands from from on by n.
func (p *printer) pad(v verb, from, n int) {
	text := string(p.buf[from:])
	p.buf = p.buf[:from]
	fill, sign := byte(' '), ""
	if v.zero && !v.minus {
		fill = '0'
		if text != "" && (text[0] == '-' || text[0] == '+') {
			sign, text = text[:1], text[1:]
		}
	}
	if v.minus {
		p.buf = append(p.buf, text...)
	}
	p.buf = append(p.buf, sign...)
	for range n {
		p.buf = append(p.buf, fill)
	}
	if !v.minus {
		p.buf = append(p.buf, text...)
	}
}

// value adds the text of a.
func (p *printer) value(v verb, a any) {
	switch v.letter {
	case 'v', 's', 'q', 'x', 'X':
		if s, ok := text(a); ok {
			p.string(v, nil, s)
			return
		}
	}
	if b, ok := a.([]byte); ok && v.letter != 'v' && v.letter != 'd' {
		p.string(v, reflect.TypeOf(a), string(b))
		return
	}
	if a == nil && v.letter == 'v' {
		p.buf = append(p.buf, "<nil>"...)
		return
	}
	p.reflected(v, reflect.ValueOf(a))
}

// text asks an error or a Stringer for its text. One that panics, as methods of
// a nil pointer do, must not take the caller down with it.
func text(a any) (s string, ok bool) {
	defer func() {
		if recover() != nil {
			s, ok = "<nil>", true
			if r := reflect.ValueOf(a); r.Kind() != reflect.Pointer || !r.IsNil() {
				s = "%!(PANIC " + typeName(r.Type()) + ")"
			}
		}
	}()
	switch a := a.(type) {
	case error:
		return a.Error(), true
	case Stringer:
		return a.String(), true
	}
	return "", false
}

// reflected adds what has a type of its own by the type beneath it. It takes
// nothing out of a reflect.Value as an interface: with that would come calls of
// methods by reflection.
func (p *printer) reflected(v verb, r reflect.Value) {
	switch r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.integer(v, r.Type(), r.Int() < 0, magnitude(r.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.integer(v, r.Type(), false, r.Uint())
	case reflect.String:
		p.string(v, r.Type(), r.String())
	case reflect.Bool:
		if v.letter != 'v' && v.letter != 't' {
			p.bad(v, r.Type())
			return
		}
		p.buf = strconv.AppendBool(p.buf, r.Bool())
	case reflect.Invalid:
		p.bad(v, nil)
	case reflect.Slice, reflect.Array:
		p.buf = append(p.buf, '[')
		for i := range r.Len() {
			if i > 0 {
				p.buf = append(p.buf, ' ')
			}
			p.reflected(v, r.Index(i))
		}
		p.buf = append(p.buf, ']')
	default:
		p.bad(v, r.Type())
	}
}
