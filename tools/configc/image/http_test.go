package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/report"
)

// loadHTTP loads a configuration beside a folder www of files, whose names and
// content alternate, and returns the messages without the place's name.
func loadHTTP(t testing.TB, config string, files ...string) (*Image, string) {
	t.Helper()
	dir := t.TempDir()
	files = append(files, "../image.toml", config)
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, "www", files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var list report.List
	img := Load(filepath.Join(dir, "image.toml"), "http", &list)
	var b strings.Builder
	for _, p := range list.Problems() {
		b.WriteString(strings.ReplaceAll(p.String(), dir+"/", "") + "\n")
	}
	return img, b.String()
}

const netTOML = "network = { dhcp = true }\n"

// everyKey is a configuration with all keys of the appliance.
const everyKey = netTOML + `
[http]
port = 8080
idle = "1s"
read = "2s"
write = "3s"
strict_names = true

[[http.sites]]
folder = "www"
names = ["Example.org", "*.example.org"]
index = ["index.html", "index.xhtml"]
clean_urls = true
charset = "iso-8859-1"
codings = ["zstd", "gzip"]
types = { ".foo" = "text/x-foo" }
max_size = "1MiB"
dot_files = true
check_links = true
security_headers = false
last_modified = "2026-01-01T00:00:00Z"
error_pages = { 404 = "404.html" }

[[http.sites.redirects]]
from = "/old page"
to = "/a"
status = "308"

[[http.sites.headers]]
path = "/*"
cache = "no-store"
set = { "X-Own" = "1", "x-gone" = "" }
`

func TestHTTP(t *testing.T) {
	img, messages := loadHTTP(t, everyKey, "index.html", "<a href=old%20page>", "a.html", "a", "404.html", "gone", ".x.foo", strings.Repeat("foo", 100))
	if messages != "" {
		t.Fatal(messages)
	}
	if img.HTTP.Port != 8080 {
		t.Errorf("port %d", img.HTTP.Port)
	}
	for _, c := range []struct {
		host, path string
		status     int
		want       string
	}{
		{"example.org", "/", 200, "Content-Type: text/html; charset=iso-8859-1\r\n"},
		{"x.example.org", "/a", 200, "Cache-Control: no-store\r\nX-Own: 1\r\n"},
		{"example.org", "/.x.foo", 200, "Content-Encoding: zstd\r\n"},
		{"example.org", "/old%20page", 308, "Location: /a\r\n"},
		{"example.org", "/b", 404, "X-Own: 1\r\n"},
		{"example.net", "/", 421, ""},
	} {
		q := site.Request{Method: []byte("GET"), Host: []byte(c.host), Path: []byte(c.path)}
		q.Field([]byte("Accept-Encoding"), []byte("br, zstd"))
		var r site.Response
		img.HTTP.Table.Answer(&q, []byte("\r\n"), &r)
		if got := string(bytes.Join(r.Parts, nil)); r.Status != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s%s: %s; want %d, %s", c.host, c.path, got, c.status, c.want)
		}
	}
}

// TestHTTPMessages has what is wrong in one configuration, all of it at once.
func TestHTTPMessages(t *testing.T) {
	for name, c := range map[string]struct{ config, want string }{
		"nothing": {netTOML, "image.toml:1: http.sites: not there, must be a list of sites, each [[http.sites]] with a folder\n"},
		"kinds": {netTOML + `[http]
port = 0
strict_names = 1
sites = 5
idle = "0s"
`, `image.toml:3: http.port: found 0, must be a number from 1 to 65535
image.toml:4: http.strict_names: found 1, must be true or false
image.toml:5: http.sites: found 5, must be a list of sites, each [[http.sites]] with a folder
image.toml:6: http.idle: found "0s", must be a time from "1s" to "3600s"
`},
		"site": {netTOML + `[[http.sites]]
folder = "www"
[[http.sites]]
folder = "gone"
names = ["a_b", "a.example", "A.example"]
index = ["a/b"]
charset = "a b"
codings = ["gzip", "lzma", "gzip"]
types = { "foo" = "text/plain", ".foo" = "text" }
max_size = "1"
last_modified = "today"
error_pages = { 200 = "x", 404 = "/x", 500 = "x.html" }
cleanurls = true
[[http.sites.redirects]]
from = "a"
to = "/a"
[[http.sites.redirects]]
from = "/a/../b"
to = "/a"
[[http.sites.redirects]]
from = "/a"
to = "ftp://x/"
status = "200"
[[http.sites.redirects]]
from = "/c"
[[http.sites.headers]]
path = "x"
cache = " x"
set = { "Content-Length" = "1", "a b" = "c", "c" = 1 }
`, `image.toml:2: http.sites.names: not there, must be a list of host names, such as ["www.example.org", "*.example.net"], since there are several sites
image.toml:5: http.sites.folder: found "gone", must be a folder that can be read: no such file or directory
image.toml:6: http.sites.names: found "a_b", must be a list of host names, such as ["www.example.org", "*.example.net"]
image.toml:6: http.sites.names: found "A.example", which is there already in line 6; must be there once
image.toml:7: http.sites.index: found "a/b", must be a list of names of files, such as ["index.html"]
image.toml:8: http.sites.charset: found "a b", must be the name of a charset, or ""
image.toml:9: http.sites.codings: found "lzma", must be a list of "br", "gzip", "zstd"
image.toml:9: http.sites.codings: found "gzip", must be a list of "br", "gzip", "zstd"
image.toml:10: http.sites.types: found "foo" = "text/plain", must be an extension with its dot and a content type, both in lower case
image.toml:10: http.sites.types: found ".foo" = "text", must be an extension with its dot and a content type, both in lower case
image.toml:11: http.sites.max_size: found "1", must be a size from "1KiB" to "1024MiB"
image.toml:12: http.sites.last_modified: found "today", must be "none", "files" for the times of the files, or a time such as "2026-11-23T10:00:00Z"
image.toml:13: http.sites.error_pages: found "200", must be one of the statuses [400 404 405 408 412 413 414 416 417 421 429 431 500 501 503 505]
image.toml:13: http.sites.error_pages.404: found "/x", must be a file of the site, from its folder
image.toml:13: http.sites.error_pages: found "x.html", must be a file of the site, from its folder
image.toml:14: http.sites.cleanurls: no such key; did you mean http.sites.clean_urls? allowed here: folder, names, index, clean_urls, charset, codings, types, max_size, dot_files, check_links, security_headers, last_modified, error_pages, redirects, headers
image.toml:16: http.sites.redirects.from: found "a", must be a path as it is when decoded, such as "/old page"
image.toml:19: http.sites.redirects.from: found "/a/../b", must be a path as it is when decoded, such as "/old page"
image.toml:23: http.sites.redirects.to: found "ftp://x/", must be a path or a URI, encoded, such as "/new%20page" or "https://example.net/"
image.toml:24: http.sites.redirects.status: found "200", must be one of "301", "302", "303", "307" and "308"
image.toml:25: http.sites.redirects.to: not there, must be a path or a URI, encoded, such as "/new%20page" or "https://example.net/"
image.toml:28: http.sites.headers.path: found "x", must be a path in which * is any text, such as "/assets/*" or "*.css"
image.toml:29: http.sites.headers.cache: found " x", must be a value of Cache-Control
image.toml:30: http.sites.headers.set: found "Content-Length", which the server sets by itself; must be another field
image.toml:30: http.sites.headers.set: found "a b" = "c", must be the name of a header field and a text
image.toml:30: http.sites.headers.set: found "c" = 1, must be the name of a header field and a text
`},
	} {
		if _, got := loadHTTP(t, c.config, "index.html", "x"); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
}

// TestHTTPSource builds a program of the source, and has it answer a request.
func TestHTTPSource(t *testing.T) {
	img, messages := loadHTTP(t, netTOML+"[[http.sites]]\nfolder = \"www\"\n", "index.html", "<p>\x00\xff\"\\ compiled in")
	if !strings.Contains(messages, "warning: found a byte 0xff") {
		t.Fatal(messages)
	}
	var b bytes.Buffer
	if err := img.Source(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := strings.Replace(b.String(), "package config", "package main", 1)
	const program = `package main

import (
	"os"

	"ampoule/libos/config/site"
)

func main() {
	q := site.Request{Method: []byte("GET"), Path: []byte("/")}
	var r site.Response
	HTTP.Site.Answer(&q, []byte("\r\n"), &r)
	for _, p := range r.Parts {
		os.Stdout.Write(p)
	}
	_ = System
}
`
	for name, content := range map[string]string{"config.go": config, "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", filepath.Join(dir, "config.go"), filepath.Join(dir, "main.go"))
	cmd.Dir = "../../../appliances"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(out), "\r\n\r\n<p>\x00\xff\"\\ compiled in") {
		t.Errorf("%v\n%s", err, out)
	}
}
