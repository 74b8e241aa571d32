package httpd

import (
	"errors"
	"net"
	"time"

	"ampoule/libos/http1"
)

const (
	// firstSize is the buffer that an idle connection keeps; headSize the longest head
	// of a request, for which it grows.
	firstSize = 1024
	headSize  = 8192
	// outSize is up to which small responses are put together before they are
	// written; a longer part is written from where it lies.
	outSize   = 4096
	longPart  = 1400
	pieceSize = 32 << 10 // of a long part, for which the client has Config.Write
	// lingerSize and lingerTime bound what is taken from a client behind the last
	// response: closing with unread data would reset the connection, and the response
	// could be lost (RFC 9112, section 9.6).
	lingerSize = 64 << 10
	lingerTime = time.Second
)

// converse answers the requests of one connection in their order.
func (s *server) converse(c net.Conn) {
	b := make([]byte, 0, firstSize)
	begun := false // there is a part of a request
	c.SetReadDeadline(time.Now().Add(s.Idle))
	for {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(2*cap(b), headSize)), b...)
		}
		n, err := c.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil && n == 0 {
			var late net.Error
			if begun && errors.As(err, &late) && late.Timeout() {
				s.refuse(c, 408)
			}
			return
		}
		done, ok := s.answer(c, b)
		if !ok {
			return
		}
		if b = b[:copy(b, b[done:])]; len(b) == 0 {
			if cap(b) > firstSize {
				b = make([]byte, 0, firstSize)
			}
			begun = false
			c.SetReadDeadline(time.Now().Add(s.Idle))
		} else if !begun || done > 0 {
			begun = true
			c.SetReadDeadline(time.Now().Add(s.Read))
		}
	}
}

// answer answers all requests that are whole in b, and returns how much of b they
// are; ok is false when the connection is over.
func (s *server) answer(c net.Conn, b []byte) (done int, ok bool) {
	x := s.take()
	defer s.give(x)
	for done < len(b) {
		x.parse.Reset()
		n, err := x.parse.Parse(b[done:])
		if err == nil && n == 0 {
			if len(b)-done < headSize {
				break // there is more to come
			}
			err = http1.ErrHead
		}
		if err != nil {
			status := 400
			if e, ok := err.(*http1.Error); ok {
				status = e.Status
			}
			s.Site.Fail(status, s.tail(true), &x.r)
			s.end(c, x)
			return done, false
		}
		done += n
		last := x.parse.Close || x.parse.Minor == 0 || x.parse.Length != 0
		s.choose(x, last)
		if last {
			s.end(c, x)
			return done, false
		}
		if !x.send(c, s.Write) {
			return done, false
		}
	}
	return done, x.flush(c, s.Write)
}

// choose has the site choose the response.
func (s *server) choose(x *exchange, last bool) {
	p, q := &x.parse, &x.q
	q.Reset()
	q.Method, q.Host, q.Path, q.Query = p.Method, p.Host, p.Path, p.Query
	for _, f := range p.Fields() {
		q.Field(f.Name, f.Value)
	}
	s.Site.Answer(q, s.tail(last), &x.r)
}

// refuse sends an error and nothing more.
func (s *server) refuse(c net.Conn, status int) {
	x := s.take()
	defer s.give(x)
	s.Site.Fail(status, s.tail(true), &x.r)
	s.end(c, x)
}

// end sends the last response of a connection.
func (s *server) end(c net.Conn, x *exchange) {
	if !x.send(c, s.Write) || !x.flush(c, s.Write) {
		return
	}
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	c.SetReadDeadline(time.Now().Add(lingerTime))
	for left := lingerSize; left > 0; {
		n, err := c.Read(x.out[:cap(x.out)])
		if err != nil {
			return
		}
		left -= n
	}
}

// send writes the response, or keeps it for flush where it is short.
func (x *exchange) send(c net.Conn, timeout time.Duration) bool {
	for _, p := range x.r.Parts {
		if len(p) < longPart {
			if len(x.out)+len(p) > cap(x.out) && !x.flush(c, timeout) {
				return false
			}
			x.out = append(x.out, p...)
			continue
		}
		if !x.flush(c, timeout) {
			return false
		}
		for len(p) > 0 {
			n := min(len(p), pieceSize)
			c.SetWriteDeadline(time.Now().Add(timeout))
			if _, err := c.Write(p[:n]); err != nil {
				return false
			}
			p = p[n:]
		}
	}
	return true
}

// flush writes what send kept.
func (x *exchange) flush(c net.Conn, timeout time.Duration) bool {
	if len(x.out) == 0 {
		return true
	}
	c.SetWriteDeadline(time.Now().Add(timeout))
	_, err := c.Write(x.out)
	x.out = x.out[:0]
	return err == nil
}
