package sitefolder

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"path"
	"strings"
	"unicode/utf8"

	"ampoule/libos/config/site"
)

// content finds out what the responses with a file have, once.
func (r *reader) content(f *file) bool {
	if f.done {
		return f.variants != nil
	}
	f.done = true
	if f.data == nil {
		return false // which is reported
	}
	f.typ = r.contentType(f)
	f.modified = r.Modified.unix(f)
	f.variants = []site.Variant{{Coding: site.Identity, Body: string(f.data)}}
	if !compressed(f.typ) && len(f.data) > overhead {
		for _, c := range r.Codings {
			b, err := r.encoders.encode(c, f.data)
			if err != nil {
				r.list.Errorf(f.shown, 0, "can't be compressed (%v): %v", c, err)
				return false
			}
			if len(b)+overhead < len(f.data) {
				f.variants = append(f.variants, site.Variant{Coding: c, Body: string(b)})
			}
		}
	}
	for i := range f.variants {
		f.variants[i].Tag = tag(f.typ, f.variants[i].Coding, f.variants[i].Body)
	}
	if isHTML(f.typ) {
		r.pages = append(r.pages, parsePage(f))
	} else if strings.HasPrefix(f.typ, "text/css") {
		r.pages = append(r.pages, parseStyle(f))
	}
	return true
}

// overhead is what a coding costs in the head of a response.
const overhead = 48

// tag makes the strong entity tag of what is sent. The type is part of it: a client
// that has the content with another type has something else (RFC 9110, section
// 8.8.1).
func tag(typ string, c site.Coding, body string) string {
	h := sha256.New()
	h.Write([]byte(typ + "\n" + c.String() + "\n"))
	h.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// unix is the time of a file in seconds, 0 for none.
func (m Modified) unix(f *file) int64 {
	at := m.At
	if m.Files {
		at = f.time
	}
	if at.IsZero() {
		return 0
	}
	return max(0, min(at.Unix(), m.Now.Unix()))
}

// contentType is the type of a file by its extension.
func (r *reader) contentType(f *file) string {
	ext := strings.ToLower(path.Ext(f.name))
	typ, own := r.Types[ext]
	if !own {
		typ = types[ext]
	}
	if typ == "" {
		return "application/octet-stream"
	}
	if r.Charset == "" || own && strings.Contains(typ, "charset") || !isText(typ) {
		return typ
	}
	if strings.EqualFold(r.Charset, "utf-8") && !utf8.Valid(f.data) {
		at := 0
		for at < len(f.data) {
			c, n := utf8.DecodeRune(f.data[at:])
			if c == utf8.RuneError && n <= 1 {
				break
			}
			at += n
		}
		r.list.Warnf(f.shown, 1+bytes.Count(f.data[:at], []byte("\n")), "found a byte %#x, which is not UTF-8, though the file is sent as such (http.sites.charset)", f.data[at])
	}
	return typ + "; charset=" + r.Charset
}

// isText says whether a charset belongs to a type.
func isText(typ string) bool {
	return strings.HasPrefix(typ, "text/") || typ == "image/svg+xml" || typ == "application/xml" || strings.HasSuffix(typ, "+xml")
}

func isHTML(typ string) bool {
	return strings.HasPrefix(typ, "text/html") || strings.HasPrefix(typ, "application/xhtml+xml")
}

// compressed says whether files of a type are compressed in themselves, so that
// trying is a waste of time.
func compressed(typ string) bool {
	switch typ {
	case "image/svg+xml", "image/bmp", "image/x-icon", "audio/wav", "audio/midi":
		return false
	case "font/woff", "font/woff2", "application/zip", "application/gzip", "application/zstd", "application/x-7z-compressed",
		"application/x-bzip2", "application/x-xz", "application/epub+zip", "application/java-archive", "application/vnd.android.package-archive":
		return true
	}
	for _, kind := range []string{"image/", "audio/", "video/"} {
		if strings.HasPrefix(typ, kind) {
			return !strings.HasPrefix(typ, "image/svg+xml") && !strings.HasPrefix(typ, "video/mp2t")
		}
	}
	return false
}
