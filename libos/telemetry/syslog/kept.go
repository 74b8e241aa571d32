package syslog

import (
	"context"
	"net"
)

// Conn is a connection that tells how it ended.
type Conn interface {
	net.Conn
	// Ended is closed when the collector has ended the connection.
	Ended() <-chan struct{}
	// Received says, when the connection is closed, whether the collector ended it in a
	// way that shows that it has all that was written.
	Received() bool
}

// keptBytes is how much of what was written last is kept, and sent again when the
// connection has ended in any other way: a collector acknowledges nothing, and what TCP
// has delivered may still lie unread where it died.
const keptBytes = 32 << 10

// keep adds a message to those that are kept, and forgets the oldest beyond keptBytes.
func (s *Sink) keep(m []byte) {
	s.kept = append(s.kept, m)
	for s.keptSize += len(m); s.keptSize > keptBytes; {
		s.keptSize -= len(s.kept[0])
		s.kept[0] = nil
		s.kept = s.kept[1:]
	}
}

// over closes a connection that serves no more, and forgets what its collector has for
// certain.
func (s *Sink) over(conn net.Conn) {
	conn.Close()
	if c, ok := conn.(Conn); ok && c.Received() {
		s.kept, s.keptSize = nil, 0
	}
}

// ended is closed when the collector has ended conn; nil: nothing will tell.
func ended(conn net.Conn) <-chan struct{} {
	if c, ok := conn.(Conn); ok {
		return c.Ended()
	}
	return nil
}

// again connects once more when a connection has ended with nothing to send, if something
// has to be repeated.
func (s *Sink) again(ctx context.Context, dial Dial, conn net.Conn) net.Conn {
	s.over(conn)
	s.failed(errEnded)
	if len(s.kept) == 0 {
		return nil
	}
	return s.connect(ctx, dial)
}

// repeat sends what was kept, as it was, sequenceId included.
func (s *Sink) repeat(conn net.Conn) error {
	for _, m := range s.kept {
		if _, err := conn.Write(m); err != nil {
			return err
		}
		s.repeated.Add(1)
	}
	return nil
}
