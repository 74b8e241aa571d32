package site

// Request is what decides the response. All slices are the caller's, who may use
// them again when the Response has been sent: a redirect's query is part of it.
type Request struct {
	Method []byte
	Host   []byte // as in the Host field or the target, port included; may be empty
	Path   []byte // as sent, without query; "*" for OPTIONS *
	Query  []byte // as sent, without "?"
	fields [fields]field
}

type field struct {
	value []byte
	there bool
}

// Fields that decide the response.
const (
	acceptEncoding = iota
	ifMatch
	ifNoneMatch
	ifModifiedSince
	ifUnmodifiedSince
	ifRange
	rangeField
	fields
)

// Reset prepares q for another request.
func (q *Request) Reset() { *q = Request{} }

// Field takes note of a header field of the request; it is called with each, in
// their order. Names are compared without regard to case. A field that is there
// several times is joined with commas (RFC 9110, section 5.3), which allocates.
func (q *Request) Field(name, value []byte) {
	i := known(name)
	if i < 0 {
		return
	}
	f := &q.fields[i]
	if !f.there {
		*f = field{value, true}
		return
	}
	joined := make([]byte, 0, len(f.value)+2+len(value))
	f.value = append(append(append(joined, f.value...), ", "...), value...)
}

// known returns the place of a field, or -1.
func known(name []byte) int {
	i := -1
	switch len(name) {
	case len("range"):
		i = rangeField
	case len("if-match"): // and if-range
		i = ifMatch
		if name[3]|0x20 == 'r' {
			i = ifRange
		}
	case len("if-none-match"):
		i = ifNoneMatch
	case len("accept-encoding"):
		i = acceptEncoding
	case len("if-modified-since"):
		i = ifModifiedSince
	case len("if-unmodified-since"):
		i = ifUnmodifiedSince
	}
	if i < 0 || !equalFold(name, fieldName(i)) {
		return -1
	}
	return i
}

// fieldName returns the name of a field in lower case.
func fieldName(i int) string {
	switch i {
	case acceptEncoding:
		return "accept-encoding"
	case ifMatch:
		return "if-match"
	case ifNoneMatch:
		return "if-none-match"
	case ifModifiedSince:
		return "if-modified-since"
	case ifUnmodifiedSince:
		return "if-unmodified-since"
	case ifRange:
		return "if-range"
	}
	return "range"
}

// equalFold compares b with a text in lower case, without regard to the case of
// ASCII letters.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Methods (RFC 9110, section 9; RFC 5789).
type method uint8

const (
	unknown method = iota
	get
	head
	options
	refused // known, and none that a static site could serve
)

func methodOf(b []byte) method {
	switch string(b) {
	case "GET":
		return get
	case "HEAD":
		return head
	case "OPTIONS":
		return options
	case "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT":
		return refused
	}
	return unknown
}
