package http1

import (
	"errors"
	"io"
	"net"
	"time"
)

// Limits bounds what one connection may take.
type Limits struct {
	Head, Body int           // bytes of a request
	Idle       time.Duration // from one request to the first byte of the next
	Read       time.Duration // for one request, from its first byte to its last
	Write      time.Duration // for one response
	Requests   int           // on one connection
}

// Exchange is one request, whole, with the response that a Handler fills in.
type Exchange struct {
	Request
	Body []byte // of the request; valid until the Handler returns

	Status int    // of the response; 200 unless it is set
	Type   string // of Out; empty: there is none
	Out    []byte // the response's body
	fields []byte
	Now    time.Time // when the request was complete
}

// Set adds a header field to the response.
func (x *Exchange) Set(name, value string) { x.fields = AppendField(x.fields, name, value) }

// Handler answers a request. It may block.
type Handler func(*Exchange)

// Serve answers the requests of one connection, one after the other, until the
// client ends it, breaks the rules or a limit. Whole requests and responses are
// held in memory, so it is for small ones. refuse makes the response to what is no
// request. Serve does not close conn, and returns why it ended; io.EOF says that
// the client had no more to ask.
func Serve(conn net.Conn, l *Limits, now func() time.Time, h Handler, refuse func(*Exchange, *Error)) error {
	c := &server{conn: conn, limits: l, now: now}
	for range l.Requests {
		err := c.read()
		c.x.Now = now()
		var bad *Error
		switch {
		case errors.As(err, &bad):
			c.x.clear()
			c.x.Close = true
			refuse(&c.x, bad)
		case err != nil:
			return err
		default:
			h(&c.x)
		}
		c.served++
		if err := c.respond(); err != nil {
			return err
		}
		if c.x.Close || c.served == l.Requests {
			c.linger()
			return bad.or(io.EOF)
		}
	}
	return io.EOF
}

func (e *Error) or(other error) error {
	if e == nil {
		return other
	}
	return e
}

// server is a connection.
type server struct {
	conn   net.Conn
	limits *Limits
	now    func() time.Time
	x      Exchange
	in     []byte // received and not yet done with
	body   []byte
	out    []byte
	served int
}

// read reads the next request, whole.
func (c *server) read() error {
	c.x.Reset()
	c.x.Status, c.x.Type, c.x.Out, c.x.fields, c.x.Body = 200, "", nil, c.x.fields[:0], nil
	if len(c.in) == 0 {
		c.in = nil // an idle connection holds no buffer
		c.conn.SetReadDeadline(time.Now().Add(c.limits.Idle))
		first := make([]byte, 1024)
		n, err := c.conn.Read(first)
		if err != nil {
			return err
		}
		c.in = first[:n]
	}
	c.conn.SetReadDeadline(time.Now().Add(c.limits.Read))
	for {
		n, err := c.x.Parse(c.in)
		if n > c.limits.Head || n == 0 && len(c.in) >= c.limits.Head {
			return ErrHead
		}
		if err != nil {
			return err
		}
		if n > 0 {
			// The fields of the request stay in what is left behind.
			c.in = c.in[n:]
			return c.readBody()
		}
		if err := c.more(); err != nil {
			return err
		}
	}
}

// more receives more of a request.
func (c *server) more() error {
	if len(c.in) == cap(c.in) {
		c.in = append(make([]byte, 0, 2*max(len(c.in), 512)), c.in...)
	}
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return ErrTimeout
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readBody reads the body of a request whose head has been read.
func (c *server) readBody() error {
	r := &c.x.Request
	if r.Length > int64(c.limits.Body) {
		return ErrTooLarge
	}
	if r.Length == 0 {
		return nil
	}
	if r.Expect && len(c.in) == 0 {
		c.conn.SetWriteDeadline(time.Now().Add(c.limits.Write))
		if _, err := c.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return err
		}
	}
	// The request's fields point into the buffer of its head, so the body gets its
	// own.
	c.in = append([]byte(nil), c.in...)
	if r.Length == Chunked {
		return c.readChunks()
	}
	for int64(len(c.in)) < r.Length {
		if err := c.more(); err != nil {
			return err
		}
	}
	c.x.Body, c.in = c.in[:r.Length:r.Length], c.in[r.Length:]
	return nil
}

// readChunks reads a chunked body.
func (c *server) readChunks() error {
	var d Chunks
	c.body = c.body[:0]
	for {
		data, n, err := d.Next(c.in)
		if err != nil {
			return err
		}
		if len(c.body)+len(data) > c.limits.Body {
			return ErrTooLarge
		}
		c.body = append(c.body, data...)
		c.in = c.in[n:]
		switch {
		case d.Done():
			c.x.Body = c.body
			return nil
		case len(c.in) == 0:
			c.in = c.in[:0:0]
			if err := c.more(); err != nil {
				return err
			}
		}
	}
}

// respond sends the response.
func (c *server) respond() error {
	x := &c.x
	if c.served >= c.limits.Requests {
		x.Close = true
	}
	b := AppendDate(AppendStatus(c.out[:0], x.Status), x.Now)
	if x.Type != "" {
		b = AppendField(b, "Content-Type", x.Type)
	}
	b = append(b, x.fields...)
	if x.Status != 204 { // RFC 9110, section 8.6
		b = AppendLength(b, len(x.Out))
	}
	if x.Close {
		b = AppendField(b, "Connection", "close")
	}
	b = append(b, crlf...)
	if string(x.Method) != "HEAD" {
		b = append(b, x.Out...)
	}
	c.out = nil
	if cap(b) <= 4096 {
		c.out = b[:0]
	}
	c.conn.SetWriteDeadline(time.Now().Add(c.limits.Write))
	_, err := c.conn.Write(b)
	return err
}

// linger takes what the client still sends, for a moment: closing a connection
// with unread data would reset it, and the response could be lost (section 9.6).
func (c *server) linger() {
	if w, ok := c.conn.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	c.conn.SetReadDeadline(time.Now().Add(min(time.Second, c.limits.Read)))
	var buf [512]byte
	for range 2 * c.limits.Body / len(buf) {
		if _, err := c.conn.Read(buf[:]); err != nil {
			return
		}
	}
}
