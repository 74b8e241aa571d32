// Package syslog sends the log to a collector, as RFC 5424 has it over UDP (RFC
// 5426). The pairs of an event go as structured data.
//
// An event is put into a queue and sent by a goroutine, so that logging never
// waits for the network. When the queue is full the event is dropped and
// counted, and the collector is told how many were when it can be. UDP loses
// messages too: sequenceId shows the gaps.
package syslog

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"ampoule/libos/telemetry"
)

// Config says where the log goes. It is plain data that generated source fills
// in.
type Config struct {
	Server     netip.AddrPort
	Facility   uint8           // 0 to 23: RFC 5424, section 6.2.1
	Level      telemetry.Level // the lowest that is sent
	Queue      int             // the most events that wait, each of up to maxMessage bytes
	Enterprise uint32          // the number under which our pairs stand (RFC 5424, section 7.2.2)
}

// maxMessage bounds a message in bytes, so that it goes in one packet whatever
// the path: the smallest MTU of IPv6 without its headers (RFC 5426, section
// 3.2).
const maxMessage = 1280 - 40 - 8

// Sink is a telemetry.Sink.
type Sink struct {
	cfg            Config
	host, app      string
	queue          chan []byte
	seq            atomic.Uint32
	sent, dropped  atomic.Uint64
	told           uint64 // of dropped; Run's own
	now            func() time.Time
	enterpriseName string
}

// New makes a Sink for the appliance app on host. Run must run for it to send.
func New(cfg Config, host, app string, now func() time.Time) *Sink {
	return &Sink{
		cfg: cfg, host: name(host, 255), app: name(app, 48), now: now, queue: make(chan []byte, cfg.Queue),
		enterpriseName: "ampoule@" + strconv.FormatUint(uint64(cfg.Enterprise), 10),
	}
}

// Stats counts messages since New.
type Stats struct {
	Sent    uint64 // given to the network
	Dropped uint64 // the queue was full, or the network refused
}

// Stats reads the counters.
func (s *Sink) Stats() Stats { return Stats{s.sent.Load(), s.dropped.Load()} }

// Event implements telemetry.Sink.
func (s *Sink) Event(t time.Time, level telemetry.Level, msg string, pairs []telemetry.Pair) {
	// Dropped messages take a number too, so that a gap shows them.
	m := s.message(t, level, msg, pairs)
	select {
	case s.queue <- m:
	default:
		s.dropped.Add(1)
	}
}

// retry is how long Run waits when there is no way to the collector.
const retry = time.Second

// Dial connects to a collector.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Run sends until ctx is done, and then what is queued as far as that goes
// without waiting. When sending fails, mostly because our address has changed,
// dial is called again.
func (s *Sink) Run(ctx context.Context, dial Dial) {
	var conn net.Conn
	for ctx.Err() == nil {
		select {
		case m := <-s.queue:
			conn = s.send(ctx, dial, conn, m)
		case <-ctx.Done():
		}
	}
	s.flush(conn)
	if conn != nil {
		conn.Close()
	}
}

// send sends m on conn, or on a new connection, for which it waits. It returns
// the connection that serves the next.
func (s *Sink) send(ctx context.Context, dial Dial, conn net.Conn, m []byte) net.Conn {
	for try := 0; ; try++ {
		if conn == nil {
			if conn = s.connect(ctx, dial); conn == nil {
				s.dropped.Add(1)
				return nil
			}
		}
		if _, err := conn.Write(m); err == nil {
			s.sent.Add(1)
			s.tell(conn)
			return conn
		}
		conn.Close()
		conn = nil
		if try > 0 {
			s.dropped.Add(1)
			return nil
		}
	}
}

// connect dials until that works, or ctx is done: then it returns nil.
func (s *Sink) connect(ctx context.Context, dial Dial) net.Conn {
	for {
		conn, err := dial(ctx, "udp", s.cfg.Server.String())
		if err == nil {
			return conn
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

// flush sends what is queued, if there is a connection.
func (s *Sink) flush(conn net.Conn) {
	for {
		select {
		case m := <-s.queue:
			if conn == nil {
				s.dropped.Add(1)
			} else if _, err := conn.Write(m); err != nil {
				s.dropped.Add(1)
			} else {
				s.sent.Add(1)
			}
		default:
			return
		}
	}
}

// tell says how many were dropped since it last did, once the queue is empty.
func (s *Sink) tell(conn net.Conn) {
	n := s.dropped.Load()
	if n == s.told || len(s.queue) > 0 {
		return
	}
	m := s.message(s.now().UTC(), telemetry.Warn, "log messages dropped", []telemetry.Pair{
		{Key: "now", Value: strconv.FormatUint(n-s.told, 10)},
		{Key: "ever", Value: strconv.FormatUint(n, 10)},
	})
	if _, err := conn.Write(m); err == nil {
		s.sent.Add(1)
		s.told = n
	}
}
