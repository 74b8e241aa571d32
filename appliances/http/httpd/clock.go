package httpd

import (
	"context"
	"sync/atomic"
	"time"

	"ampoule/libos/config/site"
)

// clock is read for each request and costs next to nothing, since it advances once a
// second: it has what a head needs of the time, and the ticks in which time-outs are
// counted.
type clock struct {
	now   func() time.Time
	ticks atomic.Int64
	tails atomic.Pointer[tails]
	// fields are further header fields of all responses, each with its CR LF.
	fields string
}

// tails are the ends of heads in one second. They are never changed: responses under
// way have parts of them.
type tails struct{ keep, close []byte }

// interval is that of the ticks.
const interval = time.Second

// advance is called with each tick.
func (c *clock) advance() {
	c.ticks.Add(1)
	date := append(site.AppendDate([]byte("Date: "), c.now().Unix()), "\r\n"+c.fields...)
	c.tails.Store(&tails{append(date[:len(date):len(date)], "\r\n"...), append(date[:len(date):len(date)], "Connection: close\r\n\r\n"...)})
}

// tail returns how a head ends now: Date, and Connection when it is the last.
func (c *clock) tail(last bool) []byte {
	t := c.tails.Load()
	if last {
		return t.close
	}
	return t.keep
}

// after is the tick that is at least d away.
func (c *clock) after(d time.Duration) int64 {
	return c.ticks.Load() + int64((d+interval-1)/interval) + 1
}

// wait is the time until a second begins, but at least half of one: two ticks that come
// too soon would cut time-outs short.
func (c *clock) wait() time.Duration {
	d := interval - time.Duration(c.now().Nanosecond())
	if d < interval/2 {
		d += interval
	}
	return d
}

// tick advances the clock until ctx is done, and wakes the connections whose time is
// over; where it is to look, it also finds out whether memory is short. It fires as a
// second begins, so that Date is right.
func (s *server) tick(ctx context.Context, look bool) error {
	for t := time.NewTimer(s.clock.wait()); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		t.Reset(s.clock.wait())
		s.clock.advance()
		s.expire(s.clock.ticks.Load())
		if look {
			s.memory.Look()
		}
	}
}

// expire wakes all connections whose time is over.
func (s *server) expire(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c != nil && c.due.Load() <= now {
			c.late.Store(true)
			c.wakeUp()
		}
	}
}
