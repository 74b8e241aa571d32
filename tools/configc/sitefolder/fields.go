package sitefolder

import (
	"net/url"
	"slices"
	"strings"
)

// ownFields are those that a response has for reasons of its own, so that no rule
// may set them. Content-Type has a key of its own.
var ownFields = []string{"accept-ranges", "allow", "connection", "content-encoding", "content-length", "content-range",
	"content-type", "date", "etag", "keep-alive", "last-modified", "location", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade"}

// Reserved says whether a header field is not the configuration's to set.
func Reserved(name string) bool { return slices.Contains(ownFields, strings.ToLower(name)) }

// fields are the header fields of a path and a type, by default and by rules. path is
// "" for pages of errors, which rules for all paths count for.
func (r *reader) fields(path, typ string, cache bool) string {
	var all []Field
	if cache {
		all = append(all, Field{"Cache-Control", r.cache(typ)})
	}
	if r.Security {
		all = append(all, Field{"X-Content-Type-Options", "nosniff"})
		if isHTML(typ) || strings.HasPrefix(typ, "image/svg+xml") {
			all = append(all, documents...)
		}
	}
	for i := range r.Fields {
		rule := &r.Fields[i]
		if !match(rule.Path, path) && (path != "" || strings.Trim(rule.Path, "/*") != "") {
			continue
		}
		rule.used = rule.used || path != ""
		for _, f := range rule.Set {
			all = slices.DeleteFunc(all, func(o Field) bool { return strings.EqualFold(o.Name, f.Name) })
			if f.Value != "" {
				all = append(all, f)
			}
		}
	}
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String()
}

// documents are the fields of what a browser shows as a page: it is in no other
// site's frame, tells other sites no paths, runs no plug-in, and its forms and
// relative links can't be turned elsewhere.
var documents = []Field{
	{"X-Frame-Options", "SAMEORIGIN"},
	{"Referrer-Policy", "strict-origin-when-cross-origin"},
	{"Content-Security-Policy", "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
}

// cache is the default rule: pages are asked for anew each time, which an entity tag
// makes cheap; what they consist of is kept for an hour.
func (r *reader) cache(typ string) string {
	if isHTML(typ) {
		return "no-cache"
	}
	return "max-age=3600"
}

// match says whether a path is what a pattern says, in which "*" is any text.
func match(pattern, path string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == path
	}
	path, ok := strings.CutPrefix(path, first)
	for ok {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(path, part)
		}
		at := strings.Index(path, part)
		if at < 0 {
			return false
		}
		path, rest = path[at+len(part):], more
	}
	return false
}

// escapePath writes a path as it stands in a URI (RFC 3986, section 3.3).
func escapePath(path string) string { return (&url.URL{Path: path}).EscapedPath() }
