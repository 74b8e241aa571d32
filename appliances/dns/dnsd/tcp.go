package dnsd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/format"
)

const (
	// readBuffer is what an idle connection keeps.
	readBuffer = 512
	// maxQuery is the longest query over TCP. Longer ones end the connection:
	// no question that we can answer needs that much.
	maxQuery = 4096
	// flushSize is how many bytes of answers to pipelined queries are put
	// together before they are written.
	flushSize = 8192
)

// conn is one TCP connection. Only its own goroutine reads and writes it.
type conn struct {
	net.Conn
	client answer.Client
	active atomic.Int64 // when the last message was complete, ns since 1970
	in     *bufio.Reader
	query  []byte
	out    []byte // answers not yet written, each behind its length
}

// connections takes connections until the listener is closed.
func (s *server) connections(ctx context.Context) error {
	for failures := 0; ; {
		nc, err := s.tcp.Accept()
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("dnsd: tcp: %w", err)
			}
			continue
		}
		failures = 0
		c := &conn{Conn: nc, client: client(nc.RemoteAddr()), in: bufio.NewReaderSize(nc, readBuffer)}
		c.active.Store(time.Now().UnixNano())
		s.admit(ctx, c)
		go func() {
			defer s.dismiss(c)
			s.converse(c)
		}()
	}
}

// admit makes room for c by ending the connection that has been idle for
// longest (RFC 7766 section 6.2.3 lets a server under load do so).
func (s *server) admit(ctx context.Context, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.TCPConnections {
		var oldest *conn
		for o := range s.conns {
			if oldest == nil || o.active.Load() < oldest.active.Load() {
				oldest = o
			}
		}
		delete(s.conns, oldest)
		oldest.Close()
	}
	s.conns[c] = struct{}{}
	if ctx.Err() != nil {
		c.Close() // close may have looked at conns already
	}
}

func (s *server) dismiss(c *conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// converse answers the queries of one connection in their order, until the
// client ends it, breaks the framing or is too slow. Those already received are
// answered before anything is written (RFC 7766 section 6.2.1.1).
func (s *server) converse(c *conn) {
	for {
		c.SetReadDeadline(time.Now().Add(s.cfg.TCPIdle))
		if err := c.read(); err != nil {
			return
		}
		c.active.Store(time.Now().UnixNano())
		if s.peers != nil && forPeers(c.query) {
			if err := s.hand(c); err != nil {
				return
			}
			continue
		}
		s.respond(c)
		if c.pending() && len(c.out) < flushSize {
			continue
		}
		if err := c.flush(s.cfg.TCPIdle); err != nil {
			return
		}
	}
}

// respond appends the answer to c.query, if there is one.
func (s *server) respond(c *conn) {
	s.scratchMu.Lock()
	defer s.scratchMu.Unlock()
	if n := s.reply(s.scratch, c.query, answer.TCP, c.client); n > 0 {
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(n))
		c.out = append(c.out, s.scratch[:n]...)
	}
}

// read takes the next message into c.query (RFC 1035 section 4.2.2).
func (c *conn) read() error {
	var length [2]byte
	if _, err := io.ReadFull(c.in, length[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > maxQuery {
		return format.Errorf("dnsd: a query of %d bytes, the most is %d", n, maxQuery)
	}
	if n > cap(c.query) || cap(c.query) > readBuffer {
		c.query = make([]byte, n, max(n, readBuffer))
	}
	c.query = c.query[:n]
	_, err := io.ReadFull(c.in, c.query)
	return err
}

// pending says whether a whole message has been received.
func (c *conn) pending() bool {
	if c.in.Buffered() < 2 {
		return false
	}
	length, err := c.in.Peek(2)
	return err == nil && c.in.Buffered() >= 2+int(binary.BigEndian.Uint16(length))
}

// flush writes the answers. A client that does not take them within timeout
// loses the connection.
func (c *conn) flush(timeout time.Duration) error {
	if len(c.out) == 0 {
		return nil
	}
	c.SetWriteDeadline(time.Now().Add(timeout))
	_, err := c.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > readBuffer {
		c.out = nil // keep little while idle
	}
	return err
}
