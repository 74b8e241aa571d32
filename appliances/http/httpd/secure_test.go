package httpd

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"ampoule/libos/memory"
	"ampoule/libos/telemetry"
)

// queue is a listener for connections that are there already.
type queue chan net.Conn

func (q queue) Accept() (net.Conn, error) {
	if c, ok := <-q; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (q queue) Close() error   { return nil }
func (q queue) Addr() net.Addr { return &net.TCPAddr{} }

// handshake is a connection with TLS, or what there is of one in a test.
type handshake struct {
	net.Conn
	begin  func()
	closed chan struct{} // when it is
}

func (h *handshake) Begin() (func(Handler), error) { h.begin(); return nil, nil }
func (h *handshake) Serves([]byte) bool            { return true }
func (h *handshake) Waits() (bool, time.Duration)  { return false, 0 }
func (h *handshake) Abort()                        {}
func (h *handshake) RemoteAddr() net.Addr          { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)} }
func (h *handshake) Close() error                  { close(h.closed); return nil }

// TestHandshakePanics: a handshake that panics costs its connection, and one line a second.
func TestHandshakePanics(t *testing.T) {
	var log bytes.Buffer
	s := &server{Config: config(t), listener: make(queue, 3), conns: map[net.Conn]*conn{}, log: telemetry.New(&log, time.Now, telemetry.Debug)}
	s.clock.now = time.Now
	s.clock.advance()
	s.memory = memory.New(memory.Here(), s, s.log)
	for range 3 {
		c := &handshake{begin: func() { panic("a fault") }, closed: make(chan struct{})}
		s.listener.(queue) <- c
		defer func() { <-c.closed }()
	}
	close(s.listener.(queue))
	if err := s.connections(t.Context()); err == nil {
		t.Error("the listener has no end")
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		open := len(s.conns)
		s.mu.Unlock()
		if open == 0 {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d connections are still there", open)
		}
	}
	if got := log.String(); strings.Count(got, "a fault") != 1 || !strings.Contains(got, "192.0.2.7") {
		t.Errorf("the log is %q", got)
	}
}
