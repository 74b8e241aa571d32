package httpdiff

import (
	"slices"
	"strings"
)

// Accepted is a kind of difference that is meant to be, and the reason.
type Accepted struct {
	Name, Reason string
	applies      func(c *Case) bool
}

// Case is a request to which two servers respond differently.
type Case struct {
	Request      *Request
	Ours, Theirs *Response
	How          string // as Difference says
	Whole        []byte // what our server has there, in the same coding; of requests with Range
}

// status says whether the statuses are these.
func (c *Case) status(ours, theirs int) bool {
	return c.Ours.Status == ours && c.Theirs.Status == theirs
}

// accepted are tried in their order.
func accepted() []Accepted {
	return slices.Concat(methods, targets, conditions, ranged)
}

var methods = []Accepted{
	{"allow", "405 must say what is allowed (RFC 9110, section 15.5.6)", func(c *Case) bool {
		return c.status(405, 405) && c.How == "Allow" && c.Theirs.Header.Get("Allow") == ""
	}},
	{"options", "OPTIONS is answered (RFC 9110, section 9.3.7); nginx refuses it", func(c *Case) bool {
		return c.Request.Method == "OPTIONS" && (c.status(204, 405) || c.status(204, 400) && c.Request.Target == "*" || c.status(204, 301) || c.status(204, 307) || c.status(404, 405))
	}},
	{"unknown method", "a method that is not known is 501 (RFC 9110, section 9.1); nginx looks at the path first", func(c *Case) bool {
		return c.Request.Method == "BREW" && c.Ours.Status == 501
	}},
	{"method before path", "nginx refuses some methods before it looks what is at the path, we behind that", func(c *Case) bool {
		m := c.Request.Method
		return (m == "PUT" || m == "DELETE" || m == "PATCH" || m == "TRACE") && c.Theirs.Status == 405 && (c.Ours.Status == 404 || c.Ours.Status/100 == 3)
	}},
}

var targets = []Accepted{
	{"folder without index", "nginx says 403 of a folder that it must not list; here it is nothing", func(c *Case) bool {
		return c.status(404, 403) || c.status(404, 301) && c.Theirs.Header.Get("Location") != ""
	}},
	{"fragment", "a target has no fragment (RFC 9112, section 3.2); nginx cuts it off", func(c *Case) bool {
		return strings.Contains(c.Request.Target, "#") && c.Ours.Status == 400
	}},
}

var conditions = []Accepted{
	{"If-None-Match before If-Modified-Since", "the date counts only without If-None-Match (RFC 9110, section 13.2.2); nginx wants both", func(c *Case) bool {
		return c.Request.Has("If-None-Match") && c.Request.Has("If-Modified-Since") && (c.status(304, 200) || c.status(304, 206) || c.status(304, 416))
	}},
	{"If-Match before If-Unmodified-Since", "the date counts only without If-Match (RFC 9110, section 13.2.2); nginx wants both", func(c *Case) bool {
		return c.Request.Has("If-Match") && c.Request.Has("If-Unmodified-Since") && c.Theirs.Status == 412 && c.Ours.Status < 400
	}},
	{"void If-Unmodified-Since", "what is no date is ignored (RFC 9110, section 13.1.4); nginx says 412", func(c *Case) bool {
		v := c.Request.Get("If-Unmodified-Since")
		return c.Request.Has("If-Unmodified-Since") && (v == "" || !strings.Contains(v, ":") || strings.Contains(v, "99 Nov")) && c.Theirs.Status == 412 && (c.Ours.Status < 400 || c.Ours.Status == 416)
	}},
	{"weights", "codings have weights, and * is all others (RFC 9110, section 12.5.3); nginx takes the first of br and gzip that is not 0", func(c *Case) bool {
		v := c.Request.Get("Accept-Encoding")
		return (c.status(200, 200) || c.status(404, 404)) && strings.ContainsAny(v, ";*") && c.Ours.Header.Get("Content-Encoding") != c.Theirs.Header.Get("Content-Encoding")
	}},
}

var ranged = []Accepted{
	{"HEAD with Range", "Range is for GET alone (RFC 9110, section 14.2); nginx heeds it", func(c *Case) bool {
		return c.Request.Method == "HEAD" && c.Request.Get("Range") != "" && (c.status(200, 206) || c.status(200, 416))
	}},
	{"ranges of codings", "ranges are of the selected representation, coded or not (RFC 9110, section 14.1.2); this nginx has none of precompressed files", func(c *Case) bool {
		if c.Theirs.Header.Get("Content-Encoding") == "" {
			return false
		}
		_, ok := inside(c.Ours, c.Whole)
		return c.status(200, 200) && c.How == "Accept-Ranges" || c.status(206, 200) && ok || c.status(416, 200)
	}},
	{"malformed Range", "what is malformed is refused as a whole (RFC 9110, section 14.2); nginx passes some of it over", func(c *Case) bool {
		_, ok := specs(c.Request, len(c.Whole))
		return !ok && c.Ours.Status == 416
	}},
	{"empty elements", "elements of a list may be empty (RFC 9110, section 5.6.1.2); nginx refuses them", func(c *Case) bool {
		return c.status(206, 416) && c.Request.Get("Range") == "bytes=,0-1"
	}},
	{"range of nothing", "what is empty has no ranges, and a server may ignore Range (RFC 9110, section 14.2)", func(c *Case) bool {
		return c.status(200, 416) && len(c.Whole) == 0 && c.Ours.Header.Get("Content-Length") == "0"
	}},
	{"wide ranges", "a last position beyond the end is the end, whatever its size (RFC 9110, section 14.1.2); nginx refuses large numbers", func(c *Case) bool {
		_, ok := inside(c.Ours, c.Whole)
		return ok && c.status(206, 416) && strings.Contains(c.Request.Get("Range"), "99999999999999999999")
	}},
	{"many ranges", "more than 16 ranges are the whole (RFC 9110, section 14.2)", func(c *Case) bool {
		list, _ := specs(c.Request, len(c.Whole))
		return c.status(200, 206) && len(list) > 16
	}},
	{"joined ranges", "ranges that overlap or nearly touch become one (RFC 9110, section 15.3.7.2); nginx sends octets twice, or the whole when that were more", func(c *Case) bool {
		list, ok := specs(c.Request, len(c.Whole))
		covered, right := inside(c.Ours, c.Whole)
		if !ok || !right || !c.status(206, 206) && !c.status(206, 200) {
			return false
		}
		for _, s := range list {
			if slices.Contains(covered[s[0]:s[1]+1], false) {
				return false
			}
		}
		return len(list) > 1
	}},
}

// Grammar is what a server does beyond a table: its parser refuses targets that are
// none, before the table is asked.
func Grammar() Accepted {
	return Accepted{"grammar", "what RFC 3986 does not have in a target is refused (RFC 9112, section 3.2); nginx takes most of it", func(c *Case) bool {
		return c.Ours.Status == 400 && (strings.ContainsAny(c.Request.Target, "\"<>\\^`{|} ") || c.Request.Target[0] != '/' ||
			strings.ContainsFunc(c.Request.Target, func(r rune) bool { return r < ' ' || r >= 0x7f }))
	}}
}
