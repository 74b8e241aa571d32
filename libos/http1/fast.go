package http1

import "bytes"

// What an octet may be part of.
const (
	inToken  = 1 << iota // RFC 9110, section 5.6.2
	inTarget             // the target of a request
	inValue              // the value of a field
	inHost               // a host without a port
)

// classes has those of each octet; a test holds it to token, target, field and host.
const classes = "" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x04\x07\x04\x05\x07\x07\x07\x07\x06\x06\x07\x07\x06\x0f\x0f\x06" +
	"\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x06\x06\x04\x06\x04\x06" +
	"\x06\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f" +
	"\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x06\x04\x06\x05\x0f" +
	"\x05\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f" +
	"\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x0f\x04\x05\x04\x07\x00" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04" +
	"\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04"

// fast reads a head of the usual form at the start of b in one pass, and returns how
// many bytes it has. 0 says that it is not of that form, or not whole: then Parse looks
// again. What it takes, Parse without it would take to mean the same.
func (r *Request) fast(b []byte) int {
	at := r.fastLine(b)
	if at == 0 {
		return 0
	}
	hosts := 0
	for at < len(b) && b[at] != '\r' {
		end := r.fastField(b, at)
		if end == 0 {
			return 0
		}
		at = end
		f := &r.fields[r.count-1]
		switch len(f.Name) {
		case len("host"):
			if Equal(f.Name, "host") {
				r.Host = f.Value
				if hosts++; !usualHost(f.Value) {
					return 0
				}
			}
		case len("connection"):
			if Equal(f.Name, "connection") && r.connection(f.Value) != nil {
				return 0
			}
		case len("expect"), len("content-length"), len("transfer-encoding"):
			if Equal(f.Name, "expect") || Equal(f.Name, "content-length") || Equal(f.Name, "transfer-encoding") {
				return 0
			}
		}
	}
	if hosts != 1 || len(b)-at < 2 || b[at+1] != '\n' {
		return 0
	}
	return at + 2
}

// fastLine reads a request line: a path and HTTP/1.1.
func (r *Request) fastLine(b []byte) int {
	i := 0
	for i < len(b) && classes[b[i]]&inToken != 0 {
		i++
	}
	if i == 0 || i > maxMethod || len(b)-i < 2 || b[i] != ' ' || b[i+1] != '/' {
		return 0
	}
	r.clear()
	r.Method, r.Minor = b[:i], 1
	if string(r.Method) == "CONNECT" {
		return 0
	}
	start := i + 1
	for i = start; i < len(b) && classes[b[i]]&inTarget != 0; i++ {
	}
	const version = " HTTP/1.1\r\n"
	if i-start > maxTarget || len(b)-i < len(version) || string(b[i:i+len(version)]) != version {
		return 0
	}
	r.Path = b[start:i]
	if q := bytes.IndexByte(r.Path, '?'); q >= 0 {
		r.Path, r.Query = r.Path[:q], r.Path[q+1:]
	}
	return i + len(version)
}

// fastField reads the field at b[at:].
func (r *Request) fastField(b []byte, at int) int {
	i := at
	for i < len(b) && classes[b[i]]&inToken != 0 {
		i++
	}
	if i == at || i == len(b) || b[i] != ':' || r.count == MaxFields {
		return 0
	}
	name := b[at:i]
	i++
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	start := i
	for i < len(b) && classes[b[i]]&inValue != 0 {
		i++
	}
	if len(b)-i < 2 || b[i] != '\r' || b[i+1] != '\n' {
		return 0
	}
	end := i
	for end > start && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	r.fields[r.count] = Field{name, b[start:end]}
	r.count++
	return i + 2
}

// usualHost says whether b is a name, with a port or without.
func usualHost(b []byte) bool {
	for _, c := range b {
		if classes[c]&inHost == 0 {
			return host(b)
		}
	}
	return len(b) <= 255
}
