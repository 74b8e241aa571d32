package appliance

import (
	"context"
	"sync/atomic"
	"time"
)

// lag is how late goroutines get to run.
type lag struct{ last, most atomic.Int64 } // ns

// watch measures until ctx is done.
func (l *lag) watch(ctx context.Context) {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	for due := time.Now().Add(time.Second); ; due = time.Now().Add(time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		late := int64(max(time.Since(due), 0))
		l.last.Store(late)
		if late > l.most.Load() {
			l.most.Store(late)
		}
		t.Reset(time.Second)
	}
}

// read returns the last value in ns, and the highest since it was last read.
func (l *lag) read() (last, most int64) { return l.last.Load(), l.most.Swap(0) }
