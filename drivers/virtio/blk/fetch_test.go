//go:build !race

package virtioblk

import (
	"sync/atomic"
	"testing"
)

// TestDoubleFetch: a device changes a status back and forth while the driver
// looks at it, beside a length that is too short for a good read. Looked at
// once, that is an error or a breach; looked at twice it could be a good read of
// nothing. The race is the point, so the race detector can not watch.
func TestDoubleFetch(t *testing.T) {
	for range 60 {
		r := start(t, Features, 512, 16)
		var stop atomic.Bool
		status := &r.ctl.Page()[statusAt]
		done := make(chan bool)
		go func() {
			for !stop.Load() {
				*status = statusError
				*status = statusOK
			}
			close(done)
		}()
		r.dev.Answer = func(h uint16, _ byte, _ int) { r.dev.Q.Complete(h, 1) }
		for range 50 {
			if err := r.ReadAt(make([]byte, 4096), 0); err == nil {
				t.Error("a read of one byte is taken for a good one")
			}
		}
		stop.Store(true)
		<-done
	}
}
