package image

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/sitefolder"
	"ampoule/tools/configc/tree"
)

var (
	charsetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)
	mediaType   = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*(; ?[a-z]+=[A-Za-z0-9._-]+)*$`)
	extension   = regexp.MustCompile(`^(\.[^./\s]+)$`)
)

// siteContent reads what the responses with files have.
func (s *section) siteContent(h *sitefolder.Host) {
	if v := s.value("index"); v != nil {
		h.Index = nil
		for _, v := range s.items("index", v) {
			name, _ := v.V.(string)
			if name == "" || strings.ContainsAny(name, "/\x00") || slices.Contains(h.Index, name) {
				s.refuse("index", v)
				continue
			}
			h.Index = append(h.Index, name)
		}
	}
	if c, v := s.text("charset"); v != nil {
		if h.Charset = c; c != "" && !charsetName.MatchString(c) {
			s.refuse("charset", v)
		}
	}
	if v := s.value("codings"); v != nil {
		h.Codings = nil
		items, ok := v.V.([]*tree.Value) // may be empty: none
		if !ok {
			s.refuse("codings", v)
		}
		for _, v := range items {
			name, _ := v.V.(string)
			i := slices.Index(codings, name)
			if i < 0 || slices.Contains(h.Codings, codingOf[i]) {
				s.refuse("codings", v)
				continue
			}
			h.Codings = append(h.Codings, codingOf[i])
		}
	}
	s.each("types", func(ext string, v *tree.Value) {
		typ, _ := v.V.(string)
		if !extension.MatchString(ext) || !mediaType.MatchString(typ) {
			s.list.Errorf(s.file, v.Line, "http.sites.types: found %q = %s, must be an extension with its dot and a content type, both in lower case", ext, v.Found())
			return
		}
		h.Types[strings.ToLower(ext)] = typ
	})
	s.lastModified(h)
}

// codingOf are the codings by their places in codings.
var codingOf = [...]site.Coding{site.Brotli, site.Gzip, site.Zstd}

// each calls f with each value of a table whose keys are the operator's.
func (s *section) each(key string, f func(name string, v *tree.Value)) {
	v := s.value(key)
	if v == nil {
		return
	}
	t, ok := v.V.(*tree.Table)
	if !ok {
		s.refuse(key, v)
		return
	}
	for _, name := range t.Keys {
		f(name, t.Values[name])
	}
}

func (s *section) lastModified(h *sitefolder.Host) {
	h.Modified.Now = buildTime()
	t, v := s.text("last_modified")
	switch {
	case v == nil || t == "none":
	case t == "files":
		h.Modified.Files = true
	default:
		at, err := time.Parse(time.RFC3339, t)
		if err != nil || at.Unix() <= 0 {
			s.refuse("last_modified", v)
		}
		h.Modified.At = at
	}
}

// errorPages reads the files of errors by their statuses.
func (s *section) errorPages(h *sitefolder.Host) {
	s.each("error_pages", func(key string, v *tree.Value) {
		status, err := strconv.Atoi(key)
		file, ok := v.V.(string)
		switch {
		case err != nil || !slices.Contains(site.ErrorStatuses[:], status):
			s.list.Errorf(s.file, v.Line, "http.sites.error_pages: found %q, must be one of the statuses %v", key, site.ErrorStatuses)
		case !ok || file == "" || path.IsAbs(file):
			s.list.Errorf(s.file, v.Line, "http.sites.error_pages.%s: found %s, must be a file of the site, from its folder", key, v.Found())
		default:
			h.ErrorPages[status] = sitefolder.ErrorPage{Line: v.Line, File: path.Clean(file)}
		}
	})
}

// redirect reads one of the redirects.
func (s *section) redirect(h *sitefolder.Host) {
	r := sitefolder.Redirect{Line: s.table.Line, Status: [...]int{301, 302, 303, 307, 308}[s.choice("status")]}
	from, vf := s.text("from")
	to, vt := s.text("to")
	if vf == nil || vt == nil {
		return
	}
	clean := path.Clean(from)
	if clean != "/" && strings.HasSuffix(from, "/") {
		clean += "/"
	}
	if !strings.HasPrefix(from, "/") || clean != from || strings.Contains(from, "\x00") {
		s.refuse("from", vf)
		return
	}
	u, err := url.Parse(to)
	if err != nil || to == "" || u.Opaque != "" || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" ||
		u.Scheme != "" && u.Host == "" || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		s.refuse("to", vt)
		return
	}
	r.Line, r.From, r.To = vf.Line, from, to
	h.Redirects = append(h.Redirects, r)
}

// headers reads one of the rules.
func (s *section) headers(h *sitefolder.Host) {
	pattern, v := s.text("path")
	if v == nil {
		return
	}
	if pattern == "" || pattern[0] != '/' && pattern[0] != '*' {
		s.refuse("path", v)
	}
	rule := sitefolder.Rule{Line: v.Line, Path: pattern}
	if c, v := s.text("cache"); v != nil {
		if !fieldText(c) {
			s.refuse("cache", v)
		}
		rule.Set = append(rule.Set, sitefolder.Field{Name: "Cache-Control", Value: c})
	}
	s.each("set", func(name string, v *tree.Value) {
		value, ok := v.V.(string)
		switch {
		case !site.FieldName(name) || !ok || !fieldText(value):
			s.list.Errorf(s.file, v.Line, "http.sites.headers.set: found %q = %s, must be the name of a header field and a text", name, v.Found())
		case sitefolder.Reserved(name):
			s.list.Errorf(s.file, v.Line, "http.sites.headers.set: found %q, which the server sets by itself; must be another field", name)
		default:
			rule.Set = append(rule.Set, sitefolder.Field{Name: name, Value: value})
		}
	})
	h.Fields = append(h.Fields, rule)
}

// fieldText says whether s can be the value of a header field.
func fieldText(s string) bool {
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f })
}
