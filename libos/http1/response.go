package http1

import (
	"strconv"
	"time"
)

// AppendStatus appends the status line of a response.
func AppendStatus(b []byte, status int) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
	return append(append(append(b, ' '), Reason(status)...), crlf...)
}

// AppendField appends a header field. What could end the field is left out of the
// value, so that nobody who has a part in it can begin another.
func AppendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	for i := range len(value) {
		if c := value[i]; c >= ' ' && c != 0x7f || c == '\t' {
			b = append(b, c)
		}
	}
	return append(b, crlf...)
}

// AppendLength appends the Content-Length field.
func AppendLength(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), int64(n), 10), crlf...)
}

// AppendDate appends the Date field (RFC 9110, section 6.6.1).
func AppendDate(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(append(b, "Date: "...), "SunMonTueWedThuFriSat"[t.Weekday()*3:][:3]...)
	b = append(two(append(b, ", "...), day), ' ')
	b = append(append(b, "JanFebMarAprMayJunJulAugSepOctNovDec"[(month-1)*3:][:3]...), ' ')
	b = append(two(two(b, year/100), year%100), ' ')
	b = append(two(append(two(append(two(b, hour), ':'), minute), ':'), second), " GMT"...)
	return append(b, crlf...)
}

// two appends two digits.
func two(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// Reason is the text for a status (RFC 9110, section 15; RFC 6585).
func Reason(status int) string {
	switch status {
	case 100:
		return "Continue"
	case 200:
		return "OK"
	case 201:
		return "Created"
	case 204:
		return "No Content"
	case 206:
		return "Partial Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 304:
		return "Not Modified"
	case 308:
		return "Permanent Redirect"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 408:
		return "Request Timeout"
	case 409:
		return "Conflict"
	case 411:
		return "Length Required"
	case 412:
		return "Precondition Failed"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Range Not Satisfiable"
	case 417:
		return "Expectation Failed"
	case 421:
		return "Misdirected Request"
	case 422:
		return "Unprocessable Content"
	case 428:
		return "Precondition Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Status"
}
