// The functions of this package as they are for go vet only, which knows what
// package fmt does with a format and its arguments, and so what these do: make
// lint has it in place of ../print.go. What fmt knows and this package does not,
// tools/archlint finds.

package format

import (
	"fmt"
	"io"
)

func Sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func Errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return fmt.Fprintf(w, format, args...)
}

func Sprint(args ...any) string { return fmt.Sprint(args...) }
