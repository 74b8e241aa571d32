package stack

import (
	"time"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// ICMPRateLimiter bounds the ICMP messages that are sent. golang.org/x/time/rate, which
// was here, also tells how long to wait, and reckons in floating point.
type ICMPRateLimiter struct {
	clock tcpip.Clock

	mu    sync.Mutex
	limit rate.Limit // a second
	burst int
	full  time.Duration // when, by clock, burst messages may be sent at once
}

// NewICMPRateLimiter allows 1,000 messages a second, 50 of them at once.
func NewICMPRateLimiter(clock tcpip.Clock) *ICMPRateLimiter {
	return &ICMPRateLimiter{clock: clock, limit: 1000, burst: 50}
}

// SetLimit sets how many messages may be sent in a second; with 0 or less, none may.
func (l *ICMPRateLimiter) SetLimit(limit rate.Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
}

// Limit is what SetLimit sets.
func (l *ICMPRateLimiter) Limit() rate.Limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// SetBurst sets how many messages may be sent at once.
func (l *ICMPRateLimiter) SetBurst(burst int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.burst = burst
}

// Burst is what SetBurst sets.
func (l *ICMPRateLimiter) Burst() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.burst
}

// Allow says whether a message may be sent now; then it counts.
func (l *ICMPRateLimiter) Allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit <= 0 {
		return false
	}
	each := time.Duration(float64(time.Second) / float64(l.limit))
	now := l.clock.NowMonotonic().Sub(tcpip.MonotonicTime{})
	full := max(l.full, now) + each
	if full > now+time.Duration(l.burst)*each {
		return false
	}
	l.full = full
	return true
}
