package format

import (
	"errors"
	"io"
)

// Sprintf formats args as format says.
func Sprintf(format string, args ...any) string {
	var p printer
	p.format(format, args)
	return string(p.buf)
}

// Errorf is an error with the text that Sprintf would give. Each %w takes an
// error, which errors.Is and errors.As find.
func Errorf(format string, args ...any) error {
	var p printer
	p.format(format, args)
	switch text := string(p.buf); len(p.wrapped) {
	case 0:
		return errors.New(text)
	case 1:
		return &wrapped{text, p.wrapped[0]}
	default:
		return &joined{text, p.wrapped}
	}
}

// Fprintf writes to w what Sprintf gives.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	var p printer
	p.format(format, args)
	return w.Write(p.buf)
}

// Sprint is the text of args, with a space between two that are no strings.
func Sprint(args ...any) string {
	var p printer
	word := true
	for i, a := range args {
		_, s := a.(string)
		if i > 0 && !s && !word {
			p.buf = append(p.buf, ' ')
		}
		p.value(verb{letter: 'v', precision: -1}, a)
		word = s
	}
	return string(p.buf)
}
