package httpdiff

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Generator makes requests of all kinds. The same seed makes the same ones.
type Generator struct {
	random *rand.Rand
	paths  []string // of what is there, escaped
}

// NewGenerator makes a Generator.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{random: rand.New(rand.NewPCG(seed, 0))}
	for name := range files() {
		path := "/" + name
		g.paths = append(g.paths, escape(path))
		if dir, ok := strings.CutSuffix(path, "index.html"); ok {
			g.paths = append(g.paths, dir, dir)
		}
	}
	slices.Sort(g.paths)
	return g
}

// escape escapes all but letters, digits and slashes.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c == '/' || c == '.' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (g *Generator) one(of ...string) string { return of[g.random.IntN(len(of))] }
func (g *Generator) in(n int) bool           { return g.random.IntN(n) == 0 }

// Next makes a request. Most have one or two things about them that are not plain.
func (g *Generator) Next() *Request {
	q := &Request{Method: "GET", Target: g.one(g.paths...)}
	if g.in(6) {
		q.Method = g.one("HEAD", "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")
	}
	if g.in(3) {
		q.Target = g.odd(q.Target)
	}
	if g.in(8) { // by itself: what it leads to decides about all else
		q.add("Accept-Encoding", g.weights())
		return q
	}
	if g.in(2) {
		q.add("Accept-Encoding", g.one("gzip", "br", "gzip, br", "gzip, deflate, br", "gzip, deflate, br, zstd", "identity", "deflate", "", "GZIP,Br"))
	}
	if g.in(3) {
		g.conditions(q)
	}
	if g.in(3) {
		if g.in(4) {
			q.Target = g.one("/big.bin", "/img/photo.jpg")
		}
		q.add("Range", g.ranges())
		if g.in(2) {
			q.add("If-Range", g.one("{tag}", "{tag}", "{tag gzip}", "{tag br}", `"x"`, "W/{tag}", "x", g.date(), g.date()))
		}
	}
	return q
}

func (q *Request) add(name, value string) { q.Fields = append(q.Fields, [2]string{name, value}) }

// odd makes another target of one: written otherwise, or leading elsewhere.
func (g *Generator) odd(path string) string {
	switch g.random.IntN(14) {
	case 0:
		return path + g.one("/", "x", "//", "/.", "/..", "/x", "%20", ".", "%2F", "%00", "%", "%4", "%zz", "?", "?a=b", "#x", "\x01", ";x")
	case 1:
		return g.one("/x/..", "/.", "/", "/./.", "/%2e", "/x/%2E%2e", "/..", "/%2e%2e", "/a/b/../..", "/x%2f..") + path
	case 2:
		return strings.ReplaceAll(path, "/", g.one("//", "/./", "/x/../", "%2F", "/%2e/"))
	case 3: // each letter escaped
		var b strings.Builder
		for i := range len(path) {
			if c := path[i]; c == '/' || c == '%' || i > 1 && path[i-2] == '%' || path[i-1] == '%' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, g.one("%%%02x", "%%%02X"), c)
			}
		}
		return b.String()
	case 4, 5:
		return path + g.one("?a=b", "?", "?a=b&c=%20d", "?/../x", "?x?y")
	case 6:
		return g.one("/old", "/old?a=b", "/temporary/", "/temporary/?q", "/temporary", "/OLD", "/old/")
	case 7, 8:
		return g.one("/docs", "/deep/er/and/deeper", "/dir.with.dots", "/docs?a=b&c", "/deep", "/noindex", "/noindex/", "/deep/er/?x")
	case 9:
		return g.one("/nowhere", "/nowhere/", "/docs/nowhere?x", "/"+strings.Repeat("x", 300), "/"+strings.Repeat("long/", 300), "/%FF%FE", "/docs/é ü.html", "/index.html/", "/Index.html")
	case 10:
		return g.one("/docs/\xc3\xa9%20\xc3\xbc.html", "/docs/semi;colon,&=+.txt", "/docs/q%3Fmark.txt", "/docs/q?mark.txt", "/docs/hash%23.txt", "/docs/100%25.txt", "/docs/100%.txt", "/docs/a+b.html")
	case 11:
		return g.one("*", "x", "/a\\b", "/\"", "/<x>", "/|", "/~", "/a\x7f", "/docs/a b.html")
	case 12:
		return strings.ToUpper(path)
	}
	return path[:1+g.random.IntN(len(path))]
}

// weights makes an Accept-Encoding that has weights.
func (g *Generator) weights() string {
	var all []string
	for range 1 + g.random.IntN(4) {
		all = append(all, g.one("gzip", "br", "identity", "*", "deflate", "GZIP", "compress")+
			g.one("", "", ";q=0", ";q=0.5", ";q=1", "; q=0.1", ";q=0.001", ";q=1.000"))
	}
	return strings.Join(all, g.one(",", ", "))
}

// conditions adds one to three preconditions.
func (g *Generator) conditions(q *Request) {
	tags := func() string {
		return g.one("{tag}", "{tag}", "{tag gzip}", "{tag br}", "W/{tag}", `"x"`, "*", `"x", {tag}`, `"x",W/{tag}, "y"`, `"x`, "x", "")
	}
	for range 1 + g.random.IntN(3)/2 {
		switch g.random.IntN(6) {
		case 0, 1:
			q.add("If-None-Match", tags())
		case 2:
			q.add("If-Match", tags())
		case 3, 4:
			q.add("If-Modified-Since", g.date())
		case 5:
			q.add("If-Unmodified-Since", g.date())
		}
	}
	for i := range q.Fields { // a field that is there twice is another matter
		for _, o := range q.Fields[:i] {
			if o[0] == q.Fields[i][0] {
				q.Fields = q.Fields[:i]
				return
			}
		}
	}
}

// date makes a date before, at or after the files' in one of HTTP's forms, or none.
func (g *Generator) date() string {
	at := modified.Add(time.Duration(g.random.IntN(3)-1) * time.Hour)
	switch g.random.IntN(8) {
	case 0:
		return at.Format("Monday, 02-Jan-06 15:04:05 GMT")
	case 1:
		return at.Format(time.ANSIC)
	case 2:
		return g.one("yesterday", "", "0", "Sun, 03 Nov 2024", "Sun, 99 Nov 2024 10:20:30 GMT")
	}
	return at.Format(http.TimeFormat)
}

// ranges makes a Range: one, several, some of them odd.
func (g *Generator) ranges() string {
	if g.in(8) {
		return g.one("bytes=", "bytes", "lines=0-1", "bytes=x", "bytes=-", "bytes=5-4", "bytes= 0-1", "bytes=0 -1", "bytes=0-1;", "BYTES=0-1",
			"bytes=0-99999999999999999999", "bytes=99999999999999999999-", "bytes=-99999999999999999999", "bytes=-0", "bytes=0-0,-0", "bytes=,0-1", "bytes=0-4,9-8")
	}
	var all []string
	n := 1
	if g.in(2) {
		n += g.random.IntN(4)
	}
	if g.in(30) { // single octets, a thousand apart
		n = 10 + g.random.IntN(20)
		for i := range n {
			all = append(all, fmt.Sprintf("%d-%d", i*1000, i*1000))
		}
		return "bytes=" + strings.Join(all, ",")
	}
	for range n {
		top := g.one("3", "200", "2000", "50000")
		var most int
		fmt.Sscan(top, &most)
		a := g.random.IntN(most)
		switch g.random.IntN(4) {
		case 0:
			all = append(all, fmt.Sprintf("%d-", a))
		case 1:
			all = append(all, fmt.Sprintf("-%d", a))
		default:
			all = append(all, fmt.Sprintf("%d-%d", a, a+g.random.IntN(most)))
		}
	}
	return "bytes=" + strings.Join(all, g.one(",", ", "))
}
