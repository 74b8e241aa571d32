package http1

import "bytes"

// Begin starts a request whose parts come one by one, as those of HTTP/2 do, and not
// as a head for Parse. Begin, Add and End put it together by the same rules and
// bounds, so that it means the same; the first error is the request's. What they are
// given must hold as long as the request.
func (r *Request) Begin(method, target []byte) error {
	r.clear()
	r.Minor = 1
	if len(method) > maxMethod || !token(method) {
		return ErrLine
	}
	r.Method = method
	if len(target) > maxTarget {
		return ErrLong
	}
	if len(target) == 0 && string(method) != "CONNECT" {
		return ErrTarget
	}
	return r.target(target)
}

// Clear forgets the request, for another client's that comes in parts. Fields are out of
// reach then, and are overwritten.
func (r *Request) Clear() { r.clear() }

// Add adds a header field. Its value has no blanks around.
func (r *Request) Add(name, value []byte) error {
	if !token(name) || len(bytes.Trim(value, " \t")) != len(value) {
		return ErrField
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return ErrField
		}
	}
	if r.count == MaxFields {
		return ErrFields
	}
	r.fields[r.count] = Field{name, value}
	r.count++
	return nil
}

// End says that all fields are there. One of them is Host.
func (r *Request) End() error { return r.mean() }
