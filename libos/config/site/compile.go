package site

import (
	"slices"
	"strconv"
	"strings"

	"ampoule/libos/format"
)

// Site is a site before compilation. It is of the build's making: Compile is no
// part of an image.
type Site struct {
	Hosts []Host
	// Other is the host whose names are all those that no host has; -1: there is none,
	// and they are answered with 421.
	Other int
}

// Host is what is at one name, or at several.
type Host struct {
	Names     []string // in lower case, without port; "*.example.org" is all below it
	Resources []Resource
	Errors    []Resource // pages of some of ErrorStatuses; the others get plain ones
	// ErrorFields are header fields of the plain pages.
	ErrorFields string
}

// Resource is what is at one path.
type Resource struct {
	Path     string // decoded and normal, such as "/a b/c"; of an error's page: empty
	Status   int    // 200; 301, 302, 303, 307 or 308; or an error's
	Fields   string // further header fields, each with its CR LF
	Type     string // Content-Type
	Modified int64  // seconds since 1970; 0: not known
	Variants []Variant
	// Location is where a redirect leads, a URI reference; it has no Type and no
	// Variants. KeepQuery adds the query of the request.
	Location  string
	KeepQuery bool
}

// Variant is one form of a resource. One is Identity.
type Variant struct {
	Coding Coding
	Tag    string // strong entity tag without quotes; of an error's page: empty
	Body   string
}

// ErrorStatuses are those that a Table responds with.
var ErrorStatuses = [...]int{400, 404, 405, 408, 412, 413, 414, 416, 417, 421, 429, 431, 500, 501, 503, 505}

// reason is the text of a status (RFC 9110, section 15; RFC 6585); none of a status
// that no table has.
func reason(status int) string {
	switch status {
	case 200:
		return "OK"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 303:
		return "See Other"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	case 400:
		return "Bad Request"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 412:
		return "Precondition Failed"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 416:
		return "Range Not Satisfiable"
	case 417:
		return "Expectation Failed"
	case 421:
		return "Misdirected Request"
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
	return ""
}

// plain is the page of an error for which there is no other.
func plain(status int, fields string) Resource {
	title := strconv.Itoa(status) + " " + reason(status)
	return Resource{Status: status, Type: "text/html; charset=utf-8", Fields: fields, Variants: []Variant{{
		Body: "<!doctype html>\n<html lang=\"en\"><title>" + title + "</title><h1>" + title + "</h1></html>\n",
	}}}
}

// validate says what is wrong with a resource, as far as a table is concerned.
func (r *Resource) validate() error {
	switch {
	case len(r.Path) > MaxPath:
		return format.Errorf("path of %d octets, the most is %d", len(r.Path), MaxPath)
	case reason(r.Status) == "":
		return format.Errorf("status %d is none of a site", r.Status)
	case !wholeFields(r.Fields):
		return format.Errorf("fields %q are no header fields", r.Fields)
	case r.Status >= 300 && r.Status < 400:
		if r.Location == "" || strings.ContainsAny(r.Location, "\r\n\x00 ") || len(r.Variants) > 0 ||
			r.KeepQuery && strings.ContainsAny(r.Location, "?#") {
			return format.Errorf("location %q is none for a redirect", r.Location)
		}
		return nil
	case !fieldValue(r.Type) || r.Type == "" || len(r.Type) > 200:
		return format.Errorf("content type %q is none", r.Type)
	case r.Modified < 0:
		return format.Errorf("modified before 1970")
	}
	var seen [codings]bool
	for _, v := range r.Variants {
		if v.Coding >= codings || seen[v.Coding] {
			return format.Errorf("coding %d is there twice or unknown", v.Coding)
		}
		seen[v.Coding] = true
		if strings.Trim(v.Tag, tagLetters) != "" || len(v.Tag) > 64 || (v.Tag == "") != (r.Status != 200) {
			return format.Errorf("entity tag %q is none, of %d", v.Tag, r.Status)
		}
	}
	if !seen[Identity] {
		return format.Errorf("no variant without a coding")
	}
	return nil
}

const tagLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// wholeFields says whether s is header fields, each with its CR LF.
func wholeFields(s string) bool {
	for s != "" {
		line, rest, ok := strings.Cut(s, "\r\n")
		name, value, colon := strings.Cut(line, ": ")
		if !ok || !colon || !FieldName(name) || !fieldValue(value) {
			return false
		}
		s = rest
	}
	return true
}

// FieldName says whether s can be the name of a header field (RFC 9110, section 5.1).
func FieldName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// fieldValue says whether s can be the value of a header field.
func fieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) && strings.Trim(s, " ") == s
}

// head writes the head of a variant: its block, and the places in it.
func (r *Resource) head(v *Variant) (block string, places [4]int) {
	var b []byte
	b = append(strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(r.Status), 10), ' ')
	b = append(append(b, reason(r.Status)...), "\r\n"...)
	if r.Location != "" {
		b = append(append(b, "Location: "...), r.Location...)
		at := len(b)
		b = append(b, "\r\nContent-Length: 0\r\n"...)
		return string(b), [4]int{at, len(b), len(b), len(b)}
	}
	if r.Status == 405 {
		b = append(b, "Allow: "+allow+"\r\n"...)
	}
	b = appendLength(b, int64(len(v.Body)))
	places[0] = len(b)
	b = append(append(append(b, "Content-Type: "...), r.Type...), "\r\n"...)
	places[1] = len(b)
	if v.Coding != Identity {
		b = append(append(append(b, "Content-Encoding: "...), v.Coding.String()...), "\r\n"...)
	}
	if r.Status == 200 {
		b = append(b, "Accept-Ranges: bytes\r\n"...)
	}
	places[2] = len(b)
	if v.Tag != "" {
		b = append(append(append(b, tagField+`"`...), v.Tag...), "\"\r\n"...)
	}
	if r.Modified > 0 {
		b = append(AppendDate(append(b, "Last-Modified: "...), r.Modified), "\r\n"...)
	}
	if len(r.Variants) > 1 {
		b = append(b, "Vary: Accept-Encoding\r\n"...)
	}
	places[3] = len(b)
	return string(b), places
}

// sorted returns the variants, the smallest first.
func (r *Resource) sorted() []Variant {
	if r.Location != "" {
		return []Variant{{}}
	}
	all := slices.Clone(r.Variants)
	slices.SortStableFunc(all, func(a, b Variant) int {
		if d := len(a.Body) - len(b.Body); d != 0 {
			return d
		}
		return int(a.Coding) - int(b.Coding)
	})
	return all
}
