package appliance

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Functions that block don't hold up others, few goroutines stay, and none
// after Close.
func TestCrew(t *testing.T) {
	before := runtime.NumGoroutine()
	c := NewCrew()
	var ran atomic.Int64
	for range 20 {
		gate, done := make(chan struct{}), make(chan struct{})
		for range 5 * crewSize {
			c.Go(func() {
				<-gate
				ran.Add(1)
				done <- struct{}{}
			})
		}
		close(gate)
		for range 5 * crewSize {
			<-done
		}
	}
	if ran.Load() != 20*5*crewSize {
		t.Errorf("%d functions ran", ran.Load())
	}
	settle(t, before+crewSize)
	if runtime.NumGoroutine() <= before {
		t.Error("no goroutine was kept")
	}
	c.Close()
	settle(t, before)
}

// settle waits until there are at most n goroutines.
func settle(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), n)
		}
	}
}
