package mgmt

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// object writes JSON (RFC 8259) in the order in which it is told, without
// reflection. The zero value is ready; its methods return it, so that calls can be
// chained.
type object struct {
	b     []byte
	comma bool
}

func (o *object) key(name string) {
	o.next()
	o.b = append(appendString(o.b, name), ':')
	o.comma = false
}

// next puts a comma where one belongs.
func (o *object) next() {
	if o.comma {
		o.b = append(o.b, ',')
	}
	o.comma = true
}

// open and close are for objects and lists: {}, [].
func (o *object) open(c byte) {
	o.next()
	o.b, o.comma = append(o.b, c), false
}

func (o *object) close(c byte) { o.b, o.comma = append(o.b, c), true }

func (o *object) text(name, value string) {
	o.key(name)
	o.item(value)
}

// item is a string in a list.
func (o *object) item(value string) {
	o.next()
	o.b = appendString(o.b, value)
}

func (o *object) number(name string, n uint64) {
	o.key(name)
	o.next()
	o.b = strconv.AppendUint(o.b, n, 10)
}

func (o *object) flag(name string, v bool) {
	o.key(name)
	o.next()
	o.b = strconv.AppendBool(o.b, v)
}

func (o *object) time(name string, t time.Time) { o.text(name, t.UTC().Format(time.RFC3339)) }

// appendString appends a string in quotes. What is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
