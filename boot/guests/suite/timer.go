//go:build ampoule

package main

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"ampoule/boot/guests/bare"
)

var timerChecks = []check{
	{"sleep", sleeps},
	{"timers", timers},
	{"ticker", tickers},
	{"timer-stop-reset", stopReset},
}

// The bound of timers: they fire within 2 ms, never early. A busy host delays
// the VM itself now and then, so the median must keep the bound, in the best of
// some rounds: a guest that only looked at timers each tick (10 ms), or slept
// too coarsely, fails every round. Where the hypervisor itself is emulated more
// rounds are needed: the word rounds=N of the command line.
const (
	timerBound  = 2 * time.Millisecond
	timerRounds = 5
)

// rounds is the number of attempts that a check of timing has.
func rounds() int {
	if n, err := strconv.Atoi(bare.Option("rounds")); err == nil {
		return n
	}
	return timerRounds
}

// late runs rounds of measure until the median keeps the bound.
func late(r *report, measure func() []time.Duration) {
	for range rounds() {
		l := measure()
		slices.Sort(l)
		r.notes = r.notes[:0]
		r.notef("late by %v (median), %v (least), %v (most)", l[len(l)/2], l[0], l[len(l)-1])
		if l[0] < 0 {
			r.errorf("a timer fired early by %v", -l[0])
			return
		}
		if l[len(l)/2] <= timerBound {
			return
		}
	}
	r.errorf("median over %v in each of %d rounds", timerBound, rounds())
}

// sleeps measures goroutine sleeps one at a time, of uneven lengths.
func sleeps(r *report) {
	late(r, func() (l []time.Duration) {
		for i := range 40 {
			d := time.Millisecond + time.Duration(i)*173*time.Microsecond
			start := time.Now()
			time.Sleep(d)
			l = append(l, time.Since(start)-d)
		}
		return l
	})
}

// timers measures many timers that are due close together.
func timers(r *report) {
	late(r, func() (l []time.Duration) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 100 {
			d := 5*time.Millisecond + time.Duration(i*7919%100)*time.Millisecond
			wg.Add(1)
			due := time.Now().Add(d)
			time.AfterFunc(d, func() {
				defer wg.Done()
				over := time.Since(due)
				mu.Lock()
				l = append(l, over)
				mu.Unlock()
			})
		}
		wg.Wait()
		return l
	})
}

// tickers: a ticker keeps its pace over many periods. They have no divisor in
// common with the tick, so that looking only there would show. A delay of more than
// a period costs the ticks of that time, and those that follow are on time again.
func tickers(r *report) {
	late(r, func() (l []time.Duration) {
		const period = 17 * time.Millisecond
		t := time.NewTicker(period)
		defer t.Stop()
		start := time.Now()
		for i := 1; i <= 20; i++ {
			<-t.C
			d := max(0, time.Since(start)-time.Duration(i)*period)
			l = append(l, d)
			start = start.Add(d / period * period)
		}
		return l
	})
}

func stopReset(r *report) {
	t := time.NewTimer(3 * time.Millisecond)
	if !t.Stop() {
		r.errorf("Stop says that a fresh timer had fired")
	}
	select {
	case <-t.C:
		r.errorf("a stopped timer fired")
	case <-time.After(8 * time.Millisecond):
	}
	start := time.Now()
	t.Reset(5 * time.Millisecond)
	<-t.C
	if d := time.Since(start); d < 5*time.Millisecond {
		r.errorf("reset to 5 ms, fired after %v", d)
	}
	if t.Stop() {
		r.errorf("Stop says that a fired timer had not")
	}
}
