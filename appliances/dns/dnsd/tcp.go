package dnsd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/appliance"
	"ampoule/libos/config/feature"
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

// stream is a listener with its connections.
type stream struct {
	net.Listener
	way  way
	most int // connections
	rate int // connections in a second; 0: any

	taken   int       // connections since begun; of the goroutine that takes them
	begun   time.Time // a second
	refused atomic.Uint64

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

func newStream(l net.Listener, w way, most int) *stream {
	return &stream{Listener: l, way: w, most: most, conns: make(map[*conn]struct{})}
}

// conn is one connection. Only its own goroutine reads and writes it.
type conn struct {
	net.Conn
	way    way
	client answer.Client
	active atomic.Int64 // when the last message was complete, ns since 1970
	in     *bufio.Reader
	query  []byte
	out    []byte // answers not yet written, each behind its length
}

// overTLS adds the listener of DNS over TLS.
func (s *server) overTLS(env *appliance.Env) error {
	if env.Management == nil {
		return errors.New("dnsd: DNS over TLS without a management plane, which has the certificates")
	}
	l, err := env.Net.Listen("tcp", ":"+strconv.Itoa(int(s.cfg.TLSPort)))
	if err != nil {
		return err
	}
	st := newStream(env.Management.Secure(l, "dot"), overTLS, s.cfg.TLSConnections)
	st.rate = s.cfg.TLSHandshakes
	s.streams = append(s.streams, st)
	return nil
}

// connections takes connections until the listener is closed.
func (s *server) connections(ctx context.Context, st *stream) error {
	crew := appliance.NewCrew()
	defer crew.Close()
	for failures := 0; ; {
		nc, err := st.Accept()
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxFailures {
				return format.Errorf("dnsd: tcp: %w", err)
			}
			continue
		}
		failures = 0
		if feature.Management && !st.may(time.Now()) {
			nc.Close()
			continue
		}
		c := &conn{Conn: nc, way: st.way, client: client(nc.RemoteAddr()), in: bufio.NewReaderSize(nc, readBuffer)}
		c.active.Store(time.Now().UnixNano())
		st.admit(ctx, c)
		crew.Go(func() {
			defer st.dismiss(c)
			s.converse(c)
		})
	}
}

// may says whether another connection may be taken in this second.
func (st *stream) may(now time.Time) bool {
	if st.rate == 0 {
		return true
	}
	if age := now.Sub(st.begun); age >= time.Second || age < 0 {
		st.begun, st.taken = now, 0
	}
	if st.taken == st.rate {
		st.refused.Add(1)
		return false
	}
	st.taken++
	return true
}

// admit makes room for c by ending the connection that has been idle for
// longest (RFC 7766 section 6.2.3 lets a server under load do so).
func (st *stream) admit(ctx context.Context, c *conn) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.conns) >= st.most {
		var oldest *conn
		for o := range st.conns {
			if oldest == nil || o.active.Load() < oldest.active.Load() {
				oldest = o
			}
		}
		delete(st.conns, oldest)
		oldest.abort()
	}
	st.conns[c] = struct{}{}
	if ctx.Err() != nil {
		c.abort() // close may have looked at conns already
	}
}

func (st *stream) dismiss(c *conn) {
	c.Close()
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.conns, c)
}

// close ends the listener and all connections.
func (st *stream) close() {
	st.Listener.Close()
	st.mu.Lock()
	defer st.mu.Unlock()
	for c := range st.conns {
		c.abort()
	}
}

// abort ends the connection without a word: TLS would wait to say goodbye.
func (c *conn) abort() {
	if feature.Management {
		if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
			t.NetConn().Close()
			return
		}
	}
	c.Close()
}

// converse answers the queries of one connection in their order, until the
// client ends it, breaks the framing or is too slow. Those already received are
// answered before anything is written (RFC 7766 section 6.2.1.1).
func (s *server) converse(c *conn) {
	for {
		if feature.Management && c.way == overTLS {
			c.SetWriteDeadline(time.Now().Add(s.cfg.TCPIdle)) // reading may write: the handshake, alerts
		}
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
	if n := s.reply(s.scratch, c.query, c.way, c.client); n > 0 {
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
