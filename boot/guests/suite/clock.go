//go:build ampoule

package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

var clockChecks = []check{
	{"wall-clock", wallClock},
	{"monotonic", monotonic},
}

// wallClock prints the time for the host to compare.
func wallClock(r *report) {
	fmt.Printf("wall %d\n", time.Now().UnixNano())
	a := time.Now()
	time.Sleep(20 * time.Millisecond)
	b := time.Now()
	// Round strips the monotonic reading.
	if wall, mono := b.Round(0).Sub(a.Round(0)), b.Sub(a); (wall - mono).Abs() > time.Millisecond {
		r.errorf("over the same nap wall clock says %v, monotonic %v", wall, mono)
	}
}

// monotonic reads the clock as fast as it can, in goroutines that preempt each
// other, against one shared latest reading.
func monotonic(r *report) {
	var latest atomic.Int64
	var back atomic.Int64
	start := time.Now()
	read := func() {
		for i := 0; i < 400000; i++ {
			seen := latest.Load()
			now := int64(time.Since(start))
			if now < seen {
				back.Add(1)
			}
			latest.Store(max(now, seen))
		}
	}
	spinning(r, 1, func() {
		done := make(chan bool)
		for range 2 {
			go func() { read(); done <- true }()
		}
		<-done
		<-done
	})
	if back.Load() > 0 {
		r.errorf("went back %d times in 800000 readings", back.Load())
	}
	if latest.Load() <= 0 {
		r.errorf("did not advance")
	}
}
