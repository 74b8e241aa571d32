package sitefolder

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"ampoule/libos/config/site"
)

// FuzzRead has any folder and any rules end in a site that answers for each of its
// paths as it should, or in at least one error. In names, a text separates files.
func FuzzRead(f *testing.F) {
	f.Add("index.html", "<a href=x>", "x", "y", "/old", "/x", "/*", "v")
	f.Add("a b/é.html", "<base href=//x><img srcset=a,b>", "a b/index.htm", "", "/a b", "https://x/", "*", "")
	f.Add(".well-known/x", "--ampoule-0-part", "..x", "@import 'a'; url(b", "/", "?", "/..*x", "\t")
	f.Fuzz(func(t *testing.T, name1, data1, name2, data2, from, to, pattern, value string) {
		for _, n := range []string{name1, name2} {
			if n == "" || len(n) > 100 || strings.Contains("/"+n+"/", "/../") || strings.HasSuffix(n, "/") || strings.ContainsRune(n, 0) {
				return
			}
		}
		if name1 == name2 || strings.HasPrefix(name1, name2+"/") || strings.HasPrefix(name2, name1+"/") || strings.HasPrefix(data1, "-> ") || strings.HasPrefix(data2, "-> ") {
			return
		}
		if !strings.HasPrefix(from, "/") || strings.ContainsAny(to, "\r\n\x00 ") || to == "" || !printable(value) || !printable(pattern) || strings.Trim(value, " ") != value {
			return // what the configuration's reader lets through
		}
		h := hostAnyhow(t, name1, data1, name2, data2)
		if h == nil {
			return // no such name on this file system
		}
		h.CheckLinks, h.CleanURLs, h.DotFiles = true, true, true
		h.Redirects = []Redirect{{1, normal(from), to, 301}}
		h.Fields = []Rule{{1, pattern, []Field{{"X-Own", value}}, false}}
		s, messages := read(t, h)
		if !onlyWarnings(messages) {
			return
		}
		table, err := site.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Hosts[0].Resources {
			q := site.Request{Method: []byte("GET"), Host: []byte("example.org"), Path: []byte(escapePath(r.Path))}
			var resp site.Response
			table.Answer(&q, []byte("\r\n"), &resp)
			if resp.Status != r.Status {
				t.Errorf("%q: %d, want %d", q.Path, resp.Status, r.Status)
			}
		}
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f })
}

func onlyWarnings(messages string) bool {
	for line := range strings.Lines(messages) {
		if !strings.Contains(line, ": warning: ") {
			return false
		}
	}
	return true
}

// hostAnyhow is host for names that may be none.
func hostAnyhow(t *testing.T, files ...string) (h *Host) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			h = nil
		}
	}()
	return host(panics{t}, files...)
}

// panics is a test that does not fail, but panics.
type panics struct{ *testing.T }

func (panics) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
