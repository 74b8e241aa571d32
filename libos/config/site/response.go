package site

// Response is what to send: Parts, one after the other. Most of them lie in the
// Table, the others in the caller's tail, the request or the Response itself; nobody
// may write into them, and they hold until the Response is used again. A Response
// must not be copied.
type Response struct {
	Status int
	Host   int // number of the site, or -1
	Parts  [][]byte
	Body   int64  // octets of the body among the Parts
	Coding Coding // of the body

	inline [8][]byte
	small  [160]byte // fields of a response with one range
	large  []byte    // heads of parts of one with several
}

// start begins a response.
func (r *Response) start(status int) {
	r.Status, r.Body, r.Coding, r.Parts = status, 0, Identity, r.inline[:0]
}

// add appends a part of the table.
func (r *Response) add(s Table) {
	if len(s) > 0 {
		r.Parts = append(r.Parts, view(s))
	}
}

// addBody appends a body, unless the request was HEAD.
func (r *Response) addBody(m method, s Table) {
	if m != head {
		r.add(s)
		r.Body += int64(len(s))
	}
}

// addBytes appends a part that is not the table's.
func (r *Response) addBytes(b []byte) {
	if len(b) > 0 {
		r.Parts = append(r.Parts, b)
	}
}

// Status lines of the responses that share the fields of another.
const (
	partialLine     Table = "HTTP/1.1 206 Partial Content\r\n"
	notModifiedLine Table = "HTTP/1.1 304 Not Modified\r\n"
	optionsHead     Table = "HTTP/1.1 204 No Content\r\nAllow: " + allow + "\r\n"
	queryMark       Table = "?"
)

// allow lists the methods of all resources.
const allow = "GET, HEAD, OPTIONS"
