package httpdiff

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Client2 asks one server over HTTP/2, with requests such as no library would send.
type Client2 struct {
	dial   func() (net.Conn, error)
	conn   net.Conn
	framer *http2.Framer
	next   uint32
	block  bytes.Buffer
	coder  *hpack.Encoder
}

// ErrReset is what Do returns when the server takes a request for malformed.
var ErrReset = errors.New("the stream was reset with PROTOCOL_ERROR")

// NewClient2 makes a client of the server that dial leads to.
func NewClient2(dial func() (net.Conn, error)) *Client2 { return &Client2{dial: dial} }

// Close ends the connection.
func (c *Client2) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Do sends a request, whose values are sent as they are, and reads the response.
func (c *Client2) Do(q *Request) (*Response, error) {
	if c.conn == nil {
		if err := c.open(); err != nil {
			return nil, err
		}
	}
	r, err := c.exchange(q)
	if err != nil && err != ErrReset {
		c.Close()
		err = fmt.Errorf("%s: %w", q, err)
	}
	return r, err
}

func (c *Client2) open() (err error) {
	if c.conn, err = c.dial(); err != nil {
		return err
	}
	c.framer = http2.NewFramer(c.conn, c.conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.next, c.coder = 1, hpack.NewEncoder(&c.block)
	if _, err = c.conn.Write([]byte(http2.ClientPreface)); err == nil {
		err = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	}
	if err == nil {
		err = c.framer.WriteWindowUpdate(0, 1<<30)
	}
	return err
}

func (c *Client2) exchange(q *Request) (*Response, error) {
	c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	c.block.Reset()
	field := func(name, value string) { c.coder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", q.Method)
	field(":scheme", "https")
	field(":authority", "example.org")
	field(":path", q.Target)
	for _, f := range q.Fields {
		field(strings.ToLower(f[0]), strings.Trim(f[1], " \t"))
	}
	id := c.next
	c.next += 2
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		return nil, err
	}
	return c.response(id)
}

func (c *Client2) response(id uint32) (*Response, error) {
	r := &Response{Header: http.Header{}}
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == ":status" {
					r.Status, err = strconv.Atoi(h.Value)
				} else {
					r.Header.Add(h.Name, h.Value)
				}
			}
		case *http2.DataFrame:
			r.Body = append(r.Body, f.Data()...)
		case *http2.RSTStreamFrame:
			if f.StreamID == id && f.ErrCode == http2.ErrCodeProtocol {
				return nil, ErrReset
			}
			return nil, fmt.Errorf("stream %d was reset: %v", f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("the server goes away: %v", f.ErrCode)
		}
		if err != nil {
			return nil, err
		}
		if h := f.Header(); (h.Type == http2.FrameHeaders || h.Type == http2.FrameData) && h.Flags.Has(http2.FlagDataEndStream) {
			return r, nil
		}
	}
}

// Versions puts n requests to one server over HTTP/1.1 and over HTTP/2, and returns
// those whose answers are not the same in all that does not belong to the version: a
// request that is malformed is answered with 400 over HTTP/1.1, and its stream may be
// reset over HTTP/2 (RFC 9113, section 8.1.1).
func Versions(one *Client, two *Client2, g *Generator, n int) (status map[int]int, different []string, err error) {
	status = map[int]int{}
	for range n {
		q := g.Next()
		for i, f := range q.Fields {
			if q.Fields[i][1], err = one.fill(q.Target, f[1]); err != nil {
				return nil, nil, err
			}
		}
		a, err := one.Do(q)
		if err != nil {
			return nil, nil, err
		}
		status[a.Status]++
		b, err := two.Do(q)
		switch {
		case err == ErrReset && a.Status == 400:
			status[0]++
		case err == ErrReset:
			different = append(different, fmt.Sprintf("%s: %d, and reset", q, a.Status))
		case err != nil:
			return nil, nil, err
		case a.Status != b.Status || !bytes.Equal(a.Body, b.Body) || !sameHeader(a.Header, b.Header):
			different = append(different, fmt.Sprintf("%s\n HTTP/1.1 %s\n HTTP/2 %s", q, a, b))
		}
	}
	return status, different, nil
}

// sameHeader compares all fields but Date, which may be the next second's, and
// Connection, which HTTP/2 does not have.
func sameHeader(a, b http.Header) bool {
	for name := range a {
		if name != "Date" && name != "Connection" && !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return false
		}
	}
	return a.Get("Date") != "" && b.Get("Date") != ""
}
