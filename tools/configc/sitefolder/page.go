package sitefolder

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// page is a file that leads to others: HTML or a style sheet.
type page struct {
	file  *file
	base  string // of <base>
	links []link
	ids   map[string]bool // what fragments name; nil of a style sheet
}

// link is a reference to something else.
type link struct {
	to   string
	line int
}

// attributes are those that refer to something, by element. Those of <form> are not
// among them: a form's target is seldom a file.
var attributes = map[string][]string{
	"a": {"href"}, "area": {"href"}, "link": {"href"}, "img": {"src"}, "script": {"src"}, "iframe": {"src"}, "embed": {"src"},
	"source": {"src"}, "track": {"src"}, "audio": {"src"}, "video": {"src", "poster"}, "object": {"data"}, "input": {"src"},
	"image": {"href", "xlink:href"}, "use": {"href", "xlink:href"},
}

// parsePage reads the links of an HTML page.
func parsePage(f *file) *page {
	p := &page{file: f, ids: map[string]bool{}}
	z := html.NewTokenizer(bytes.NewReader(f.data))
	line := 1
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if z.Err() != io.EOF {
				p.ids = nil // a token without end: what is behind it is not known
			}
			return p
		}
		raw := z.Raw()
		if kind == html.StartTagToken || kind == html.SelfClosingTagToken {
			p.element(z, raw, line)
		}
		line += bytes.Count(raw, []byte("\n"))
	}
}

// element reads the links of a tag, which begins in a line.
func (p *page) element(z *html.Tokenizer, raw []byte, line int) {
	raw = bytes.Clone(raw)
	name, more := z.TagName()
	tag := string(name)
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		k, v := string(key), string(value)
		switch {
		case k == "id" || k == "name" && tag == "a":
			p.ids[v] = true
		case tag == "base" && k == "href" && p.base == "":
			p.base = strings.TrimSpace(v)
		case k == "srcset" && (tag == "img" || tag == "source"):
			for _, candidate := range strings.Split(v, ",") {
				if to, _, _ := strings.Cut(strings.TrimSpace(candidate), " "); to != "" && !strings.HasPrefix(v, "data:") {
					p.links = append(p.links, link{to, line + lineOf(raw, key)})
				}
			}
		case k == "style":
			p.style([]byte(v), line+lineOf(raw, key))
		}
		for _, a := range attributes[tag] {
			if a == k {
				p.links = append(p.links, link{strings.TrimSpace(v), line + lineOf(raw, key)})
			}
		}
	}
}

// lineOf is how many lines an attribute stands below the start of its tag.
func lineOf(raw, key []byte) int {
	at := bytes.Index(bytes.ToLower(raw), append(bytes.Clone(key), '='))
	return bytes.Count(raw[:max(at, 0)], []byte("\n"))
}

var (
	// styleURL is what a style sheet refers to (CSS Values, section 4.5): url() with or
	// without quotes, and @import with a string.
	styleURL     = regexp.MustCompile(`(?i)url\(\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^"'()\s]*))\s*\)|@import\s+(?:"([^"\n]*)"|'([^'\n]*)')`)
	styleComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
)

// parseStyle reads the links of a style sheet.
func parseStyle(f *file) *page {
	p := &page{file: f}
	p.style(f.data, 1)
	return p
}

func (p *page) style(data []byte, line int) {
	data = styleComment.ReplaceAllFunc(data, func(b []byte) []byte { // lines stay
		return bytes.Repeat([]byte("\n"), bytes.Count(b, []byte("\n")))
	})
	for _, m := range styleURL.FindAllSubmatchIndex(data, -1) {
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				p.links = append(p.links, link{string(data[m[g]:m[g+1]]), line + bytes.Count(data[:m[0]], []byte("\n"))})
			}
		}
	}
}
