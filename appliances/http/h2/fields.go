package h2

import (
	"bytes"
	"slices"
)

// Heads of responses are written without a table that both sides keep (RFC 7541, section
// 2.3.2): what is in it would have to be searched for each field, and costs more than the
// octets that it saves, as most of a response is its body. Each field is a literal whose
// name is the static table's where that has it, in the form that says not to keep it. So
// no head depends on those before it.

const (
	// noTable says that the table has no room. It stands at the beginning of the first
	// block: from then on no change of the client's setting makes another necessary
	// (section 4.2).
	noTable = 0x20
	indexed = 0x80
	// statusName is the first entry of the static table whose name is :status.
	statusName = 8
)

// appendStatus writes :status.
func appendStatus(b []byte, status int) []byte {
	known := [...]int{200, 204, 206, 304, 400, 404, 500} // those of the static table, in order
	if i := slices.Index(known[:], status); i >= 0 {
		return append(b, indexed|statusName+byte(i))
	}
	return append(b, statusName, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

// appendFields writes header fields, given as those of HTTP/1.1 (RFC 9112, section 5):
// each with its CR LF, one blank behind the colon, up to the empty line.
func appendFields(b, lines []byte) []byte {
	for {
		colon := bytes.IndexByte(lines, ':')
		if colon < 0 {
			return b
		}
		name, rest := lines[:colon], lines[colon+2:]
		end := bytes.IndexByte(rest, '\r')
		value := rest[:end]
		lines = rest[end+2:]
		if n := staticName(name); n >= 15 {
			b = append(b, 15, n-15)
		} else {
			b = appendLength(append(b, 0), len(name))
			for _, c := range name {
				if 'A' <= c && c <= 'Z' {
					c |= 0x20
				}
				b = append(b, c)
			}
		}
		b = append(appendLength(b, len(value)), value...)
	}
}

// appendLength writes the length of a string that is not in Huffman's code (section 5.2).
func appendLength(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

// staticName is the first entry of the static table (appendix A) with a name, all of which
// are above 14; 0: there is none. Names are spelled as responses have them.
func staticName(name []byte) byte {
	switch string(name) {
	case "Accept-Ranges":
		return 18
	case "Access-Control-Allow-Origin":
		return 20
	case "Allow":
		return 22
	case "Cache-Control":
		return 24
	case "Content-Disposition":
		return 25
	case "Content-Encoding":
		return 26
	case "Content-Language":
		return 27
	case "Content-Length":
		return 28
	case "Content-Range":
		return 30
	case "Content-Type":
		return 31
	case "Date":
		return 33
	case "ETag":
		return 34
	case "Last-Modified":
		return 44
	case "Link":
		return 45
	case "Location":
		return 46
	case "Retry-After":
		return 53
	case "Server":
		return 54
	case "Strict-Transport-Security":
		return 56
	case "Vary":
		return 59
	}
	return 0
}
