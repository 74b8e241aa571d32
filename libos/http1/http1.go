// Package http1 reads requests of HTTP/1.1 and writes responses to them (RFC 9112,
// RFC 9110): for the management plane, and for whatever else speaks HTTP.
//
// The parser is strict. Where RFC 9112 lets a recipient choose between refusing and
// guessing, it refuses, since a guess that somebody on the way makes differently is
// how requests are smuggled: lines end in CR LF, there is no space before a colon,
// no folded line, at most one Content-Length, never one beside Transfer-Encoding,
// and no coding but chunked. It does not allocate: a Request points into the
// caller's buffer.
package http1

import "bytes"

// MaxFields is how many header fields a request may have.
const MaxFields = 64

// maxTarget is the longest request target in bytes, and maxMethod the longest
// method.
const (
	maxTarget = 2048
	maxMethod = 32
)

// Error is why a request is refused. After it the connection must be closed: where
// the next request begins is not known.
type Error struct {
	Status int    // of the response
	Reason string // a sentence for people
}

func (e *Error) Error() string { return e.Reason }

// What Parse and Chunks refuse.
var (
	ErrLine     = &Error{400, "The request line is malformed."}
	ErrEnd      = &Error{400, "A line does not end in CR LF."}
	ErrTarget   = &Error{400, "The request target is malformed."}
	ErrLong     = &Error{414, "The request target is too long."}
	ErrVersion  = &Error{505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."}
	ErrField    = &Error{400, "A header field is malformed."}
	ErrFields   = &Error{431, "There are too many header fields."}
	ErrHead     = &Error{431, "The head of the request is too long."}
	ErrHost     = &Error{400, "There must be one Host field with a host."}
	ErrLength   = &Error{400, "The length of the body is malformed or told twice."}
	ErrCoding   = &Error{501, "The only transfer coding is chunked."}
	ErrChunk    = &Error{400, "The chunked body is malformed."}
	ErrExpect   = &Error{417, "The only expectation is 100-continue."}
	ErrTunnel   = &Error{501, "There are no tunnels here."}
	ErrTooLarge = &Error{413, "The body is too large."}
	ErrTimeout  = &Error{408, "The request took too long."}
)

// Field is a header field: its name as sent, and its value without blanks around.
type Field struct{ Name, Value []byte }

// Request is the head of a request. All slices are parts of the buffer given to
// Parse.
type Request struct {
	Method []byte
	Path   []byte // begins with "/", as sent; "*" for OPTIONS *
	Query  []byte // behind "?", without it
	Host   []byte // of the target where it has one, else of the Host field
	Minor  int    // of the version: 1, or 0 for HTTP/1.0
	Length int64  // of the body in bytes; Chunked
	Close  bool   // the connection ends with the response
	Expect bool   // the client waits for 100 (Continue)

	fields [MaxFields]Field
	count  int
	seen   int // how much of the buffer has no end of the head
}

// Chunked is the Length of a body that says itself where it ends.
const Chunked = -1

// Reset prepares for another request. It must be called before Parse is given
// another buffer, or the rest of one behind a request.
func (r *Request) Reset() { r.seen = 0 }

// Seen is how much of a buffer without a whole head Parse has looked at, and Resume is
// Reset for a buffer that begins with as much: who has many connections need not keep a
// Request for each.
func (r *Request) Seen() int { return r.seen }

// Resume is told what Seen said.
func (r *Request) Resume(seen int) { r.seen = seen }

// Fields are the header fields in their order.
func (r *Request) Fields() []Field { return r.fields[:r.count] }

// Get returns the value of the first field of a name, which is given in lower
// case, and whether there is one.
func (r *Request) Get(name string) ([]byte, bool) {
	for _, f := range r.Fields() {
		if Equal(f.Name, name) {
			return f.Value, true
		}
	}
	return nil, false
}

// Once is Get for a field that must not be there twice; more is an error.
func (r *Request) Once(name string) (value []byte, ok bool, err error) {
	for _, f := range r.Fields() {
		if Equal(f.Name, name) {
			if ok {
				return nil, false, ErrField
			}
			value, ok = f.Value, true
		}
	}
	return value, ok, nil
}

// Parse reads the head of a request at the start of b and returns how many bytes
// it has; 0 without an error says that more of it has to come, and Parse is then
// called with a longer b. Which head is too long is the caller's to say: it has the
// buffer. An error is one of those above.
func (r *Request) Parse(b []byte) (int, error) {
	if r.seen == 0 {
		if n := r.fast(b); n > 0 {
			return n, nil
		}
	}
	return r.full(b)
}

// full is Parse for heads of any form.
func (r *Request) full(b []byte) (int, error) {
	start := 0
	if bytes.HasPrefix(b, crlf) {
		start = 2 // section 2.2: one empty line before the request is ignored
	}
	from := max(start, r.seen-3)
	i := bytes.Index(b[min(from, len(b)):], []byte("\r\n\r\n"))
	if i < 0 {
		r.seen = len(b)
		return 0, early(b[start:])
	}
	end := from + i + 4
	r.clear()
	return end, r.head(b[start : end-2])
}

// clear forgets all but the fields, of which none counts.
func (r *Request) clear() {
	r.Method, r.Path, r.Query, r.Host = nil, nil, nil, nil
	r.Minor, r.Length, r.count, r.seen = 0, 0, 0, 0
	r.Close, r.Expect = false, false
}

var crlf = []byte("\r\n")

// early refuses what can't become a request, before its end has come: anything
// that is not text.
func early(b []byte) error {
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') || c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == 0x7f {
			return ErrEnd
		}
	}
	return nil
}

// head reads a head with the CR LF of its last line, but not the empty line.
func (r *Request) head(b []byte) error {
	line, b, err := cut(b)
	if err != nil {
		return err
	}
	if err := r.requestLine(line); err != nil {
		return err
	}
	for len(b) > 0 {
		if line, b, err = cut(b); err != nil {
			return err
		}
		if r.count == MaxFields {
			return ErrFields
		}
		if r.fields[r.count], err = field(line); err != nil {
			return err
		}
		r.count++
	}
	return r.mean()
}

// cut takes a line off b. A line feed or carriage return alone is no end, and not
// allowed within (section 2.2).
func cut(b []byte) (line, rest []byte, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0 {
		return nil, nil, ErrEnd
	}
	return b[:i-1], b[i+1:], nil
}

// requestLine reads method, target and version (section 3).
func (r *Request) requestLine(line []byte) error {
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i < 1 || j <= i+1 || i > maxMethod || !token(line[:i]) {
		return ErrLine
	}
	r.Method = line[:i]
	target, version := line[i+1:j], line[j+1:]
	switch {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
	case len(version) == 8 && string(version[:5]) == "HTTP/" && digit(version[5]) && version[6] == '.' && digit(version[7]):
		return ErrVersion
	default:
		return ErrLine
	}
	if len(target) > maxTarget {
		return ErrLong
	}
	return r.target(target)
}

// target reads the request target (section 3.2).
func (r *Request) target(t []byte) error {
	for _, c := range t {
		if c <= ' ' || c >= 0x7f || c == '#' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '{' || c == '|' || c == '}' {
			return ErrTarget
		}
	}
	switch {
	case string(r.Method) == "CONNECT":
		return ErrTunnel
	case len(t) == 1 && t[0] == '*' && string(r.Method) == "OPTIONS":
		r.Path = t
		return nil
	case t[0] != '/':
		if r.Host = authority(t); r.Host == nil {
			return ErrTarget
		}
		if t = t[bytes.Index(t, []byte("://"))+3+len(r.Host):]; len(t) == 0 || t[0] != '/' {
			if len(t) > 0 && t[0] != '?' {
				return ErrTarget
			}
			r.Path = slash
			if len(t) > 0 {
				r.Query = t[1:]
			}
			return nil
		}
	}
	r.Path = t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		r.Path, r.Query = t[:i], t[i+1:]
	}
	return nil
}

var slash = []byte("/")

// authority is that of a target in absolute form (section 3.2.2), or nil.
func authority(t []byte) []byte {
	var rest []byte
	switch {
	case len(t) > 7 && Equal(t[:7], "http://"):
		rest = t[7:]
	case len(t) > 8 && Equal(t[:8], "https://"):
		rest = t[8:]
	default:
		return nil
	}
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	if !host(rest) || len(rest) == 0 {
		return nil
	}
	return rest
}

// field reads a header field (section 5).
func field(line []byte) (f Field, err error) {
	i := bytes.IndexByte(line, ':')
	if i < 1 || !token(line[:i]) {
		return f, ErrField // with a space in front it would be a folded line (section 5.2)
	}
	f.Name, f.Value = line[:i], bytes.Trim(line[i+1:], " \t")
	for _, c := range f.Value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return f, ErrField
		}
	}
	return f, nil
}
