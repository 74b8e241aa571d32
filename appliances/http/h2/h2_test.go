package h2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/http/httpd"
	"ampoule/libos/config/site"
	"ampoule/libos/http1"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var large = strings.Repeat("0123456789abcdef", 20<<10)

// handler answers from a table, and remembers the last request.
type handler struct {
	table site.Table
	last  string
}

func (h *handler) Answer(p *http1.Request, r *site.Response) {
	h.last = fmt.Sprintf("%s %s %s?%s", p.Method, p.Host, p.Path, p.Query)
	var q site.Request
	q.Method, q.Host, q.Path, q.Query = p.Method, p.Host, p.Path, p.Query
	for _, f := range p.Fields() {
		h.last += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		q.Field(f.Name, f.Value)
	}
	h.table.Answer(&q, []byte("Date: today\r\n\r\n"), r)
}

func (h *handler) Fail(status int, p *http1.Request, r *site.Response) {
	h.table.Refuse(status, &site.Request{Method: p.Method}, []byte("Date: today\r\n\r\n"), r)
}

// peer is a client that knows no manners.
type peer struct {
	*http2.Framer
	t     *testing.T
	conn  net.Conn
	coder *hpack.Encoder
	block bytes.Buffer
	h     *handler
	ended chan struct{} // the server's goroutine has
	next  uint32
}

func config() *httpd.Config {
	return &httpd.Config{Idle: 2 * time.Second, Read: 2 * time.Second, Write: 2 * time.Second}
}

// connect starts a server on one end of a connection and returns the other.
func connect(t *testing.T, cfg *httpd.Config, settings ...http2.Setting) *peer {
	t.Helper()
	one := func(path, body string) site.Resource {
		return site.Resource{Path: path, Status: 200, Type: "text/plain", Variants: []site.Variant{{Tag: "t", Body: body}}}
	}
	table, err := site.Compile(&site.Site{Hosts: []site.Host{{Names: []string{"example.org"}, Resources: []site.Resource{
		one("/", "hello"), one("/large", large), one("/empty", "")}}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.(*net.TCPConn).SetWriteBuffer(16 << 10)
	p := &peer{Framer: http2.NewFramer(c, c), t: t, conn: c, h: &handler{table: table}, ended: make(chan struct{}), next: 1}
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.coder = hpack.NewEncoder(&p.block)
	serve := Protocol{}.Open(cfg, func(f func()) { go f() })
	go func() {
		defer close(p.ended)
		defer s.Close()
		serve(s, p.h)
	}()
	t.Cleanup(func() {
		c.Close()
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second):
			t.Error("the connection does not end")
		}
	})
	c.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	p.WriteSettings(settings...)
	return p
}

// head encodes fields.
func (p *peer) head(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

// get asks for a path and returns the stream.
func (p *peer) get(path string, fields ...string) uint32 {
	id := p.next
	p.next += 2
	all := append([]string{":method", "GET", ":scheme", "https", ":authority", "example.org", ":path", path}, fields...)
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(all...), EndStream: true, EndHeaders: true})
	return id
}

// until reads frames until one satisfies f.
func (p *peer) until(f func(http2.Frame) bool) error {
	for {
		frame, err := p.ReadFrame()
		if err != nil {
			return err
		}
		if f(frame) {
			return nil
		}
	}
}

// response is the status and body of a stream; code is that of RST_STREAM.
func (p *peer) response(id uint32) (status, body string, code http2.ErrCode) {
	p.t.Helper()
	code = http2.ErrCodeNo
	err := p.until(func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				status = f.PseudoValue("status")
				return f.StreamEnded()
			}
		case *http2.DataFrame:
			if f.StreamID == id {
				body += string(f.Data())
				return f.StreamEnded()
			}
		case *http2.RSTStreamFrame:
			code = f.ErrCode
			return f.StreamID == id
		case *http2.GoAwayFrame:
			p.t.Errorf("GOAWAY: %v", f.ErrCode)
			return true
		}
		return false
	})
	if err != nil {
		p.t.Error(err)
	}
	return status, body, code
}

// goAway waits for the end of the connection, and returns why.
func (p *peer) goAway() (code http2.ErrCode, err error) {
	err = p.until(func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		if ok {
			code = g.ErrCode
		}
		return ok
	})
	return code, err
}

// TestRequests has requests that are good, and some that are malformed: those end
// their streams and no more.
func TestRequests(t *testing.T) {
	p := connect(t, config())
	good := []string{":method", "GET", ":scheme", "https", ":authority", "example.org", ":path", "/?a=b"}
	with := func(more ...string) []string { return append(append([]string{}, good...), more...) }
	swap := func(name, value string) []string {
		all := with()
		for i := 0; i < len(all); i += 2 {
			if all[i] == name {
				all[i+1] = value
			}
		}
		return all
	}
	for _, c := range []struct {
		fields []string
		want   string // "": malformed
	}{
		{good, "200"},
		{with("host", "example.org", "cookie", "a", "cookie", "b", "te", "trailers"), "200"},
		{[]string{":method", "GET", ":scheme", "https", ":path", "/", "host", "example.org"}, "200"},
		{[]string{":method", "GET", ":scheme", "https", ":path", "/"}, "400"},
		{[]string{":method", "CONNECT", ":authority", "example.org:1"}, "501"},
		{[]string{":method", "CONNECT", ":authority", "example.org:1", ":path", "/"}, ""},
		{swap(":path", "/none"), "404"},
		{swap(":path", ""), ""},
		{swap(":path", "*"), "400"},
		{swap(":path", "http://example.net/"), ""},
		{swap(":path", "/ x"), "400"},
		{swap(":path", "/\r\nx: y"), "400"},
		{swap(":path", "/"+strings.Repeat("x", 3000)), "414"},
		{swap(":authority", "a b"), "400"},
		{swap(":authority", "a@example.org"), "400"},
		{swap(":authority", "a\r\nx"), ""},
		{swap(":method", "BREW"), "501"},
		{swap(":method", "G T"), "400"},
		{with("host", "example.net"), ""},
		{with("X", "y"), ""},
		{with("x y", "z"), ""},
		{with("", "z"), ""},
		{with("x", "y\r\nz: a"), ""},
		{with("x", " y"), ""},
		{with("x", "y\x00"), ""},
		{with("connection", "close"), ""},
		{with("transfer-encoding", "chunked"), ""},
		{with("te", "gzip"), ""},
		{with("content-length", "1"), ""},
		{with("content-length", "0"), "200"},
		{with("content-length", "x"), "400"},
		{with("x", strings.Repeat("y", headSize)), "431"},
		{with(strings.Split(strings.Repeat("x,y,", 65), ",")[:130]...), "431"},
		{with(":path", "/"), ""},
		{with(":protocol", "x"), ""},
		{with("x", "y", ":path", "/"), ""},
	} {
		id := p.next
		p.next += 2
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(c.fields...), EndStream: true, EndHeaders: true})
		status, _, code := p.response(id)
		if status != c.want || c.want == "" && code != http2.ErrCodeProtocol {
			t.Errorf("%.100q: %s, %v; want %q", c.fields, status, code, c.want)
		}
	}
	// What could not be read is answered as its own method has it.
	send := func(fields []string) uint32 {
		id := p.next
		p.next += 2
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(fields...), EndStream: true, EndHeaders: true})
		return id
	}
	if _, body, _ := p.response(send(swap(":method", "HEAD"))); body != "" {
		t.Errorf("HEAD gets %q", body)
	}
	long := swap(":path", "/"+strings.Repeat("x", 9000))
	if status, body, _ := p.response(send(long)); status != "431" || body == "" {
		t.Errorf("a path without end: %s %q", status, body)
	}
	long[1] = "HEAD"
	if status, body, _ := p.response(send(long)); status != "431" || body != "" {
		t.Errorf("HEAD of a path without end: %s %q", status, body)
	}
	p.response(p.get("/?a=b"))
	if want := "GET example.org /?a=b host=example.org"; p.h.last != want {
		t.Errorf("the request is %q, want %q", p.h.last, want)
	}
}

// TestWindows asks for much at once, with small windows that change meanwhile.
func TestWindows(t *testing.T) {
	p := connect(t, config(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	bodies, open := map[uint32]int{}, 0
	for range mostStreams {
		bodies[p.get("/large")] = 0
		open++
	}
	refused, code := p.get("/large"), http2.ErrCodeNo
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	p.WriteWindowUpdate(0, 1<<30)
	err := p.until(func(f http2.Frame) bool {
		if d, ok := f.(*http2.DataFrame); ok {
			at := bodies[d.StreamID] % 16
			if n := min(len(d.Data()), 8); string(d.Data()[:n]) != large[at:at+n] {
				t.Errorf("stream %d at %d: %q", d.StreamID, bodies[d.StreamID], d.Data()[:n])
			}
			if bodies[d.StreamID] += len(d.Data()); d.StreamEnded() {
				open--
			}
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok && r.StreamID == refused {
			code = r.ErrCode
		}
		return open == 0
	})
	if code != http2.ErrCodeRefusedStream {
		t.Errorf("one more stream: %v", code)
	}
	for id, n := range bodies {
		if n != len(large) {
			t.Errorf("stream %d: %d octets", id, n)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestBodies sends bodies: short ones are waited for, long ones are stopped.
func TestBodies(t *testing.T) {
	p := connect(t, config())
	post := func(fields ...string) uint32 {
		id := p.next
		p.next += 2
		all := append([]string{":method", "POST", ":scheme", "https", ":authority", "example.org", ":path", "/"}, fields...)
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head(all...), EndHeaders: true})
		return id
	}
	id := post("content-length", "4")
	if status, _, _ := p.response(id); status != "405" {
		t.Errorf("a body: %s", status)
	}
	p.WriteData(id, false, []byte("ab"))
	p.WriteData(id, true, []byte("cd"))
	id = post("content-length", "4")
	p.response(id)
	p.WriteData(id, true, []byte("ab"))
	if _, _, code := p.response(id); code != http2.ErrCodeProtocol {
		t.Errorf("a body that is too short: %v", code)
	}
	for _, length := range []string{"1000000", ""} {
		if length == "" {
			id = post()
		} else {
			id = post("content-length", length)
		}
		if status, _, _ := p.response(id); status != "405" {
			t.Errorf("a long body: %s", status)
		}
		p.WriteData(id, false, make([]byte, 10000))
		if _, _, code := p.response(id); code != http2.ErrCodeNo {
			t.Errorf("a long body: %v", code)
		}
		p.WriteData(id, true, make([]byte, 5000)) // was on its way
	}
	if status, body, _ := p.response(p.get("/")); status != "200" || body != "hello" {
		t.Errorf("then: %s %s", status, body)
	}
}
