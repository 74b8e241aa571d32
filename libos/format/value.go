package format

import (
	"reflect"
	"strconv"
	"unicode/utf8"
)

const digits = "0123456789abcdef"

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// integer adds a number of which the sign is given apart; t is for a verb that
// does not fit.
func (p *printer) integer(v verb, t reflect.Type, negative bool, n uint64) {
	if v.letter == 'c' || v.letter == 'q' {
		r := rune(utf8.RuneError)
		if !negative && n <= utf8.MaxRune {
			r = rune(n)
		}
		if v.letter == 'c' {
			p.buf = utf8.AppendRune(p.buf, r)
		} else {
			p.buf = strconv.AppendQuoteRune(p.buf, r)
		}
		return
	}
	if negative {
		p.buf = append(p.buf, '-')
	} else if v.plus && v.letter == 'd' {
		p.buf = append(p.buf, '+')
	}
	base := 10
	switch v.letter {
	case 'd', 'v':
	case 'x', 'X':
		base = 16
		if v.sharp {
			p.buf = append(p.buf, '0', byte(v.letter))
		}
	case 'b':
		base = 2
	default:
		p.bad(v, t)
		return
	}
	from := len(p.buf)
	p.buf = strconv.AppendUint(p.buf, n, base)
	if v.letter == 'X' {
		for i := from; i < len(p.buf); i++ {
			if p.buf[i] >= 'a' {
				p.buf[i] -= 'a' - 'A'
			}
		}
	}
}

// string adds text, of which a precision takes the first runes only, or for %x
// the first bytes; t is for a verb that does not fit.
func (p *printer) string(v verb, t reflect.Type, s string) {
	switch v.letter {
	case 'v', 's', 'q':
		s = first(s, v.precision)
		if v.letter == 'q' {
			p.buf = strconv.AppendQuote(p.buf, s)
		} else {
			p.buf = append(p.buf, s...)
		}
	case 'x', 'X':
		if v.precision >= 0 && v.precision < len(s) {
			s = s[:v.precision]
		}
		if v.sharp && s != "" {
			p.buf = append(p.buf, '0', byte(v.letter))
		}
		for i := range len(s) {
			p.nibble(v, s[i]>>4)
			p.nibble(v, s[i]&15)
		}
	default:
		p.bad(v, t)
	}
}

func (p *printer) nibble(v verb, n byte) {
	c := digits[n]
	if v.letter == 'X' && c >= 'a' {
		c -= 'a' - 'A'
	}
	p.buf = append(p.buf, c)
}

// first cuts s to n runes; -1 stands for all.
func first(s string, n int) string {
	if n < 0 {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// bad is for an argument that the verb does not fit, or that is of no type that
// this package knows.
func (p *printer) bad(v verb, t reflect.Type) {
	p.buf = append(p.buf, "%!"+string(v.letter)+"("+typeName(t)+")"...)
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "<nil>"
	}
	return t.String()
}
