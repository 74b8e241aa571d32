// Package syslog sends the log to a collector, as RFC 5424 has it over UDP (RFC
// 5426), or over what Config.Secure makes: TLS (RFC 5425) in package secure. The
// pairs of an event go as structured data.
//
// An event is put into a queue and sent by a goroutine, so that logging never
// waits for the network. When the queue is full the event is dropped and
// counted, and the collector is told how many were when it can be. UDP loses
// messages too; sequenceId shows the gaps. Over TLS a connection's last messages are
// sent again when it ended otherwise than in good order, with the same sequenceId: a
// collector may see them again and again.
package syslog

import (
	"context"
	"errors"
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
	Secure     Secure          // nil: UDP
}

// Secure makes connections that nobody else can read.
type Secure interface {
	// Connect connects to a collector at an address. Each Write of the connection
	// takes a whole message; it waits no longer than a collector may take, and hardly
	// once ctx is done, which also ends the attempt to connect.
	Connect(ctx context.Context, dial Dial, address string, now func() time.Time) (Conn, error)
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
	repeated       atomic.Uint64
	now            func() time.Time
	enterpriseName string

	// Run's own.
	told     uint64 // of dropped
	report   func(error)
	trouble  bool          // report was told
	pause    time.Duration // before the next connection
	since    time.Time     // the connection began
	kept     [][]byte      // written, and perhaps not received
	keptSize int           // its bytes
}

// errEnded is reported where no Write told more.
var errEnded = errors.New("the collector has ended the connection")

// New makes a Sink for the appliance app on host. Run must run for it to send.
func New(cfg Config, host, app string, now func() time.Time) *Sink {
	return &Sink{
		cfg: cfg, host: name(host, 255), app: name(app, 48), now: now, queue: make(chan []byte, cfg.Queue),
		enterpriseName: "ampoule@" + strconv.FormatUint(uint64(cfg.Enterprise), 10),
	}
}

// Stats counts messages since New.
type Stats struct {
	Sent     uint64 // given to the network
	Dropped  uint64 // the queue was full, or the network refused
	Repeated uint64 // given to the network once more
}

// Stats reads the counters.
func (s *Sink) Stats() Stats { return Stats{s.sent.Load(), s.dropped.Load(), s.repeated.Load()} }

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

// How long Run waits before it connects again: for UDP, when there is no way to the
// collector; else from the first to the last, doubling, unless the connection was a
// steady one.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	steady     = 10 * time.Second
)

// Dial connects to a collector.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Run sends until ctx is done, and then what is queued as far as that goes
// without waiting. When sending fails, mostly because our address has changed, it
// connects again. It tells report when the collector can't be reached, once, and nil
// when it can be again; report must not block, but may log.
func (s *Sink) Run(ctx context.Context, dial Dial, report func(error)) {
	s.report = report
	var conn net.Conn
	for ctx.Err() == nil {
		select {
		case m := <-s.queue:
			conn = s.send(ctx, dial, conn, m)
		case <-ended(conn):
			conn = s.again(ctx, dial, conn)
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
		_, err := conn.Write(m)
		if err == nil {
			s.sent.Add(1)
			if s.cfg.Secure != nil {
				s.keep(m)
			}
			if s.trouble && time.Since(s.since) >= steady {
				s.trouble = false
				s.report(nil)
			}
			s.tell(conn)
			return conn
		}
		s.over(conn)
		conn = nil
		s.failed(err)
		if try > 0 {
			s.dropped.Add(1)
			return nil
		}
	}
}

// failed notes that a connection, or the attempt at one, has.
func (s *Sink) failed(err error) {
	if s.cfg.Secure == nil {
		return
	}
	if s.pause = min(max(2*s.pause, firstPause), lastPause); time.Since(s.since) >= steady && !s.since.IsZero() {
		s.pause = 0
		return // a collector that restarts, or an address of ours that is gone
	}
	if !s.trouble {
		s.trouble = true
		s.report(err)
	}
}

// connect dials until that works, and repeats what was kept, or until ctx is done: then it
// returns nil.
func (s *Sink) connect(ctx context.Context, dial Dial) net.Conn {
	for {
		if !wait(ctx, s.pause) {
			return nil
		}
		var conn net.Conn
		var err error
		if s.cfg.Secure == nil {
			conn, err = dial(ctx, "udp", s.cfg.Server.String())
		} else {
			s.since = time.Time{}
			conn, err = s.cfg.Secure.Connect(ctx, dial, s.cfg.Server.String(), s.now)
		}
		if err == nil {
			s.since = time.Now()
			if err = s.repeat(conn); err == nil {
				return conn
			}
			conn.Close()
		}
		if s.cfg.Secure != nil {
			s.failed(err)
		} else if !wait(ctx, firstPause) {
			return nil
		}
	}
}

// wait waits for d; false: ctx is done.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
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
