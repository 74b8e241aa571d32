package site

// Classes of octets in a path.
const (
	classPlain = iota
	classSlash
	classPercent
	classBad // neither in a path nor tolerated there
)

// classes says what an octet in a path as sent is. Octets above 0x7f are no part of
// RFC 3986's grammar, but sent by some clients and unambiguous.
var classes = [256]byte{
	0x00: classBad, 0x01: classBad, 0x02: classBad, 0x03: classBad, 0x04: classBad, 0x05: classBad,
	0x06: classBad, 0x07: classBad, 0x08: classBad, 0x09: classBad, 0x0a: classBad, 0x0b: classBad,
	0x0c: classBad, 0x0d: classBad, 0x0e: classBad, 0x0f: classBad, 0x10: classBad, 0x11: classBad,
	0x12: classBad, 0x13: classBad, 0x14: classBad, 0x15: classBad, 0x16: classBad, 0x17: classBad,
	0x18: classBad, 0x19: classBad, 0x1a: classBad, 0x1b: classBad, 0x1c: classBad, 0x1d: classBad,
	0x1e: classBad, 0x1f: classBad, 0x20: classBad,
	'#': classBad, '?': classBad, 0x7f: classBad,
	'/': classSlash, '%': classPercent,
}

// find returns the resource of a path as sent; ok is false when it is no path.
func (t Table) find(host int, path []byte) (r resource, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return 0, false
	}
	before := byte(classPlain)
	for _, c := range path {
		k := classes[c]
		if k > classSlash || before == classSlash && (k == classSlash || c == '.') {
			return t.findOdd(host, path)
		}
		before = k
	}
	return t.lookup(host, path), true
}

// maxOdd is what findOdd has room for: as much as the target of a request may have, so
// that it is no matter how long a path is before dot segments are taken out of it.
const maxOdd = 2 * MaxPath

// findOdd is find for a path that is not normal.
func (t Table) findOdd(host int, path []byte) (r resource, ok bool) {
	var b [maxOdd]byte
	n, ok := normalize(b[:], path)
	if !ok || n < 0 {
		return 0, ok
	}
	return t.lookup(host, b[:n]), true
}

// normalize decodes a path (RFC 3986, section 2.1), takes dot segments out of it
// (section 5.2.4) and makes one slash of several, as file systems do, and writes the
// result to b. It is done in that order, so that what an encoded dot or slash stands
// for is never left to somebody behind. n is -1 when the result is too long for b.
// ok is false for what is no path: an escape that is none or stands for a zero, an
// octet that must be escaped, a step above the root.
func normalize(b, path []byte) (n int, ok bool) {
	b[0] = '/'
	n, start := 1, 1 // start: of the segment
	for i := 1; i < len(path); i++ {
		c := path[i]
		switch classes[c] {
		case classBad:
			return 0, false
		case classPercent:
			if i+2 >= len(path) {
				return 0, false
			}
			high, low := unhex(path[i+1]), unhex(path[i+2])
			if high|low > 15 || high|low == 0 {
				return 0, false
			}
			c, i = high<<4|low, i+2
		}
		if c != '/' {
			if n == len(b) {
				return -1, true
			}
			b[n] = c
			n++
			continue
		}
		if n, ok = endSegment(b, start, n); !ok {
			return 0, false
		}
		if b[n-1] != '/' {
			if n == len(b) {
				return -1, true
			}
			b[n] = '/'
			n++
		}
		start = n
	}
	return endSegment(b, start, n)
}

// endSegment takes a segment b[start:n] away when it is a dot segment, and the one
// before it when there are two dots.
func endSegment(b []byte, start, n int) (int, bool) {
	switch string(b[start:n]) {
	case ".":
		return start, true
	case "..":
		if start == 1 {
			return 0, false
		}
		for start--; b[start-1] != '/'; start-- {
		}
		return start, true
	}
	return n, true
}

// unhex returns the value of a hexadecimal digit; of others more than 15.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}
