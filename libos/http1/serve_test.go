package http1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve serves connections whose answers say what was asked.
func serve(t *testing.T, l Limits) (dial func() net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				Serve(c, &l, time.Now, func(x *Exchange) {
					x.Type = "text/plain"
					x.Out = fmt.Appendf(nil, "%s %s %d %s", x.Method, x.Path, len(x.Body), x.Body)
					if string(x.Path) == "/none" {
						x.Status, x.Type, x.Out = 204, "", nil
					}
				}, func(x *Exchange, e *Error) { x.Status, x.Type, x.Out = e.Status, "text/plain", []byte(e.Reason) })
			}()
		}
	}()
	return func() net.Conn {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
}

var generous = Limits{Head: 1024, Body: 100, Idle: 10 * time.Second, Read: 10 * time.Second, Write: 10 * time.Second, Requests: 100}

// answers reads the statuses and bodies of responses until the connection ends or
// n have come.
func answers(t *testing.T, c net.Conn, n int) (all []string) {
	t.Helper()
	in := bufio.NewReader(c)
	for len(all) < n {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return append(all, "end")
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		all = append(all, fmt.Sprintf("%d %s", res.StatusCode, body))
		if res.Close {
			return append(all, "close")
		}
	}
	return all
}

func TestServe(t *testing.T) {
	get := head("GET /a HTTP/1.1", "Host: x")
	put := head("PUT /b HTTP/1.1", "Host: x", "Content-Length: 5")
	chunked := head("PUT /c HTTP/1.1", "Host: x", "Transfer-Encoding: chunked")
	for _, c := range []struct {
		what, in string
		want     []string
	}{
		{"three in a row", get + put + "hello" + get, []string{"200 GET /a 0 ", "200 PUT /b 5 hello", "200 GET /a 0 "}},
		{"chunked and on", chunked + "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" + get, []string{"200 PUT /c 5 hello", "200 GET /a 0 "}},
		{"no content", head("GET /none HTTP/1.1", "Host: x") + get, []string{"204 ", "200 GET /a 0 "}},
		{"close", head("GET /a HTTP/1.1", "Host: x", "Connection: close") + get, []string{"200 GET /a 0 ", "close"}},
		{"HTTP/1.0", head("GET /a HTTP/1.0") + get, []string{"200 GET /a 0 ", "close"}},
		{"a body that is too large", head("PUT /b HTTP/1.1", "Host: x", "Content-Length: 101") + get, []string{"413 " + ErrTooLarge.Reason, "close"}},
		{"chunks that are too large", chunked + "65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", []string{"413 " + ErrTooLarge.Reason, "close"}},
		{"a head that is too large", head("GET /a HTTP/1.1", "Host: x", "X: "+strings.Repeat("y", 1024)), []string{"431 " + ErrHead.Reason, "close"}},
		{"no end", "GET /a HTTP/1.1\r\nX: " + strings.Repeat("y", 1100), []string{"431 " + ErrHead.Reason, "close"}},
		{"nonsense behind a request", get + "nonsense\r\n\r\n" + get, []string{"200 GET /a 0 ", "400 " + ErrLine.Reason, "close"}},
		{"a request hidden in a body", put + "GET /" + get, []string{"200 PUT /b 5 GET /", "200 GET /a 0 "}},
		{"a chunk that is none", chunked + "x\r\n" + get, []string{"400 " + ErrChunk.Reason, "close"}},
	} {
		for _, step := range []int{1, 7, 100000} {
			conn := serve(t, generous)()
			go func() {
				for at := 0; at < len(c.in); at += step {
					conn.Write([]byte(c.in[at:min(at+step, len(c.in))]))
				}
			}()
			if got := answers(t, conn, len(c.want)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s in steps of %d: %q, want %q", c.what, step, got, c.want)
			}
		}
	}
}

func TestServeExpect(t *testing.T) {
	c := serve(t, generous)()
	io.WriteString(c, head("PUT /b HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: 100-continue"))
	in := bufio.NewReader(c)
	for range 2 { // 100 (Continue) and its empty line
		if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" && line != "\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	io.WriteString(c, "hello")
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(err, res)
	}
	c = serve(t, generous)()
	io.WriteString(c, head("PUT /b HTTP/1.1", "Host: x", "Content-Length: 500", "Expect: 100-continue"))
	if got := answers(t, c, 1); got[0] != "413 "+ErrTooLarge.Reason {
		t.Errorf("%q", got)
	}
}

// TestServeTimes: a client that says nothing, or goes on slowly, is left.
func TestServeTimes(t *testing.T) {
	l := generous
	l.Idle, l.Read, l.Requests = 300*time.Millisecond, 600*time.Millisecond, 3
	dial := serve(t, l)
	start := time.Now()
	if got := answers(t, dial(), 1); got[0] != "end" || time.Since(start) > 5*time.Second {
		t.Errorf("silence: %q after %v", got, time.Since(start))
	}
	slow := dial()
	go func() {
		for range 100 {
			if _, err := slow.Write([]byte("G")); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if got := answers(t, slow, 1); got[0] != "408 "+ErrTimeout.Reason {
		t.Errorf("slow: %q", got)
	}
	many := dial()
	io.WriteString(many, strings.Repeat(head("GET /a HTTP/1.1", "Host: x"), 5))
	if got := answers(t, many, 5); len(got) != 4 || got[3] != "close" {
		t.Errorf("many: %q", got)
	}
	half := dial()
	io.WriteString(half, "GET /a HT")
	half.(*net.TCPConn).CloseWrite()
	if got := answers(t, half, 1); got[0] != "end" {
		t.Errorf("half a request: %q", got)
	}
}
