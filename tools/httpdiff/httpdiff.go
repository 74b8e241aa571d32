// Package httpdiff compares the responses of compiled sites with nginx's: the same
// requests to both, over loopback, and each difference is one that accepted.go names
// with its reason, or a failure.
package httpdiff

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Request is one request. In values "{tag}", "{tag gzip}" and "{tag br}" stand for
// the entity tags that the server asked has for the path.
type Request struct {
	Method, Target string
	Fields         [][2]string
}

// Get returns the values of a field, joined.
func (q *Request) Get(name string) string {
	var all []string
	for _, f := range q.Fields {
		if strings.EqualFold(f[0], name) {
			all = append(all, f[1])
		}
	}
	return strings.Join(all, ", ")
}

// Has says whether a field is there.
func (q *Request) Has(name string) bool {
	return slices.ContainsFunc(q.Fields, func(f [2]string) bool { return strings.EqualFold(f[0], name) })
}

func (q *Request) String() string {
	s := fmt.Sprintf("%s %q", q.Method, q.Target)
	for _, f := range q.Fields {
		s += fmt.Sprintf("\n    %s: %s", f[0], f[1])
	}
	return s
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

func (r *Response) String() string {
	return fmt.Sprintf("%d, %d bytes, %v", r.Status, len(r.Body), r.Header)
}

// Client asks one server, over one connection for as long as that lasts.
type Client struct {
	dial func() (net.Conn, error)
	conn net.Conn
	in   *bufio.Reader
	tags map[string]string // by path and coding
}

// NewClient makes a client of the server at an address.
func NewClient(addr string) *Client {
	return NewDialClient(func() (net.Conn, error) { return net.Dial("tcp", addr) })
}

// NewDialClient makes a client of the server that dial leads to.
func NewDialClient(dial func() (net.Conn, error)) *Client {
	return &Client{dial: dial, tags: map[string]string{}}
}

// Close ends the connection.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Do sends a request and reads the response.
func (c *Client) Do(q *Request) (*Response, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: example.org\r\n", q.Method, q.Target)
	for _, f := range q.Fields {
		value, err := c.fill(q.Target, f[1])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], value)
	}
	b.WriteString("\r\n")
	r, err := c.exchange(q.Method, b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	return r, nil
}

// fill puts entity tags into a value.
func (c *Client) fill(target, value string) (string, error) {
	for _, coding := range []string{"", " gzip", " br"} {
		mark := "{tag" + coding + "}"
		if !strings.Contains(value, mark) {
			continue
		}
		tag, ok := c.tags[target+coding]
		if !ok {
			r, err := c.exchange("HEAD", fmt.Appendf(nil, "HEAD %s HTTP/1.1\r\nHost: example.org\r\nAccept-Encoding:%s\r\n\r\n", target, coding))
			if err != nil {
				return "", err
			}
			if tag = r.Header.Get("ETag"); tag == "" {
				tag = `"none"`
			}
			c.tags[target+coding] = tag
		}
		value = strings.ReplaceAll(value, mark, tag)
	}
	return value, nil
}

// exchange sends a request over the connection there is, or over a new one when the
// server has ended it meanwhile.
func (c *Client) exchange(method string, request []byte) (*Response, error) {
	if c.conn != nil {
		if r, err := c.try(method, request); err == nil {
			return r, nil
		}
	}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return c.try(method, request)
}

func (c *Client) try(method string, request []byte) (*Response, error) {
	c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.conn.Write(request); err != nil {
		c.Close()
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.Close()
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Close || err != nil {
		c.Close()
	}
	return &Response{resp.StatusCode, resp.Header, body}, err
}
