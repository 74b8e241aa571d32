package httpd

import (
	"errors"
	"net"
	"time"
)

const (
	firstSize = 1024     // the buffer that an idle connection with a goroutine keeps
	pieceSize = 32 << 10 // of a response, for which the client has Config.Write
	// lingerSize and lingerTime bound what is taken from a client behind the last
	// response: closing with unread data would reset the connection, and the response
	// could be lost (RFC 9112, section 9.6).
	lingerSize = 64 << 10
	lingerTime = time.Second
)

// blocking is the sink of a connection with a goroutine.
type blocking struct {
	net.Conn
	timeout time.Duration
	buf     []byte
	secure  Conn // the same connection, if it is one with TLS
}

func (b *blocking) full() bool { return false }

// write writes short parts together, since each Write may be a record of TLS.
func (b *blocking) write(all [][]byte, _ bool) bool {
	b.buf = b.buf[:0]
	for _, p := range all {
		if len(p) < longPart && len(b.buf)+len(p) <= outSize {
			b.buf = append(b.buf, p...)
			continue
		}
		if !b.pieces(b.buf) || !b.pieces(p) {
			return false
		}
		b.buf = b.buf[:0]
	}
	return b.pieces(b.buf)
}

func (b *blocking) pieces(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), pieceSize)
		b.SetWriteDeadline(time.Now().Add(b.timeout))
		if _, err := b.Write(p[:n]); err != nil {
			return false
		}
		p = p[n:]
	}
	return true
}

// converse answers the requests of one connection in their order.
func (s *server) converse(c net.Conn) {
	w := &blocking{Conn: c, timeout: s.Write}
	w.secure, _ = c.(Conn)
	b, seen := make([]byte, 0, firstSize), 0
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
				s.refuse(w, 408)
			}
			return
		}
		x := s.take()
		done, now, o := s.answer(x, w, b, seen)
		s.give(x)
		if o == ends {
			linger(c)
		}
		if o != goesOn {
			return
		}
		seen = now
		if b = b[:copy(b, b[done:])]; len(b) == 0 {
			if cap(b) > firstSize {
				b = make([]byte, 0, firstSize)
			}
			w.buf = nil
			begun = false
			c.SetReadDeadline(time.Now().Add(s.Idle))
		} else if !begun || done > 0 {
			begun = true
			c.SetReadDeadline(time.Now().Add(s.Read))
		}
	}
}

// refuse sends an error and nothing more.
func (s *server) refuse(w *blocking, status int) {
	x := s.take()
	defer s.give(x)
	if s.fail(x, w, status) == ends {
		linger(w.Conn)
	}
}

// linger ends a connection behind its last response.
func linger(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	c.SetReadDeadline(time.Now().Add(lingerTime))
	var b [512]byte
	for left := lingerSize; left > 0; {
		n, err := c.Read(b[:])
		if err != nil {
			return
		}
		left -= n
	}
}
