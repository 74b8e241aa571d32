package answer

import (
	"math/bits"
	"time"
)

const (
	// tick is the unit of time of limits: a second has so many.
	tick = 1 << 14
	// ticksPerNS is that for a nanosecond, times 2^64, rounded up: whole seconds are
	// whole numbers of ticks.
	ticksPerNS = tick<<64/1_000_000_000 + 1
)

// moment is a time as limits and cookies want it.
type moment struct {
	ticks   uint32        // since the clock was made, modulo 2^32: some three days
	seconds uint32        // since 1970, modulo 2^32
	until   time.Duration // when seconds is to be looked up again, since the clock was made
}

// clock tells the time of queries.
type clock struct {
	now   func() time.Time // nil: time.Now
	start time.Time
}

func newClock(now func() time.Time) clock {
	c := clock{now: now}
	c.start = c.time()
	return c
}

func (c *clock) time() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// read brings m up to date. The wall clock, which costs more, is read once a second.
func (c *clock) read(m *moment) {
	var since time.Duration
	if c.now == nil {
		since = time.Since(c.start)
	} else {
		since = c.now().Sub(c.start)
	}
	high, _ := bits.Mul64(uint64(since), ticksPerNS)
	m.ticks = uint32(high)
	if since >= m.until {
		t := c.time()
		m.seconds, m.until = uint32(t.Unix()), since+time.Second-time.Duration(t.Nanosecond())
	}
}

// moment is now.
func (c *clock) moment() (m moment) {
	c.read(&m)
	return m
}
