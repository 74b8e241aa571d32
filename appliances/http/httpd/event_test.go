package httpd

import (
	"net"
	"strings"
	"testing"
	"time"

	"ampoule/libos/telemetry"
)

// fake is a connection that always has the same to read.
type fake struct {
	wire
	in   string
	sent int
	mad  bool
}

func (f *fake) TryRead(b []byte) (int, error) { return copy(b, f.in), nil }
func (f *fake) Close() error                  { return nil }
func (f *fake) RemoteAddr() net.Addr          { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)} }
func (f *fake) TryWrite(all [][]byte) (n int, err error) {
	if f.mad {
		panic("at the disco")
	}
	for _, b := range all {
		n += len(b)
	}
	f.sent++
	return n, nil
}

func newFake(t *testing.T, in string) (*server, *conn, *fake) {
	s := &server{Config: config(t), conns: map[net.Conn]*conn{}, counts: newCounts(1)}
	s.clock.now = time.Now
	s.clock.advance()
	f := &fake{in: in}
	return s, &conn{wire: f, s: s}, f
}

// TestNothingAllocates: requests, one or pipelined, cost no memory, and each time all
// responses go in one piece.
func TestNothingAllocates(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: example.org\r\nAccept-Encoding: br, gzip;q=0.5\r\n"
	for _, in := range []string{get + "\r\n", get + "If-None-Match: \"t\"\r\n\r\n", get + "Range: bytes=1-2\r\n\r\n", strings.Repeat(get+"\r\n", 10)} {
		s, c, f := newFake(t, in)
		x, b := s.take(), make([]byte, headSize)
		turns := 0
		if n := testing.AllocsPerRun(100, func() {
			turns++
			if !s.guarded(c, x, b) {
				t.Fatal("it is over")
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
		if f.sent != turns {
			t.Errorf("%q: %d writes in %d turns", in, f.sent, turns)
		}
	}
}

// TestPanic: a panic ends the connection that it came from, and is told.
func TestPanic(t *testing.T) {
	s, c, f := newFake(t, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
	out := &lines{}
	s.log, f.mad = telemetry.New(out, time.Now, telemetry.Info), true
	for range 3 {
		if s.guarded(c, s.take(), make([]byte, headSize)) {
			t.Error("it lives on")
		}
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `error a connection made the server panic panic="at the disco" from=192.0.2.7`) {
		t.Errorf("%q", got)
	}
}
