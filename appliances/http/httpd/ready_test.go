package httpd

import (
	"net"
	"testing"
)

// attended is a network whose bursts the test makes.
type attended struct{ begin, end func() }

func (a *attended) SetBursts(begin, end func()) { a.begin, a.end = begin, end }

// TestAttend: what comes in a burst is served at its end and wakes nobody; what is left
// then, because it is too much or another goroutine is serving, is for events.
func TestAttend(t *testing.T) {
	s, c, f := newFake(t, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
	l := &attended{}
	s.ready.wake = make(chan struct{}, 1)
	s.worker.x, s.worker.b = s.take(), make([]byte, headSize)
	s.attend(l)
	roused := func() bool {
		select {
		case <-s.ready.wake:
			return true
		default:
			return false
		}
	}

	l.begin()
	c.wakeUp()
	if roused() {
		t.Error("somebody was woken in a burst")
	}
	if l.end(); f.sent != 1 || roused() {
		t.Errorf("%d responses at the end of a burst", f.sent)
	}
	if c.wakeUp(); !roused() || f.sent != 1 {
		t.Error("nobody was woken outside of a burst")
	}
	l.begin()
	if l.end(); f.sent != 2 {
		t.Error("what was there before the burst was not served at its end")
	}

	s.worker.mu.Lock() // events is serving
	l.begin()
	c.wakeUp()
	if l.end(); f.sent != 2 || !roused() {
		t.Error("not left to events, which has the worker")
	}
	s.worker.mu.Unlock()
	l.begin()
	l.end()

	l.begin()
	others := make([]*conn, attendedTurns+3)
	for i := range others {
		others[i] = &conn{wire: f, s: s}
		others[i].wakeUp()
	}
	f.sent = 0
	if l.end(); f.sent != attendedTurns || !roused() {
		t.Errorf("%d responses to %d requests in a burst", f.sent, len(others))
	}
	s.ready.push(nil)
	if err := s.events(); err != net.ErrClosed || f.sent != len(others) {
		t.Errorf("%d responses, then %v", f.sent, err)
	}
}
