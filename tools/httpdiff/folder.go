package httpdiff

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/report"
	"ampoule/tools/configc/sitefolder"
)

// modified is when all files were last modified: a Sunday, so that dates of all
// forms can be written down.
var modified = time.Date(2024, 11, 3, 10, 20, 30, 0, time.UTC)

// files makes the files of the site: pages, styles, scripts, images, names that have
// to be escaped, one without content, one without an extension.
func files() map[string]string {
	words := strings.Fields("sealed appliance network image boot answer request table range coding page site build server address record name time")
	random := rand.New(rand.NewPCG(1, 2))
	prose := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[random.IntN(len(words))] + " ")
		}
		return b.String()[:n]
	}
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	page := func(title string, n int) string {
		return fmt.Sprintf("<!doctype html>\n<title>%s</title>\n<link rel=stylesheet href=/css/main.css>\n<p>%s</p>\n", title, prose(n))
	}
	return map[string]string{
		"index.html": page("Home", 900), "about.html": page("About", 5000), "404.html": page("Nothing here", 600),
		"docs/index.html": page("Docs", 20000), "docs/a b.html": page("Blank", 700), "docs/é ü.html": page("Umlaut", 800),
		"docs/100%.txt": prose(400), "docs/q?mark.txt": prose(300), "docs/hash#.txt": prose(300), "docs/semi;colon,&=+.txt": prose(300),
		"css/main.css": prose(3000), "js/app.js": prose(12000), "data/data.json": prose(2500), "data/feed.xml": prose(1500),
		"img/logo.svg": prose(2000), "img/photo.jpg": noise(30000), "img/icon.png": noise(500), "font/body.woff2": noise(9000),
		"empty.txt": "", "one.txt": "1", "README": prose(1000), "noindex/file.txt": prose(200), "deep/er/and/deeper/index.html": page("Deep", 300),
		"..dots..txt": prose(100), "dir.with.dots/index.html": page("Dots", 300), "big.bin": noise(200000),
	}
}

// MakeSite writes the files into dir and returns the table of them. Beside each there
// are its codings as nginx serves them: name.gz and name.br.
func MakeSite(dir string) (site.Table, error) {
	for name, content := range files() {
		if err := write(filepath.Join(dir, name), content); err != nil {
			return "", err
		}
	}
	h := &sitefolder.Host{Folder: dir, Index: []string{"index.html"}, Charset: "utf-8", DotFiles: true,
		Codings: []site.Coding{site.Gzip, site.Brotli}, Modified: sitefolder.Modified{Files: true, Now: time.Now()},
		ErrorPages: map[int]sitefolder.ErrorPage{404: {File: "404.html"}},
		Redirects:  []sitefolder.Redirect{{From: "/old", To: "/about.html", Status: 301}, {From: "/temporary/", To: "https://example.net/x", Status: 307}}}
	var list report.List
	s := sitefolder.Read([]*sitefolder.Host{h}, 0, &list)
	for _, p := range list.Problems() {
		return "", fmt.Errorf("the site has a problem: %v", p)
	}
	for _, r := range s.Hosts[0].Resources {
		for _, v := range r.Variants {
			ext := map[site.Coding]string{site.Gzip: ".gz", site.Brotli: ".br"}[v.Coding]
			if ext == "" || strings.HasSuffix(r.Path, "/") {
				continue
			}
			if err := write(filepath.Join(dir, filepath.FromSlash(r.Path)+ext), v.Body); err != nil {
				return "", err
			}
		}
	}
	return site.Compile(s)
}

func write(file, content string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Chtimes(file, modified, modified)
}

// Config is how the configuration of an image describes the site of MakeSite, with
// %q in the place of its folder.
const Config = `
[[http.sites]]
folder = %q
dot_files = true
codings = ["gzip", "br"]
security_headers = false
last_modified = "files"
error_pages = { 404 = "404.html" }

[[http.sites.redirects]]
from = "/old"
to = "/about.html"

[[http.sites.redirects]]
from = "/temporary/"
to = "https://example.net/x"
status = "307"
`
