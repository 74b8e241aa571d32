package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// head is a request as lines, put together with CR LF.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Request // but for fields
	}{
		{head("GET / HTTP/1.1", "Host: a"), Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Minor: 1}},
		{"\r\n" + head("GET / HTTP/1.1", "Host: a"), Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Minor: 1}},
		{head("GET /a/b?c=d?e HTTP/1.1", "hOsT:\t a:8080 \t"), Request{Method: []byte("GET"), Path: []byte("/a/b"), Query: []byte("c=d?e"), Host: []byte("a:8080"), Minor: 1}},
		{head("GET http://b.example:80/x HTTP/1.1", "Host: a"), Request{Method: []byte("GET"), Path: []byte("/x"), Host: []byte("b.example:80"), Minor: 1}},
		{head("GET https://b HTTP/1.1", "Host: b"), Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("b"), Minor: 1}},
		{head("GET https://b?q HTTP/1.1", "Host: b"), Request{Method: []byte("GET"), Path: []byte("/"), Query: []byte("q"), Host: []byte("b"), Minor: 1}},
		{head("OPTIONS * HTTP/1.1", "Host: [2001:db8::1]:443"), Request{Method: []byte("OPTIONS"), Path: []byte("*"), Host: []byte("[2001:db8::1]:443"), Minor: 1}},
		{head("GET / HTTP/1.1", "Host:"), Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte(""), Minor: 1}},
		{head("GET / HTTP/1.0"), Request{Method: []byte("GET"), Path: []byte("/"), Close: true}},
		{head("GET / HTTP/1.0", "Connection: Keep-Alive"), Request{Method: []byte("GET"), Path: []byte("/")}},
		{head("PUT /x HTTP/1.1", "Host: a", "Content-Length: 12", "Expect: 100-Continue"), Request{Method: []byte("PUT"), Path: []byte("/x"), Host: []byte("a"), Minor: 1, Length: 12, Expect: true}},
		{head("PUT /x HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked", "Connection: x, close"), Request{Method: []byte("PUT"), Path: []byte("/x"), Host: []byte("a"), Minor: 1, Length: Chunked, Close: true}},
	} {
		for n := range c.in { // however it comes
			var r Request
			if got, err := r.Parse([]byte(c.in[:n])); got != 0 || err != nil {
				t.Fatalf("%q: %d, %v", c.in[:n], got, err)
			}
		}
		var r Request
		for n := range len(c.in) - 1 {
			r.Parse([]byte(c.in[:n]))
		}
		n, err := r.Parse([]byte(c.in + "GET"))
		if err != nil || n != len(c.in) {
			t.Errorf("%q: %d, %v", c.in, n, err)
			continue
		}
		if string(r.Method) != string(c.want.Method) || string(r.Path) != string(c.want.Path) || string(r.Query) != string(c.want.Query) ||
			string(r.Host) != string(c.want.Host) || r.Minor != c.want.Minor || r.Length != c.want.Length || r.Close != c.want.Close || r.Expect != c.want.Expect {
			t.Errorf("%q: %+v", c.in, r)
		}
	}
}

// smuggled are requests that somebody on the way may read differently, and others
// that are none. All are refused.
var smuggled = []struct {
	what, in string
	want     *Error
}{
	{"two lengths", head("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Content-Length: 6"), ErrLength},
	{"a length twice", head("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Content-Length: 5"), ErrLength},
	{"a list of lengths", head("POST / HTTP/1.1", "Host: a", "Content-Length: 5, 5"), ErrLength},
	{"a length with a sign", head("POST / HTTP/1.1", "Host: a", "Content-Length: +5"), ErrLength},
	{"a negative length", head("POST / HTTP/1.1", "Host: a", "Content-Length: -1"), ErrLength},
	{"a length in hex", head("POST / HTTP/1.1", "Host: a", "Content-Length: 0x5"), ErrLength},
	{"a length with a blank", head("POST / HTTP/1.1", "Host: a", "Content-Length: 1 0"), ErrLength},
	{"no length in its field", head("POST / HTTP/1.1", "Host: a", "Content-Length:"), ErrLength},
	{"a length beyond 63 bits", head("POST / HTTP/1.1", "Host: a", "Content-Length: 18446744073709551621"), ErrLength},
	{"length and coding", head("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"), ErrLength},
	{"coding and length", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 5"), ErrLength},
	{"two codings", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), ErrLength},
	{"a list of codings", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), ErrCoding},
	{"an unknown coding", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"), ErrCoding},
	{"identity", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"), ErrCoding},
	{"a coding in quotes", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \"chunked\""), ErrCoding},
	{"a coding with a parameter", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked;a=b"), ErrCoding},
	{"a coding behind a vertical tab", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \vchunked"), ErrField},
	{"a coding in HTTP/1.0", head("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), ErrLength},
	{"a blank before the colon", head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"), ErrField},
	{"a tab before the colon", head("POST / HTTP/1.1", "Host: a", "Content-Length\t: 5"), ErrField},
	{"a folded line", head("GET / HTTP/1.1", "Host: a", "X: y", " Content-Length: 5"), ErrField},
	{"a folded first line", head("GET / HTTP/1.1", " Host: a"), ErrField},
	{"a line without a colon", head("GET / HTTP/1.1", "Host: a", "X"), ErrField},
	{"an empty name", head("GET / HTTP/1.1", "Host: a", ": x"), ErrField},
	{"a name that is no token", head("GET / HTTP/1.1", "Host: a", "X[y]: x"), ErrField},
	{"NUL in a value", head("GET / HTTP/1.1", "Host: a", "X: a\x00b"), ErrField},
	{"NUL in a name", head("GET / HTTP/1.1", "Host: a", "X\x00: b"), ErrField},
	{"DEL in a value", head("GET / HTTP/1.1", "Host: a", "X: a\x7f"), ErrField},
	{"lines that end in LF", "GET / HTTP/1.1\nHost: a\n\r\n\r\n", ErrEnd},
	{"one line that ends in LF", "GET / HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\n", ErrEnd},
	{"CR within a line", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", ErrEnd},
	{"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", ErrEnd},
	{"two empty lines in front", "\r\n\r\n" + head("GET / HTTP/1.1", "Host: a"), ErrEnd},
	{"no host", head("GET / HTTP/1.1"), ErrHost},
	{"two hosts", head("GET / HTTP/1.1", "Host: a", "Host: a"), ErrHost},
	{"a host with a user", head("GET / HTTP/1.1", "Host: me@a"), ErrHost},
	{"a host with a path", head("GET / HTTP/1.1", "Host: a/b"), ErrHost},
	{"a list of hosts", head("GET / HTTP/1.1", "Host: a, b"), ErrHost},
	{"a host with a port that is none", head("GET / HTTP/1.1", "Host: a:99999"), ErrHost},
	{"a bad address", head("GET / HTTP/1.1", "Host: [::1"), ErrHost},
	{"HTTP/2.0", head("GET / HTTP/2.0", "Host: a"), ErrVersion},
	{"HTTP/1.2", head("GET / HTTP/1.2", "Host: a"), ErrVersion},
	{"HTTP/1.10", head("GET / HTTP/1.10", "Host: a"), ErrLine},
	{"http/1.1", head("GET / http/1.1", "Host: a"), ErrLine},
	{"HTTP/0.9", "GET /\r\n\r\n", ErrLine},
	{"two blanks", head("GET  / HTTP/1.1", "Host: a"), ErrTarget},
	{"two blanks before the version", head("GET /  HTTP/1.1", "Host: a"), ErrTarget},
	{"a tab", head("GET\t/ HTTP/1.1", "Host: a"), ErrLine},
	{"a blank in front", head(" GET / HTTP/1.1", "Host: a"), ErrLine},
	{"a blank behind", head("GET / HTTP/1.1 ", "Host: a"), ErrLine},
	{"a target with a blank", head("GET /a b HTTP/1.1", "Host: a"), ErrTarget},
	{"a target with a fragment", head("GET /a#b HTTP/1.1", "Host: a"), ErrTarget},
	{"a target without a slash", head("GET a HTTP/1.1", "Host: a"), ErrTarget},
	{"a target of another scheme", head("GET ftp://a/ HTTP/1.1", "Host: a"), ErrTarget},
	{"a target with a user", head("GET http://me@a/ HTTP/1.1", "Host: a"), ErrTarget},
	{"an asterisk for GET", head("GET * HTTP/1.1", "Host: a"), ErrTarget},
	{"UTF-8 in the target", head("GET /\u00e9 HTTP/1.1", "Host: a"), ErrTarget},
	{"CONNECT", head("CONNECT a:443 HTTP/1.1", "Host: a"), ErrTunnel},
	{"a method that is no token", head("G(T / HTTP/1.1", "Host: a"), ErrLine},
	{"a long method", head(strings.Repeat("A", 33)+" / HTTP/1.1", "Host: a"), ErrLine},
	{"a long target", head("GET /"+strings.Repeat("a", 2048)+" HTTP/1.1", "Host: a"), ErrLong},
	{"many fields", head("GET / HTTP/1.1", strings.TrimSuffix(strings.Repeat("X: y\r\n", 65), "\r\n")), ErrFields},
	{"an expectation", head("GET / HTTP/1.1", "Host: a", "Expect: miracles"), ErrExpect},
	{"a connection option that is none", head("GET / HTTP/1.1", "Host: a", "Connection: a b"), ErrField},
	{"a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", ErrEnd},
}

func TestSmuggling(t *testing.T) {
	for _, c := range smuggled {
		var r Request
		n, err := r.Parse([]byte(c.in))
		if err != error(c.want) && !(c.want == ErrEnd && err == ErrLine) {
			t.Errorf("%s: %d, %v, want %v", c.what, n, err, c.want)
		}
	}
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		in, want string
		bad      bool
	}{
		{"0\r\n\r\n", "", false},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", false},
		{"5;a=b;c=\"d\"\r\nhello\r\n00006\r\n world\r\n0;x\r\nTrailer: y\r\nZ: 1\r\n\r\n", "hello world", false},
		{"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", false},
		{"\r\n", "", true},
		{"5\nhello\r\n0\r\n\r\n", "", true},
		{"5\r\nhello0\r\n\r\n", "", true},
		{"5\r\nhello\n0\r\n\r\n", "", true},
		{"5 \r\nhello\r\n0\r\n\r\n", "", true},
		{" 5\r\nhello\r\n0\r\n\r\n", "", true},
		{"0x5\r\nhello\r\n0\r\n\r\n", "", true},
		{"-1\r\nhello\r\n0\r\n\r\n", "", true},
		{"10000000000000005\r\nhello\r\n0\r\n\r\n", "", true},
		{"5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n", "", true},
		{"5;\x00\r\nhello\r\n0\r\n\r\n", "", true},
		{"0\r\n" + strings.Repeat("A: b\r\n", 100) + "\r\n", "", true},
		{"0\r\nA: b\nC: d\r\n\r\n", "", true},
		{"0\r\n\rx", "", true},
	} {
		for step := 1; step <= len(c.in); step++ {
			var d Chunks
			var got []byte
			var err error
			rest := []byte(c.in + "NEXT")
			window := 0
			for err == nil && !d.Done() {
				if window = min(window+step, len(rest)); window == 0 {
					t.Fatalf("%q: no end", c.in)
				}
				var data []byte
				var n int
				data, n, err = d.Next(rest[:window])
				got = append(got, data...)
				rest, window = rest[n:], window-n
			}
			if (err != nil) != c.bad || !c.bad && (string(got) != c.want || string(rest) != "NEXT") {
				t.Errorf("%q in steps of %d: %q, %v, rest %q", c.in, step, got, err, rest)
				break
			}
		}
	}
}

// TestAllocations: a request costs none.
func TestAllocations(t *testing.T) {
	in := []byte(head("GET /v1/status?x=y HTTP/1.1", "Host: a.example", "User-Agent: curl/8", "Accept: */*", "Connection: keep-alive", "If-None-Match: \"x\""))
	out := make([]byte, 0, 1024)
	now := time.Now()
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		r.Reset()
		if _, err := r.Parse(in); err != nil {
			t.Fatal(err)
		}
		r.Get("if-none-match")
		AppendField(AppendLength(AppendDate(AppendStatus(out, 200), now), 17), "Content-Type", "text/plain")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestResponse(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	b := AppendDate(AppendStatus(nil, 404), at)
	b = AppendField(AppendLength(b, 3), "X", "a\r\nY: b\x00\x7fc")
	b = append(b, "\r\nxyz"...)
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil || res.StatusCode != 404 || res.Header.Get("Date") != at.UTC().Format(http.TimeFormat) || res.ContentLength != 3 || res.Header.Get("X") != "aY: bc" || len(res.Header) != 3 {
		t.Errorf("%v %+v", err, res)
	}
	for code := 100; code < 600; code++ {
		if r := Reason(code); r != "Status" && r != http.StatusText(code) && code != 413 && code != 414 && code != 416 && code != 422 {
			t.Errorf("%d is %q, not %q", code, r, http.StatusText(code))
		}
	}
}

// TestClasses: the table of octets is what the slow way has.
func TestClasses(t *testing.T) {
	if len(classes) != 256 {
		t.Fatalf("%d octets", len(classes))
	}
	for c := range 256 {
		one := []byte{byte(c)}
		var r Request
		r.Method = []byte("GET")
		_, ferr := field(append([]byte("x:a"), byte(c), 'a'))
		for class, want := range map[uint8]bool{
			inToken: token(one), inTarget: r.target(append([]byte("/"), one...)) == nil,
			inValue: ferr == nil && c != '\n' && c != '\r', inHost: c != ':' && host(one),
		} {
			if got := classes[c]&class != 0; got != want {
				t.Errorf("%q: class %d is %t", one, class, got)
			}
		}
	}
}

// FuzzRequest: what is taken means the same to package net/http, if that takes it
// too, and nothing makes the parser panic or depend on how the bytes came.
func FuzzRequest(f *testing.F) {
	for _, c := range smuggled {
		f.Add([]byte(c.in), uint8(1))
	}
	f.Add([]byte(head("PUT /x?y HTTP/1.1", "Host: a", "Content-Length: 2")+"ab"), uint8(7))
	f.Add([]byte(head("PUT /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+"2\r\nab\r\n0\r\n\r\n"), uint8(7))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		var r, parts, full Request
		n, err := r.Parse(in)
		if fn, ferr := full.full(in); fn != n || ferr != err || n > 0 && err == nil && fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", full) {
			t.Fatalf("%d, %v %+v; by the full parser %d, %v %+v", n, err, &r, fn, ferr, &full)
		}
		got, perr := 0, error(nil)
		for at := 0; at < len(in) && got == 0 && perr == nil; {
			at = min(at+1+int(step), len(in))
			got, perr = parts.Parse(in[:at])
		}
		if err == nil && (got != n || perr != nil) {
			t.Fatalf("whole: %d, %v; in parts: %d, %v", n, err, got, perr)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status < 400 {
				t.Fatalf("%v", err)
			}
			return
		}
		if n == 0 {
			return
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return // it has other limits
		}
		length := r.Length
		if length != std.ContentLength {
			t.Errorf("length %d, net/http has %d", length, std.ContentLength)
		}
		if string(r.Method) != std.Method || std.ProtoMinor != r.Minor {
			t.Errorf("%s 1.%d, net/http has %s 1.%d", r.Method, r.Minor, std.Method, std.ProtoMinor)
		}
		if string(r.Host) != std.Host {
			t.Errorf("host %q, net/http has %q", r.Host, std.Host)
		}
	})
}
