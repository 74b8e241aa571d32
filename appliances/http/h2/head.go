package h2

import (
	"ampoule/libos/http1"
)

// head is the head of a request, or its trailers, while its block comes in.
type head struct {
	open    bool // there is one
	stream  uint32
	end     bool // the client's side of the stream ends with it
	trailer bool
	ignore  bool // it is decoded for the sake of the table only
	refuse  code // why its stream is reset when it is whole; noError: it is not

	octets, frames int // of the block

	scratch   *scratch
	size      int       // octets of the fields
	pseudo    uint8     // which there were
	begun     bool      // Begin was called: there are no more pseudo-header fields
	malformed bool      // the stream is to be reset (section 8.1.1)
	err       error     // the request is answered with an error
	authority string    // of :authority
	values    [3][]byte // of :method, :scheme and :path
}

// scratch is what it takes to read a request and to write the head of its response.
// A connection has one only meanwhile.
type scratch struct {
	request http1.Request
	kept    []byte // names and values; it does not grow
	text    []byte // head of the response, as HTTP/1.1 has it
	block   []byte // and as HTTP/2 has it
}

// The pseudo-header fields of requests (section 8.3.1).
const (
	pseudoMethod = iota
	pseudoScheme
	pseudoPath
	pseudoAuthority
	pseudoNone
)

func pseudoOf(name string) int {
	switch name {
	case ":method":
		return pseudoMethod
	case ":scheme":
		return pseudoScheme
	case ":path":
		return pseudoPath
	case ":authority":
		return pseudoAuthority
	}
	return pseudoNone
}

// keep copies a string to where it holds as long as the request; false: there is no
// room, and the request is too long.
func (h *head) keep(s string) ([]byte, bool) {
	k := h.scratch.kept
	if len(k)+len(s) > cap(k) {
		h.err = http1.ErrHead
		return nil, false
	}
	h.scratch.kept = append(k, s...)
	return h.scratch.kept[len(k):], true
}

// field takes a field of the block.
func (h *head) field(name, value string) {
	if h.ignore || h.refuse != noError || h.malformed || h.err != nil {
		return
	}
	if h.size += len(name) + len(value) + len(": \r\n"); h.size > headSize {
		h.err = http1.ErrHead
		return
	}
	if len(name) > 0 && name[0] == ':' {
		h.pseudoField(pseudoOf(name), value)
		return
	}
	if !h.trailer && !h.begun {
		h.begin()
	}
	if h.malformed = h.malformed || !lower(name) || ofConnection(name, value); h.malformed || h.err != nil {
		return
	}
	switch {
	case h.trailer:
		return // of no use to anybody
	case name == "host" && h.pseudo&(1<<pseudoAuthority) != 0:
		h.malformed = value != h.authority
		return
	case name == "cookie": // several stand for one (section 8.2.3), and it changes nothing
		return
	}
	h.add(name, value)
}

// add adds a field to the request.
func (h *head) add(name, value string) {
	n, ok := h.keep(name)
	v, okay := h.keep(value)
	if !ok || !okay {
		return
	}
	if err := h.scratch.request.Add(n, v); err == http1.ErrField {
		h.malformed = true
	} else {
		h.err = err
	}
}

// pseudoField takes one of those.
func (h *head) pseudoField(p int, value string) {
	if p == pseudoNone || h.trailer || h.begun || h.pseudo&(1<<p) != 0 {
		h.malformed = true
		return
	}
	h.pseudo |= 1 << p
	if p == pseudoAuthority {
		h.authority = value
		return
	}
	h.values[p], _ = h.keep(value)
}

// begin begins the request with its pseudo-header fields.
func (h *head) begin() {
	h.begun = true
	const needed = 1<<pseudoMethod | 1<<pseudoScheme | 1<<pseudoPath
	method, path := h.values[pseudoMethod], h.values[pseudoPath]
	switch {
	case string(method) == "CONNECT": // section 8.5
		h.malformed = h.pseudo != 1<<pseudoMethod|1<<pseudoAuthority
	case h.pseudo&needed != needed || len(path) == 0 || path[0] != '/' && string(path) != "*":
		h.malformed = true
	}
	if h.malformed {
		return
	}
	if h.err = h.scratch.request.Begin(method, path); h.err != nil {
		return
	}
	// Elsewhere than here Host is what says whom a request is for.
	if h.pseudo&(1<<pseudoAuthority) != 0 {
		h.add("host", h.authority)
	}
}

// finish says that all fields are there.
func (h *head) finish() {
	if !h.begun && h.err == nil && !h.malformed {
		h.begin()
	}
	if h.err == nil && !h.malformed {
		h.err = h.scratch.request.End()
	}
	// What ends with the head has no body, whatever it says (section 8.1.1).
	if h.err == nil && h.end && h.scratch.request.Length > 0 {
		h.malformed = true
	}
}

// lower says whether a name has no capital letters (section 8.2.1).
func lower(name string) bool {
	for i := range len(name) {
		if 'A' <= name[i] && name[i] <= 'Z' {
			return false
		}
	}
	return true
}

// ofConnection says whether a field is one of those that speak about a connection
// of HTTP/1.1, which must not be there (section 8.2.2).
func ofConnection(name, value string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	case "te":
		return value != "trailers"
	}
	return false
}
