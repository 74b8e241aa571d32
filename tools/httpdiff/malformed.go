package httpdiff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Malformed are requests that are none, or that two recipients on the way could read
// differently (RFC 9112, sections 2.2, 3, 5 and 6; RFC 9110, section 5.5), by what is
// wrong with them. A server refuses each and closes the connection, whatever follows.
func Malformed() map[string]string {
	all := map[string]string{}
	head := func(what string, lines ...string) { all[what] = strings.Join(lines, "\r\n") + "\r\n\r\n" }
	post := func(what string, fields ...string) {
		head(what, append([]string{"POST / HTTP/1.1", "Host: example.org"}, fields...)...)
	}
	get := func(what string, fields ...string) {
		head(what, append([]string{"GET / HTTP/1.1", "Host: example.org"}, fields...)...)
	}
	const te, cl = "Transfer-Encoding: ", "Content-Length: "
	for _, v := range []string{"+5", "-5", "0x5", "5 5", "5,5", "5, 6", "", "5a", "\"5\"", "18446744073709551621", "5;a", "1e1", "5.0"} {
		post("length "+v, cl+v)
	}
	post("two lengths", cl+"5", cl+"6")
	post("one length twice", cl+"5", cl+"5")
	post("length and coding", cl+"5", te+"chunked")
	post("coding and length", te+"chunked", cl+"5")
	for _, v := range []string{"xchunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "identity", "\"chunked\"", "chunked;a=b", "\vchunked", "chunked\x00", "", ",chunked", "chun ked"} {
		post("coding "+v, te+v)
	}
	post("two codings", te+"chunked", te+"identity")
	post("blank before the colon", "Transfer-Encoding : chunked")
	post("tab before the colon", "Content-Length\t: 5")
	post("folded coding", "Transfer-Encoding:", " chunked")
	post("folded length", "X: y", " Content-Length: 5")
	head("coding in HTTP/1.0", "POST / HTTP/1.0", "Host: example.org", te+"chunked")
	get("line without a colon", "Content-Length 5")
	get("empty name", ": x")
	get("second host", "Host: example.org")
	get("other second host", "Host: example.net")
	get("expectation", "Expect: 200-ok")
	head("no host", "GET / HTTP/1.1")
	for _, v := range []string{"a b", "me@a", "a/b", "a, b", "a:99999", "a:b", "[::1", "a\tb", "a?b", "a#b", "a\\b"} {
		head("host "+v, "GET / HTTP/1.1", "Host: "+v)
	}
	for _, line := range []string{"GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1", "GET / HTTP/1.10",
		"GET / http/1.1", "GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "GET / HTTP/1,1", "GET /", "GET", "GET HTTP/1.1", "GET a HTTP/1.1",
		"GET /a b HTTP/1.1", "GET /a#b HTTP/1.1", "GET /\u00e9 HTTP/1.1", "GET ftp://a/ HTTP/1.1", "GET http://me@a/ HTTP/1.1", "GET http:///x HTTP/1.1",
		"GET * HTTP/1.1", "CONNECT a:443 HTTP/1.1", "G[T / HTTP/1.1", "PRI * HTTP/2.0", "GET / HTTP/1.1, HTTP/1.1"} {
		head("line "+line, line, "Host: example.org")
	}
	all["lines that end in LF"] = "GET / HTTP/1.1\nHost: example.org\n\n\r\n\r\n"
	all["one line that ends in LF"] = "GET / HTTP/1.1\r\nHost: example.org\nX: y\r\n\r\n"
	all["CR within a line"] = "GET / HTTP/1.1\r\nHost: example.org\rX: y\r\n\r\n"
	all["CR CR LF"] = "GET / HTTP/1.1\r\r\nHost: example.org\r\n\r\n"
	all["empty lines in front"] = "\r\n\r\nGET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
	all["TLS"] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"
	for c := range 256 {
		if b := string([]byte{byte(c)}); c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			get(fmt.Sprintf("octet %#02x in a value", c), "X: a"+b+"b")
			get(fmt.Sprintf("octet %#02x in a name", c), "X"+b+": a")
			head(fmt.Sprintf("octet %#02x in a target", c), "GET /a"+b+"b HTTP/1.1", "Host: example.org")
		}
	}
	get("too many fields", strings.Split(strings.Repeat("X: y\n", 200)+"X: y", "\n")...)
	get("too long a field", "X: "+strings.Repeat("y", 100_000))
	head("too long a target", "GET /"+strings.Repeat("y", 5000)+" HTTP/1.1", "Host: example.org")
	return all
}

// smuggled follows each malformed request. Nobody must answer it.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: example.org\r\n\r\n"

// Refuses sends a malformed request and another behind it, and says what is wrong with
// how the server takes that: there is at most one response, an error, and then the end.
func Refuses(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr, request string) error {
	c, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(c, request+smuggled) // the server may end it
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return errors.New("neither a response nor the end")
	case err != nil:
		return nil // closed
	case resp.StatusCode < 400:
		return fmt.Errorf("it is answered with %d", resp.StatusCode)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	b, err := io.ReadAll(in)
	if errors.As(err, &late) && late.Timeout() {
		return errors.New("the connection goes on")
	}
	if len(b) > 0 {
		return fmt.Errorf("there is more behind the response: %.80q", b)
	}
	return nil
}
