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
	for _, r := range reasons {
		if int(r.status) == status {
			return r.text
		}
	}
	return "Status"
}

var reasons = [...]struct {
	status uint16
	text   string
}{
	{100, "Continue"},
	{200, "OK"},
	{201, "Created"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{304, "Not Modified"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{422, "Unprocessable Content"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{503, "Service Unavailable"},
	{505, "HTTP Version Not Supported"},
}
