package site

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

const (
	tail     = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
	modified = 784111777 // Sun, 06 Nov 1994 08:49:37 GMT
)

var text = strings.Repeat("0123456789", 100)

// sample is a site of two hosts.
func sample(t testing.TB) Table {
	page := func(path, tag string) Resource {
		return Resource{Path: path, Status: 200, Type: "text/html; charset=utf-8", Modified: modified,
			Fields: "Cache-Control: no-cache\r\n", Variants: []Variant{
				{Identity, tag, text}, {Gzip, tag + "-gzip", text[:300]}, {Brotli, tag + "-br", text[:200]}, {Zstd, tag + "-zstd", text[:250]}}}
	}
	table, err := Compile(&Site{Other: 0, Hosts: []Host{
		{Names: []string{"example.org", "www.example.org"}, Resources: []Resource{
			page("/", "root"), page("/a b/c", "abc"), page("/é", "e"),
			{Path: "/plain", Status: 200, Type: "text/plain", Variants: []Variant{{Identity, "plain", text}}},
			{Path: "/empty", Status: 200, Type: "text/plain", Variants: []Variant{{Identity, "empty", ""}}},
			{Path: "/dir", Status: 301, Location: "/dir/", KeepQuery: true},
			{Path: "/gone", Status: 302, Location: "https://example.net/x"},
		}, Errors: []Resource{{Status: 404, Type: "text/html", Variants: []Variant{{Identity, "", "not here"}, {Gzip, "", "nh"}}}}},
		{Names: []string{"*.example.net"}, Resources: []Resource{page("/", "net")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Check(); err != nil {
		t.Fatal(err)
	}
	return table
}

// ask puts a request as text, fields behind the first line, and reads the response
// as a client would: all of it, and nothing behind it.
func ask(t testing.TB, table Table, request string) (*http.Response, string) {
	t.Helper()
	resp, body, err := exchange(table, request)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return resp, body
}

func exchange(table Table, request string) (*http.Response, string, error) {
	var q Request
	lines := strings.Split(request, "\n")
	words := strings.SplitN(lines[0], " ", 2)
	path, query, _ := strings.Cut(words[1], "?")
	q.Method, q.Path, q.Query, q.Host = []byte(words[0]), []byte(path), []byte(query), []byte("example.org")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			q.Host = []byte(value)
		}
		q.Field([]byte(name), []byte(value))
	}
	var r Response
	table.Answer(&q, []byte(tail), &r)
	raw := bytes.Join(r.Parts, nil)
	b := bufio.NewReader(bytes.NewReader(raw))
	resp, err := http.ReadResponse(b, &http.Request{Method: words[0]})
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && b.Buffered() > 0 {
		err = io.ErrShortBuffer // there is more than the response
	}
	if err == nil && (resp.StatusCode != r.Status || int64(len(body)) != r.Body) {
		err = io.ErrUnexpectedEOF
	}
	return resp, string(body), err
}

// exchanges are what is asked, the status, and fields of the response as "Name:
// value"; a "-" before a name says that it is not there.
var exchanges = []struct {
	request string
	status  int
	fields  string
}{
	{"GET /", 200, "Etag: \"root\"|Content-Length: 1000|Vary: Accept-Encoding|Accept-Ranges: bytes|Cache-Control: no-cache|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT|-Content-Encoding"},
	{"GET /?a=b", 200, "Etag: \"root\""},
	{"GET /a%20b/c", 200, "Etag: \"abc\""},
	{"GET //x/../a%20b/./%2e/%63", 200, "Etag: \"abc\""},
	{"GET /%C3%a9", 200, "Etag: \"e\""},
	{"GET /\xc3\xa9", 200, "Etag: \"e\""},
	{"GET /a%2Fb", 404, ""},
	{"GET /a%20b%2fc", 200, "Etag: \"abc\""},
	{"GET /../x", 400, ""},
	{"GET /x/..%2f../", 400, ""},
	{"GET /%00", 400, ""},
	{"GET /%4", 400, ""},
	{"GET /%g0", 400, ""},
	{"GET /a b", 400, ""},
	{"GET x", 400, ""},
	{"GET *", 400, ""},
	{"GET /nowhere", 404, "Content-Type: text/html|Content-Length: 8|Vary: Accept-Encoding|-Etag"},
	{"GET /nowhere\nAccept-Encoding: gzip", 404, "Content-Length: 2|Content-Encoding: gzip"},
	{"HEAD /nowhere", 404, "Content-Length: 8"},
	{"HEAD /", 200, "Content-Length: 1000|Etag: \"root\""},
	{"HEAD /\nRange: bytes=0-1", 200, "Content-Length: 1000"},
	{"POST /", 405, "Allow: GET, HEAD, OPTIONS"},
	{"POST /nowhere", 404, ""},
	{"BREW /", 501, ""},
	{"get /", 501, ""},
	{"OPTIONS *", 204, "Allow: GET, HEAD, OPTIONS|-Content-Length"},
	{"OPTIONS /", 204, "Allow: GET, HEAD, OPTIONS|Cache-Control: no-cache"},
	{"OPTIONS /nowhere", 404, ""},
	{"GET /dir", 301, "Location: /dir/|Content-Length: 0"},
	{"GET /dir?a=b&c", 301, "Location: /dir/?a=b&c"},
	{"GET /dir?a\x01b", 301, "Location: /dir/"},
	{"HEAD /dir?x", 301, "Location: /dir/?x"},
	{"POST /gone?x", 302, "Location: https://example.net/x"},
	{"GET /\nHost: WWW.Example.ORG.:8080", 200, "Etag: \"root\""},
	{"GET /\nHost: other.test", 200, "Etag: \"root\""},
	{"GET /\nHost: a.b.example.net", 200, "Etag: \"net\""},
	{"GET /\nHost: example.net", 200, "Etag: \"root\""},
	{"GET /\nHost: [::1]:80", 200, "Etag: \"root\""},

	{"GET /\nAccept-Encoding: gzip, deflate, br, zstd", 200, "Content-Encoding: br|Content-Length: 200|Etag: \"root-br\""},
	{"GET /\nAccept-Encoding: gzip, deflate", 200, "Content-Encoding: gzip"},
	{"GET /\nAccept-Encoding: X-GZIP", 200, "Content-Encoding: gzip"},
	{"GET /\nAccept-Encoding: gzip;q=1.0, br;q=0.999", 200, "Content-Encoding: gzip"},
	{"GET /\nAccept-Encoding: br ; q=0.5 , zstd;q=0.6", 200, "Content-Encoding: zstd"},
	{"GET /\nAccept-Encoding: *", 200, "Content-Encoding: br"},
	{"GET /\nAccept-Encoding: *;q=0.5, br;q=0", 200, "Content-Encoding: zstd"},
	{"GET /\nAccept-Encoding: identity, gzip;q=0.5", 200, "-Content-Encoding"},
	{"GET /\nAccept-Encoding: gzip;q=0", 200, "-Content-Encoding"},
	{"GET /\nAccept-Encoding: identity;q=0, gzip;q=0", 200, "-Content-Encoding"},
	{"GET /\nAccept-Encoding: gzip;q=0.001", 200, "Content-Encoding: gzip"},
	{"GET /\nAccept-Encoding: gzip;q=2, br;x", 200, "-Content-Encoding"},
	{"GET /\nAccept-Encoding: ", 200, "-Content-Encoding"},
	{"GET /\nAccept-Encoding: deflate\nAccept-Encoding: br", 200, "Content-Encoding: br"},

	{"GET /\nIf-None-Match: \"root\"", 304, "Etag: \"root\"|Vary: Accept-Encoding|Cache-Control: no-cache|-Content-Type|-Content-Length"},
	{"GET /\nIf-None-Match: W/\"x\", W/\"root\"", 304, ""},
	{"GET /\nIf-None-Match: \"x\"\nIf-None-Match: \"root\"", 304, ""},
	{"GET /\nIf-None-Match: *", 304, ""},
	{"GET /\nIf-None-Match: \"root\"\nAccept-Encoding: br", 200, "Etag: \"root-br\""},
	{"GET /\nIf-None-Match: root", 200, ""},
	{"GET /\nIf-None-Match: \"root", 200, ""},
	{"HEAD /\nIf-None-Match: \"root\"", 304, ""},
	{"GET /\nIf-None-Match: \"x\"\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200, ""},
	{"GET /\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304, ""},
	{"GET /\nIf-Modified-Since: Sunday, 06-Nov-94 08:49:38 GMT", 304, ""},
	{"GET /\nIf-Modified-Since: Sun Nov  6 08:49:36 1994", 200, ""},
	{"GET /\nIf-Modified-Since: yesterday", 200, ""},
	{"GET /plain\nIf-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT", 200, ""},
	{"GET /\nIf-Match: \"root\"", 200, ""},
	{"GET /\nIf-Match: W/\"root\"", 412, "Content-Type: text/html; charset=utf-8"},
	{"GET /\nIf-Match: \"x\"", 412, ""},
	{"HEAD /\nIf-Match: \"x\"", 412, ""},
	{"GET /\nIf-Match: *", 200, ""},
	{"GET /\nIf-Match: \"root\"\nIf-None-Match: \"root\"", 304, ""},
	{"GET /\nIf-Match: \"root\"\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200, ""},
	{"GET /\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 412, ""},
	{"GET /\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200, ""},
	{"GET /\nIf-Unmodified-Since: never", 200, ""},

	{"GET /\nRange: bytes=0-4", 206, "Content-Range: bytes 0-4/1000|Content-Length: 5|Content-Type: text/html; charset=utf-8|Etag: \"root\"|Accept-Ranges: bytes"},
	{"GET /\nRange: BYTES=990-", 206, "Content-Range: bytes 990-999/1000"},
	{"GET /\nRange: bytes=-5", 206, "Content-Range: bytes 995-999/1000"},
	{"GET /\nRange: bytes=-5000", 206, "Content-Range: bytes 0-999/1000"},
	{"GET /\nRange: bytes=5-99999999999999999999999", 206, "Content-Range: bytes 5-999/1000"},
	{"GET /\nRange: bytes=0-4\nAccept-Encoding: gzip", 206, "Content-Range: bytes 0-4/300|Content-Encoding: gzip"},
	{"GET /\nRange: bytes=1000-", 416, "Content-Range: bytes */1000"},
	{"GET /\nRange: bytes=-0", 416, "Content-Range: bytes */1000"},
	{"GET /\nRange: bytes=5-4", 416, ""},
	{"GET /\nRange: bytes=x", 416, ""},
	{"GET /\nRange: bytes=", 416, ""},
	{"GET /\nRange: lines=0-4", 200, ""},
	{"GET /empty\nRange: bytes=0-", 200, "Content-Length: 0"},
	{"GET /\nRange: bytes=0-4\nIf-Range: \"root\"", 206, ""},
	{"GET /\nRange: bytes=0-4\nIf-Range: W/\"root\"", 200, ""},
	{"GET /\nRange: bytes=0-4\nIf-Range: \"x\"", 200, ""},
	{"GET /\nRange: bytes=0-4\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", 206, ""},
	{"GET /\nRange: bytes=0-4\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT", 200, ""},
	{"GET /plain\nRange: bytes=0-4\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", 200, ""},
	{"GET /\nRange: bytes=0-4\nIf-None-Match: \"root\"", 304, ""},
	{"GET /\nRange: bytes=0-4,3-9", 206, "Content-Range: bytes 0-9/1000"},
	{"GET /\nRange: bytes=500-509,0-4,2000-", 206, "-Content-Range|Content-Type: multipart/byteranges; boundary=ampoule-0-part"},
}

// TestAnswer has each of the exchanges come out so.
func TestAnswer(t *testing.T) {
	table := sample(t)
	for _, c := range exchanges {
		resp, body := ask(t, table, c.request)
		if resp.StatusCode != c.status {
			t.Errorf("%q: status %d, want %d", c.request, resp.StatusCode, c.status)
		}
		checkFields(t, c.request, resp, c.fields)
		if m, _, _ := strings.Cut(c.request, " "); (m == "HEAD" || c.status == 304 || c.status == 204) != (body == "") && c.status != 301 && c.status != 302 && !strings.Contains(c.request, "/empty") {
			t.Errorf("%q: a body of %d", c.request, len(body))
		}
	}
}

func checkFields(t *testing.T, request string, resp *http.Response, fields string) {
	t.Helper()
	if resp.Header.Get("Date") == "" {
		t.Errorf("%q: the tail is not there", request)
	}
	for _, f := range strings.Split(fields, "|") {
		if name, absent := strings.CutPrefix(f, "-"); absent {
			if v, ok := resp.Header[name]; ok {
				t.Errorf("%q: %s: %q is there", request, name, v)
			}
		} else if name, value, ok := strings.Cut(f, ": "); ok && strings.Join(resp.Header[name], "|") != value {
			t.Errorf("%q: %s: %q, want %q", request, name, resp.Header[name], value)
		}
	}
}

// TestSeveralRanges takes multipart/byteranges apart with the standard library.
func TestSeveralRanges(t *testing.T) {
	for _, c := range []struct{ ask, want string }{
		{"0-4,500-509", "0-4 500-509"},
		{"500-509,0-4", "500-509 0-4"},
		{"500-509,0-4,505-600", "500-600 0-4"},
		{"0-0,200-200,,400-400 , -1", "0-0 200-200 400-400 999-999"},
		{"0-0,500-500,-1,100-420", "0-0 100-500 999-999"},
		{"0-9,80-90", "0-90"},
		{"0-9,91-99", "0-9 91-99"},
		{manySpans(16, 90), "16"}, {manySpans(17, 85), ""}, {strings.Repeat("0-,", 65) + "1-", ""}, {strings.Repeat("0-,", 64), "0-999"},
	} {
		body := strings.Repeat(text, 2)[:1500]
		if !strings.HasPrefix(c.ask, manySpans(16, 85)) && !strings.HasPrefix(c.ask, manySpans(16, 90)) {
			body = text
		}
		small, err := Compile(&Site{Other: 0, Hosts: []Host{{Names: []string{"h"}, Resources: []Resource{
			{Path: "/", Status: 200, Type: "text/plain", Variants: []Variant{{Identity, "t", body}}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		resp, got := ask(t, small, "GET /\nRange: bytes="+c.ask)
		var spans []string
		switch typ, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
		case resp.StatusCode == 200:
		case typ == "multipart/byteranges":
			spans = parts(t, body, multipart.NewReader(strings.NewReader(got), params["boundary"]))
		default:
			spans = []string{part(t, body, resp.Header.Get("Content-Range"), got)}
		}
		if s := strings.Join(spans, " "); s != c.want && strconv.Itoa(len(spans)) != c.want {
			t.Errorf("%s: %d, %q, want %q", c.ask, resp.StatusCode, s, c.want)
		}
	}
}

// manySpans asks for n ranges of one octet, so many octets apart.
func manySpans(n, step int) string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i*step)+"-"+strconv.Itoa(i*step))
	}
	return strings.Join(all, ",")
}

func parts(t *testing.T, whole string, r *multipart.Reader) (spans []string) {
	t.Helper()
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return spans
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil || p.Header.Get("Content-Type") == "" {
			t.Fatal(err, p.Header)
		}
		spans = append(spans, part(t, whole, p.Header.Get("Content-Range"), string(b)))
	}
}

// part compares one range with the whole.
func part(t *testing.T, whole, field, got string) string {
	t.Helper()
	s := strings.TrimSuffix(strings.TrimPrefix(field, "bytes "), "/"+strconv.Itoa(len(whole)))
	first, last, _ := strings.Cut(s, "-")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || b < a || b >= len(whole) || whole[a:b+1] != got {
		t.Fatalf("Content-Range %q with %d octets", field, len(got))
	}
	return s
}

// TestNothingAllocates holds the common responses to it.
func TestNothingAllocates(t *testing.T) {
	table := sample(t)
	end := []byte(tail)
	for _, c := range []struct{ path, query, name, value string }{
		{"/", "", "Accept-Encoding", "gzip, br"}, {"/nowhere", "", "", ""}, {"/x/../a%20b/c", "", "", ""}, {"/dir", "q", "", ""},
		{"/", "", "If-None-Match", `"root"`}, {"/", "", "If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"},
		{"/", "", "Range", "bytes=5-9"}, {"/", "", "Range", "bytes=5000-9000"},
	} {
		var q Request
		var r Response
		method, host, path, query := []byte("GET"), []byte("www.example.org"), []byte(c.path), []byte(c.query)
		name, value := []byte(c.name), []byte(c.value)
		n := testing.AllocsPerRun(100, func() {
			q.Reset()
			q.Method, q.Host, q.Path, q.Query = method, host, path, query
			q.Field(name, value)
			table.Answer(&q, end, &r)
		})
		if n != 0 || len(r.Parts) == 0 {
			t.Errorf("%s %s: %v allocations", c.path, c.name, n)
		}
	}
}

// TestStrict has names that no host has answered with 421.
func TestStrict(t *testing.T) {
	table, err := Compile(&Site{Other: -1, Hosts: []Host{{Names: []string{"a"}, Resources: []Resource{{Path: "/", Status: 301, Location: "/x"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"a": 301, "A.": 301, "b": 421, "": 421, "a.a": 421, strings.Repeat("a", 300): 421} {
		if resp, _ := ask(t, table, "GET /\nHost: "+host); resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", host, resp.StatusCode, want)
		}
	}
	var r Response
	for _, status := range ErrorStatuses {
		if table.Fail(status, []byte(tail), &r); r.Status != status {
			t.Errorf("%d: %d", status, r.Status)
		}
	}
	if table.Fail(599, []byte(tail), &r); r.Status != 500 {
		t.Errorf("599: %d", r.Status)
	}
}

// TestCompileRefuses lists what cannot be in a table.
func TestCompileRefuses(t *testing.T) {
	one := func(r Resource) *Site {
		return &Site{Hosts: []Host{{Names: []string{"h"}, Resources: []Resource{r}}}}
	}
	file := Resource{Path: "/", Status: 200, Type: "text/plain", Variants: []Variant{{Identity, "x", "y"}}}
	with := func(change func(*Resource)) *Site {
		r := file
		r.Variants = append([]Variant(nil), file.Variants...)
		change(&r)
		return one(r)
	}
	if _, err := Compile(one(file)); err != nil {
		t.Fatal(err)
	}
	for i, s := range []*Site{
		{}, {Hosts: []Host{{}}, Other: 1}, {Hosts: []Host{{Names: []string{"a"}}, {Names: []string{"a"}}}},
		{Hosts: []Host{{Names: []string{"A"}}}}, {Hosts: []Host{{Resources: []Resource{file, file}}}},
		{Hosts: []Host{{Errors: []Resource{file}}}},
		with(func(r *Resource) { r.Path = "x" }), with(func(r *Resource) { r.Path = "/" + strings.Repeat("x", MaxPath) }),
		with(func(r *Resource) { r.Type = "a\r\nb: c" }), with(func(r *Resource) { r.Type = "" }),
		with(func(r *Resource) { r.Fields = "a: b" }), with(func(r *Resource) { r.Fields = "a: b\r\n\r\n" }),
		with(func(r *Resource) { r.Fields = "a b: c\r\n" }), with(func(r *Resource) { r.Fields = "a: b\nc: d\r\n" }),
		with(func(r *Resource) { r.Status = 299 }), with(func(r *Resource) { r.Modified = -1 }),
		with(func(r *Resource) { r.Variants[0].Tag = `"` }), with(func(r *Resource) { r.Variants[0].Tag = "" }),
		with(func(r *Resource) { r.Variants[0].Coding = Gzip }), with(func(r *Resource) { r.Variants = append(r.Variants, r.Variants[0]) }),
		with(func(r *Resource) { r.Status, r.Location = 301, "/x" }), one(Resource{Path: "/", Status: 301, Location: "/\r\n"}),
		one(Resource{Path: "/", Status: 301, Location: "/?a", KeepQuery: true}), one(Resource{Path: "/", Status: 301}),
	} {
		if _, err := Compile(s); err == nil {
			t.Errorf("case %d is compiled", i)
		}
	}
}

// BenchmarkAnswer is the common request.
func BenchmarkAnswer(b *testing.B) {
	table := sample(b)
	end := []byte(tail)
	var q Request
	var r Response
	method, host := []byte("GET"), []byte("www.example.org")
	fields := [][2][]byte{{[]byte("Accept-Encoding"), []byte("gzip, deflate, br, zstd")}, {[]byte("User-Agent"), []byte("Mozilla/5.0")}}
	for _, c := range []struct{ name, path string }{{"plain", "/plain"}, {"escaped", "/a%20b/c"}} {
		path := []byte(c.path)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				q.Reset()
				q.Method, q.Host, q.Path = method, host, path
				for _, f := range fields {
					q.Field(f[0], f[1])
				}
				table.Answer(&q, end, &r)
			}
		})
	}
}
