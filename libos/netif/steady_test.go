package netif

import (
	"sync/atomic"
	"testing"
	"time"
)

// steady measures time without that in which the host let the test not run at all,
// such as a virtual machine whose CPUs others have.
type steady struct {
	ticks atomic.Int64
	stood atomic.Int64 // ns
}

// measure begins to watch the host.
func measure(t *testing.T) *steady {
	s, done := new(steady), make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for began := time.Now(); ; began = time.Now() {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			if d := time.Since(began); d > 3*time.Millisecond {
				s.stood.Add(int64(d - time.Millisecond))
			}
			s.ticks.Add(1)
		}
	}()
	return s
}

// begin begins a measurement: what it returns says what passed since, and how much of
// that the host has let the test run.
func (s *steady) begin() (took func() (all, ran time.Duration)) {
	began, stood := time.Now(), s.stood.Load()
	return func() (all, ran time.Duration) {
		all = time.Since(began)
		if all < 10*time.Millisecond {
			return all, all
		}
		// Who measures may run again before the watch does.
		for n := s.ticks.Load(); s.ticks.Load() < n+2; {
			time.Sleep(time.Millisecond)
		}
		return all, all - time.Duration(s.stood.Load()-stood)
	}
}
