package site

import "strconv"

const (
	// MaxRanges is how many ranges a response has at most. Whoever asks for more gets
	// the whole representation (RFC 9110, section 14.2, lets a server do so).
	MaxRanges = 16
	// maxSpecs is how many ranges are read at most, those included that become one
	// with others.
	maxSpecs = 64
	// maxGap is what may lie between two ranges that become one: less than a part of
	// its own would cost (section 15.3.7.2).
	maxGap = 80
)

// span is the octets from first up to, not including, end.
type span struct{ first, end int64 }

// rangeVerdict is what becomes of a Range field.
type rangeVerdict uint8

const (
	ignoreRange rangeVerdict = iota
	partial
	unsatisfiable
)

// ranges responds to a Range field, and says whether it did.
func (t Table) ranges(host int, res resource, v variant, value []byte, q *Request, tail []byte, r *Response) bool {
	var spans [MaxRanges]span
	n, verdict := parseRanges(value, int64(t.size(v)), &spans)
	switch verdict {
	case ignoreRange:
		return false
	case unsatisfiable:
		size := t.size(v)
		page := t.failHead(host, 416, q, r)
		b := strconv.AppendInt(append(r.small[:0], "Content-Range: bytes */"...), int64(size), 10)
		r.addBytes(append(b, "\r\n"...))
		r.addBytes(tail)
		r.addBody(get, t.body(page))
		return true
	}
	r.start(206)
	r.Coding = t.coding(v)
	r.add(partialLine)
	if n > 1 {
		t.several(res, v, spans[:n], tail, r)
		return true
	}
	s := spans[0]
	b := appendRange(r.small[:0], s, t.size(v))
	r.add(t.part(v, atType, atEnd))
	r.add(t.shared(res))
	r.addBytes(appendLength(b, s.end-s.first))
	r.addBytes(tail)
	r.addBody(get, t.body(v)[s.first:s.end])
	return true
}

// several responds with several ranges: multipart/byteranges (section 14.6). The
// boundary is in no body of the table.
func (t Table) several(res resource, v variant, spans []span, tail []byte, r *Response) {
	at := t.u32(28)
	boundary := t[at : at+t.u16(32)]
	typeLine := t.part(v, atType, atFields)
	if need := (len(boundary) + len(typeLine) + 128) * (len(spans) + 2); cap(r.large) < need {
		r.large = make([]byte, 0, need)
	}
	b := r.large[:0]
	// The heads of the parts come first, since their length is in the head of all.
	var ends [MaxRanges]int
	length := int64(0)
	for i, s := range spans {
		b = append(append(append(b, "\r\n--"...), boundary...), "\r\n"...)
		b = appendRange(append(b, typeLine...), s, t.size(v))
		b = append(b, "\r\n"...)
		ends[i] = len(b)
		length += s.end - s.first
	}
	b = append(append(append(b, "\r\n--"...), boundary...), "--\r\n"...)
	parts := len(b)
	length += int64(parts)
	b = append(append(append(b, "Content-Type: multipart/byteranges; boundary="...), boundary...), "\r\n"...)
	b = appendLength(b, length)
	r.large = b

	r.add(t.part(v, atFields, atEnd))
	r.add(t.shared(res))
	r.addBytes(b[parts:])
	r.addBytes(tail)
	from := 0
	for i, s := range spans {
		r.addBytes(b[from:ends[i]])
		r.add(t.body(v)[s.first:s.end])
		from = ends[i]
	}
	r.addBytes(b[from:parts])
	r.Body = length
}

func appendRange(b []byte, s span, size int) []byte {
	b = strconv.AppendInt(append(b, "Content-Range: bytes "...), s.first, 10)
	b = strconv.AppendInt(append(b, '-'), s.end-1, 10)
	return append(strconv.AppendInt(append(b, '/'), int64(size), 10), "\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), n, 10), "\r\n"...)
}

// parseRanges reads a Range field for a representation of size octets, not 0, and
// returns the ranges that there are of it, in the order in which they are asked for.
// Those that overlap or lie close together become one, in the place of the first. A
// field that is malformed is not satisfiable.
func parseRanges(value []byte, size int64, spans *[MaxRanges]span) (n int, v rangeVerdict) {
	const unit = "bytes="
	if len(value) < len(unit) || !equalFold(value[:len(unit)], unit) {
		return 0, ignoreRange
	}
	specs := 0
	for list := value[len(unit):]; list != nil; {
		item := list
		if i := indexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if item = trim(item); len(item) == 0 {
			continue // an empty element of a list (section 5.6.1.2)
		}
		s, ok := parseSpan(item, size)
		if !ok {
			return 0, unsatisfiable
		}
		if specs++; specs > maxSpecs {
			return 0, ignoreRange
		}
		if s.first >= s.end {
			continue
		}
		if n, ok = join(spans, n, s); !ok {
			return 0, ignoreRange
		}
	}
	if n == 0 {
		return 0, unsatisfiable
	}
	return n, partial
}

// join adds a range to the n there are, and returns how many there are then; ok is
// false when there is no room.
func join(spans *[MaxRanges]span, n int, s span) (count int, ok bool) {
	at := n
	for i := 0; i < n; {
		o := spans[i]
		if s.first > o.end+maxGap || o.first > s.end+maxGap {
			i++
			continue
		}
		// Having grown, it may touch those that it was apart from: from the start.
		s = span{min(s.first, o.first), max(s.end, o.end)}
		copy(spans[i:n], spans[i+1:n])
		n, at, i = n-1, min(at, i), 0
	}
	if n == len(spans) {
		return n, false
	}
	copy(spans[at+1:n+1], spans[at:n])
	spans[at] = s
	return n + 1, true
}

// parseSpan reads one range (RFC 9110, section 14.1.2). One that there is nothing of
// is empty; ok is false when it is malformed.
func parseSpan(b []byte, size int64) (s span, ok bool) {
	first, rest, from := decimal(b)
	if len(rest) == 0 || rest[0] != '-' {
		return span{}, false
	}
	last, rest, to := decimal(rest[1:])
	switch {
	case len(rest) > 0 || !from && !to || from && to && last < first:
		return span{}, false
	case !from:
		return span{size - min(last, size), size}, true
	case !to:
		return span{first, size}, true
	}
	return span{first, min(last, size-1) + 1}, true
}

// most is what a larger number is taken for: no table has as many octets.
const most = 1 << 40

// decimal reads the digits that b begins with; ok is false when there are none.
func decimal(b []byte) (n int64, rest []byte, ok bool) {
	for len(b) > 0 && '0' <= b[0] && b[0] <= '9' {
		n, b, ok = min(n*10+int64(b[0]-'0'), most), b[1:], true
	}
	return n, b, ok
}
