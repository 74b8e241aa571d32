package h2

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/site"
	"ampoule/libos/http1"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestFields has a strict decoder read heads: all names of the static table, others, and
// lengths around those where their form changes.
func TestFields(t *testing.T) {
	names := []string{"X-Frame-Options", "etag", "Accept-Ranges", "Access-Control-Allow-Origin", "Allow", "Cache-Control", "Content-Disposition",
		"Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Type", "Date", "ETag", "Last-Modified", "Link",
		"Location", "Retry-After", "Server", "Strict-Transport-Security", "Vary", strings.Repeat("N", 126), strings.Repeat("n", 127), strings.Repeat("n", 300)}
	var text string
	var want []string
	for i, n := range []int{0, 1, 126, 127, 128, 254, 255, 256, 16500} {
		for _, name := range names {
			value := strings.Repeat(string(rune('a'+i)), n)
			text += name + ": " + value + "\r\n"
			want = append(want, strings.ToLower(name)+"="+value)
		}
	}
	var got []string
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got = append(got, f.Name+"="+f.Value) })
	block := append([]byte{noTable}, appendFields(nil, []byte(text+"\r\n"))...)
	if _, err := d.Write(block); err != nil || d.Close() != nil {
		t.Fatal(err)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%.300q, want %.300q", got, want)
	}
	for _, name := range names[2:21] {
		if staticName([]byte(name)) == 0 {
			t.Errorf("%s is spelled out", name)
		}
	}
}

func TestStatus(t *testing.T) {
	for status := 100; status < 600; status++ {
		got := ""
		d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got += f.Name + f.Value })
		if _, err := d.Write(appendStatus(nil, status)); err != nil || d.Close() != nil || got != fmt.Sprintf(":status%d", status) {
			t.Errorf("%d: %s, %v", status, got, err)
		}
	}
}

// loop is a connection on which the same request comes again, once for each Read.
type loop struct {
	net.Conn
	next   func() []byte
	writes int
	wrote  int
}

func (l *loop) Read(b []byte) (int, error) {
	if p := l.next(); p != nil {
		return copy(b, p), nil
	}
	return 0, os.ErrClosed
}

func (l *loop) Write(b []byte) (int, error) {
	l.writes++
	l.wrote += len(b)
	return len(b), nil
}
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }

// ready answers every request with the same of a table, and allocates nothing itself.
type ready struct {
	table site.Table
	q     site.Request
}

var tail = []byte("Date: today\r\n\r\n")

func (h *ready) Answer(p *http1.Request, r *site.Response) {
	h.q.Reset()
	h.q.Method, h.q.Host, h.q.Path = p.Method, p.Host, p.Path
	h.table.Answer(&h.q, tail, r)
}

func (h *ready) Fail(status int, p *http1.Request, r *site.Response) {}

// TestNothingAllocates: a request whose fields the client has in its table allocates
// nothing; its head and body are written at once, by who reads.
func TestNothingAllocates(t *testing.T) {
	table, err := site.Compile(&site.Site{Hosts: []site.Host{{Names: []string{"example.org"}, Resources: []site.Resource{
		{Path: "/", Status: 200, Type: "text/plain", Variants: []site.Variant{{Tag: "t", Body: large[:1024]}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var block, frame bytes.Buffer
	coder, id := hpack.NewEncoder(&block), uint32(1)
	l := &loop{}
	x := newConn(&server{idle: time.Minute, read: time.Minute, write: time.Minute, spawn: func(func()) { t.Error("a second goroutine") }}, l, &ready{table: table})
	x.greeted, x.window = true, 1<<30
	framer := http2.NewFramer(&frame, nil)
	l.next = func() []byte { return frame.Bytes() }
	request := func() {
		if err := x.wait(); err != nil {
			t.Fatal(err)
		}
		if err := x.frames(); err != nil {
			t.Fatal(err)
		}
		x.flush()
	}
	head := func() {
		block.Reset()
		frame.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "example.org"}, {":path", "/"}, {"user-agent", "test"}} {
			coder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		id += 2
	}
	for range 10 {
		head()
		request()
	}
	l.writes, l.wrote = 0, 0
	if n := testing.AllocsPerRun(100, func() { head(); request() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if l.writes != 101 || l.wrote < 101*1024 || len(x.streams) != 0 {
		t.Errorf("%d writes of %d octets, %d streams", l.writes, l.wrote, len(x.streams))
	}
}
