package sitefolder

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/report"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// host returns a Host with the defaults for a folder of files, whose names and
// content alternate. A content of "-> x" is a link to x.
func host(t testing.TB, files ...string) *Host {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(files[i+1], "-> "); ok {
			if err := os.Symlink(to, file); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Host{Config: "image.toml", Line: 1, Names: []string{"example.org"}, Folder: dir, Index: []string{"index.html"},
		Charset: "utf-8", Codings: []site.Coding{site.Brotli, site.Gzip, site.Zstd}, MaxBytes: 64 << 20, Security: true}
}

// read reads hosts, and returns the messages with the folders' names left out.
func read(t testing.TB, hosts ...*Host) (*site.Site, string) {
	t.Helper()
	var list report.List
	s := Read(hosts, 0, &list)
	var b strings.Builder
	for _, p := range list.Problems() {
		text := p.String() + "\n"
		for _, h := range hosts {
			text = strings.ReplaceAll(text, filepath.ToSlash(h.Folder), "site")
		}
		b.WriteString(text)
	}
	return s, b.String()
}

// get asks the compiled site.
func get(t testing.TB, s *site.Site, host, path string, fields ...string) (status int, head, body string) {
	t.Helper()
	table, err := site.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	q := site.Request{Method: []byte("GET"), Host: []byte(host), Path: []byte(path)}
	for i := 0; i < len(fields); i += 2 {
		q.Field([]byte(fields[i]), []byte(fields[i+1]))
	}
	var r site.Response
	table.Answer(&q, []byte("\r\n"), &r)
	head, body, _ = strings.Cut(string(bytes.Join(r.Parts, nil)), "\r\n\r\n")
	return r.Status, head, body
}

func TestRead(t *testing.T) {
	long := strings.Repeat("body { color: #123456 }\n", 100)
	h := host(t, "index.html", "<p>hello", "style.css", long, "a b/index.html", "<p>deep", "é.txt", "accent", "pic.png", long, "noext", "x",
		".well-known/security.txt", "contact", "404.html", "<p>nothing here")
	h.ErrorPages = map[int]ErrorPage{404: {2, "404.html"}}
	h.Fields = []Rule{{3, "/*.css", []Field{{"Cache-Control", "max-age=1"}, {"X-Own", "1"}, {"X-Content-Type-Options", ""}}, false}, {4, "/*", []Field{{"X-All", "2"}}, false}}
	h.Redirects = []Redirect{{5, "/old", "/a%20b/", 308}}
	h.Modified.At, h.Modified.Now = time.Unix(2e9, 0), time.Unix(1e9, 0)
	s, messages := read(t, h)
	if messages != "" {
		t.Fatal(messages)
	}
	for _, c := range []struct {
		path   string
		status int
		want   string // in the head; "-" before it: not there
		body   string
	}{
		{"/", 200, "Content-Type: text/html; charset=utf-8|Cache-Control: no-cache|X-Content-Type-Options: nosniff|Content-Security-Policy: |X-All: 2|Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT|-Vary", "<p>hello"},
		{"/index.html", 200, "", "<p>hello"},
		{"/style.css", 200, "Content-Type: text/css; charset=utf-8|Cache-Control: max-age=1|X-Own: 1|-X-Content-Type|-Content-Security|Vary: Accept-Encoding", long},
		{"/a%20b", 301, "Location: /a%20b/|X-All: 2", ""},
		{"/a%20b/", 200, "", "<p>deep"},
		{"/%C3%A9.txt", 200, "Content-Type: text/plain; charset=utf-8|Cache-Control: max-age=3600|-Content-Security", "accent"},
		{"/pic.png", 200, "Content-Type: image/png|-Vary", long},
		{"/noext", 200, "Content-Type: application/octet-stream", "x"},
		{"/.well-known/security.txt", 200, "", "contact"},
		{"/old", 308, "Location: /a%20b/", ""},
		{"/nowhere", 404, "X-All: 2|-ETag", "<p>nothing here"},
	} {
		status, head, body := get(t, s, "example.org", c.path)
		if status != c.status || body != c.body {
			t.Errorf("%s: %d with %q", c.path, status, body)
		}
		for _, want := range strings.Split(c.want, "|") {
			if absent, not := strings.CutPrefix(want, "-"); strings.Contains(head, "\r\n"+absent) == not && want != "" {
				t.Errorf("%s: %s in\n%s", c.path, want, head)
			}
		}
	}
	tags := map[string]bool{}
	for coding, decode := range map[string]func(io.Reader) (io.Reader, error){
		"identity": func(r io.Reader) (io.Reader, error) { return r, nil },
		"gzip":     func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":       func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd": func(r io.Reader) (io.Reader, error) {
			d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(8<<20))
			return d, err
		},
	} {
		_, head, body := get(t, s, "example.org", "/style.css", "accept-encoding", coding)
		in, err := decode(strings.NewReader(body))
		if err != nil {
			t.Fatal(coding, err)
		}
		if b, err := io.ReadAll(in); err != nil || string(b) != long || coding != "identity" && !strings.Contains(head, "Content-Encoding: "+coding+"\r\n") {
			t.Errorf("%s: %v, %d bytes of %d; %s", coding, err, len(b), len(long), head)
		}
		_, tag, _ := strings.Cut(head, "ETag: ")
		tag, _, _ = strings.Cut(tag, "\r\n")
		tags[tag] = true
	}
	if len(tags) != 4 {
		t.Errorf("tags %v", tags)
	}
}

// TestMessages has what is wrong with a folder or its description, and what is said
// of it.
func TestMessages(t *testing.T) {
	key := "-----BEGIN " + "PRIVATE KEY-----\nx\n"
	for name, c := range map[string]struct {
		h    *Host
		also func(*Host)
		want string
	}{
		"nothing":    {host(t), nil, "image.toml:1: http.sites.folder: found no file in site, must have one at least\n"},
		"no folder":  {host(t), func(h *Host) { h.Folder += "/x" }, "must be a folder that can be read"},
		"file":       {host(t, "x", "y"), func(h *Host) { h.Folder += "/x" }, "must be a folder that can be read: is no folder"},
		"link out":   {host(t, "x", "-> /etc/passwd"), nil, "site/x: found a link that leads out of the folder or to nothing"},
		"link up":    {host(t, "a/x", "-> ../../x"), nil, "site/a/x: found a link that leads out of the folder or to nothing"},
		"link gone":  {host(t, "x", "-> y"), nil, "site/x: found a link that leads out of the folder or to nothing"},
		"link round": {host(t, "a/x", "-> ../a"), nil, "site/a/x: found a link to a folder that it is in itself"},
		"link self":  {host(t, "x", "-> x"), nil, "site/x: found a link that leads out of the folder or to nothing"},
		"dots":       {host(t, "x", "", ".git/config", "", ".x", ""), nil, "site: warning: 2 names that begin with a dot are left out, the first is .git; with dot_files = true they are taken in\n"},
		"case":       {host(t, "x", "", "X", ""), nil, "site/x: warning: differs from X in letter case alone\n"},
		"not UTF-8":  {host(t, "x\xff", ""), nil, `site: found the name "x\xff", must be UTF-8 without control characters`},
		"control":    {host(t, "x\ny", ""), nil, `site: found the name "x\ny", must be UTF-8 without control characters`},
		"too much":   {host(t, "x", "12345"), func(h *Host) { h.MaxBytes = 4 }, "image.toml:1: http.sites.folder: found 5 bytes in site, must be at most 4 (http.sites.max_size)\n"},
		"long":       {host(t, strings.Repeat(strings.Repeat("x", 250)+"/", 5)+"x", ""), nil, "...: found a path of 1257 bytes, must be at most 1024"},
		"key":        {host(t, "x", "a\n"+key), nil, "site/x:2: found a private key"},
		"charset":    {host(t, "x.html", "a\nb\xe9"), nil, "site/x.html:2: warning: found a byte 0xe9, which is not UTF-8"},
		"two indexes": {host(t, "index.html", "", "index.htm", ""), func(h *Host) { h.Index = []string{"index.html", "index.htm"} },
			"site/index.html: /: the index index.html and the index index.htm (site/index.htm) are both at this path; must be one\n"},
		"clean": {host(t, "a.html", "", "a", ""), func(h *Host) { h.CleanURLs = true },
			"site/a.html: /a: the file a.html, without its .html (clean_urls) and the file a (site/a) are both at this path; must be one\n"},
		"redirect": {host(t, "a", ""), func(h *Host) { h.Redirects = []Redirect{{7, "/a", "/b", 301}} },
			"image.toml:7: /a: a redirect and the file a (site/a) are both at this path; must be one\n"},
		"loop": {host(t, "x", ""), func(h *Host) { h.Redirects = []Redirect{{7, "/a", "/b", 301}, {8, "/b", "http://example.org/a", 301}} },
			"image.toml:7: http.sites.redirects.to: found a loop or more than 10 redirects, from /a to /b to /a to /b ...; must lead to something\n" +
				"image.toml:8: http.sites.redirects.to: found a loop or more than 10 redirects, from /b to /a to /b to /a ...; must lead to something\n"},
		"nowhere": {host(t, "x", ""), func(h *Host) {
			h.Redirects = []Redirect{{7, "/a", "b", 301}, {8, "/c", "https://example.net/", 301}, {9, "/d/", "../x", 301}}
		},
			"image.toml:7: http.sites.redirects.to: found \"b\", which is nowhere in the site; must lead to something\n"},
		"error page": {host(t, "x", ""), func(h *Host) { h.ErrorPages = map[int]ErrorPage{404: {9, "404.html"}} },
			"image.toml:9: http.sites.error_pages: found \"404.html\", must be a file of the site, from its folder\n"},
		"rule": {host(t, "x", ""), func(h *Host) { h.Fields = []Rule{{9, "/*.css", nil, false}, {10, "/x", nil, false}} },
			"image.toml:9: warning: http.sites.headers.path: found \"/*.css\", which no path of the site matches\n"},
		"links": {host(t, "index.html", "<a href=x.html>\n<img\nsrc='pic.png'><a href='/d#here'><a href='mailto:a@b'><a href='//example.org/q'><a href='http://other.test/q'><a href='d/#gone'>\n<a href=#top><p style='background: url(s.png)'><a href='?x'><img srcset='d/ 1x, e.png 2x'><!-- <a href=no> --><script>'<a href=no>'</script>",
			"d/index.html", "<base href='/'><p id=here><a href=style.css>", "style.css", "@import 'other.css'; /* url(no)\n */ a { b: url( \"d/\" ) url(no.png) url(data:x) }"),
			func(h *Host) { h.CheckLinks = true },
			`site/d/index.html:1: found a link to "style.css"` + "\x00" + `site/index.html:1: found a link to "x.html", which is nowhere in the site; must lead to something
site/index.html:3: found a link to "pic.png", which is nowhere in the site; must lead to something
site/index.html:3: found a link to "//example.org/q", which is nowhere in the site; must lead to something
site/index.html:3: found a link to "d/#gone", but nothing in site/d/index.html has the id "gone"; must lead to something
site/index.html:4: found a link to "s.png", which is nowhere in the site; must lead to something
site/index.html:4: found a link to "e.png", which is nowhere in the site; must lead to something
site/style.css:1: found a link to "other.css", which is nowhere in the site; must lead to something
site/style.css:2: found a link to "no.png", which is nowhere in the site; must lead to something
`},
	} {
		if c.also != nil {
			c.also(c.h)
		}
		_, got := read(t, c.h)
		absent, want, both := strings.Cut(c.want, "\x00")
		if !both {
			want, absent = absent, "\x00"
		}
		if strings.HasSuffix(want, "\n") && got != want || !strings.Contains(got, want) || strings.Contains(got, absent) || got == "" {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
}
