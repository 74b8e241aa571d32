package http1

import "bytes"

// mean reads the fields that say how long the request is, whom it is for and what
// becomes of the connection.
func (r *Request) mean() error {
	hosts, lengths, codings := 0, 0, 0
	r.Close = r.Minor == 0
	for _, f := range r.Fields() {
		switch {
		case Equal(f.Name, "host"):
			if hosts++; !host(f.Value) {
				return ErrHost
			}
			if r.Host == nil {
				r.Host = f.Value
			}
		case Equal(f.Name, "content-length"):
			if lengths++; lengths > 1 {
				return ErrLength
			}
			if r.Length = decimal(f.Value); r.Length < 0 {
				return ErrLength
			}
		case Equal(f.Name, "transfer-encoding"):
			if codings++; codings > 1 {
				return ErrLength
			}
			if !Equal(f.Value, "chunked") {
				return ErrCoding
			}
		case Equal(f.Name, "connection"):
			if err := r.connection(f.Value); err != nil {
				return err
			}
		case Equal(f.Name, "expect"):
			if !Equal(f.Value, "100-continue") {
				return ErrExpect
			}
			r.Expect = r.Minor > 0
		}
	}
	if hosts > 1 || hosts == 0 && r.Minor > 0 {
		return ErrHost
	}
	if codings > 0 {
		if lengths > 0 || r.Minor == 0 { // section 6.1
			return ErrLength
		}
		r.Length = Chunked
	}
	return nil
}

// connection reads the options of a Connection field (section 9.3).
func (r *Request) connection(list []byte) error {
	for len(list) > 0 {
		option := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			option, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		option = bytes.Trim(option, " \t")
		switch {
		case len(option) > 0 && !token(option):
			return ErrField
		case Equal(option, "close"):
			r.Close = true
		case Equal(option, "keep-alive") && r.Minor == 0:
			r.Close = false
		}
	}
	return nil
}

// host says whether b is a host with an optional port, or nothing (RFC 9110,
// section 7.2; RFC 3986, section 3.2): registered names and addresses, no user
// information, no percent-encoding.
func host(b []byte) bool {
	if len(b) > 255+6 {
		return false
	}
	name, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 3 || !all(b[1:end], "0123456789abcdefABCDEF:.") {
			return false
		}
		if port = b[end+1:]; len(port) > 0 && port[0] != ':' {
			return false
		}
		return len(port) == 0 || decimal(port[1:]) >= 0 && decimal(port[1:]) <= 65535
	}
	if i := bytes.IndexByte(b, ':'); i >= 0 {
		if name, port = b[:i], b[i+1:]; i == 0 || decimal(port) < 0 || decimal(port) > 65535 {
			return false
		}
	}
	for _, c := range name {
		if !alnum(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// decimal reads a number without a sign; -1: it is none, or too large.
func decimal(b []byte) int64 {
	if len(b) == 0 || len(b) > 18 {
		return -1
	}
	var n int64
	for _, c := range b {
		if !digit(c) {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// Equal compares a name with one in lower case, without regard to case.
func Equal(b []byte, lower string) bool {
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

// token says whether b is a token (RFC 9110, section 5.6.2).
func token(b []byte) bool {
	for _, c := range b {
		if !alnum(c) && (c <= ' ' || c >= 0x7f || bytes.IndexByte(delimiters, c) >= 0) {
			return false
		}
	}
	return len(b) > 0
}

var delimiters = []byte(`"(),/:;<=>?@[\]{}`)

func all(b []byte, of string) bool {
	for _, c := range b {
		if bytes.IndexByte([]byte(of), c) < 0 {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func alnum(c byte) bool {
	return digit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
