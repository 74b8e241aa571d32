package netif

import (
	"sync"
	"time"

	"math/rand/v2"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// clock is gVisor's view of time. Monotonic readings are plain integers: the
// conversions that gVisor's own clock makes through time.Time cost more than a
// tenth of a small request.
type clock struct{ start int64 } // of nanotime

// Now implements tcpip.Clock.
func (c *clock) Now() time.Time { return time.Now() }

// NowMonotonic implements tcpip.Clock.
func (c *clock) NowMonotonic() tcpip.MonotonicTime {
	return monotonic(nanotime() - c.start)
}

// AfterFunc implements tcpip.Clock; f runs in a goroutine of its own.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return (*timer)(time.AfterFunc(d, f))
}

// timer implements tcpip.Timer.
type timer time.Timer

func (t *timer) Stop() bool { return (*time.Timer)(t).Stop() }

func (t *timer) Reset(d time.Duration) { (*time.Timer)(t).Reset(d) }

// source is the stack's source of numbers that need not be secret but had
// better not be guessed: ephemeral ports, IP identifiers.
type source struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

// Int63 implements math/rand.Source.
func (s *source) Int63() int64 { return int64(s.Uint64() >> 1) }

// Uint64 implements math/rand.Source64.
func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Uint64()
}

// Seed implements math/rand.Source; the seed was given by the machine's
// entropy and nothing may replace it.
func (s *source) Seed(int64) {}
