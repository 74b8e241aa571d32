package relay

import "sync"

// Workers are goroutines for what is under way, and a few that wait for the next to do:
// new ones would have to grow their stacks again.
type Workers struct {
	mu     sync.Mutex
	parked []chan func() // of those that wait, the last of which has waited least
	closed bool
}

// maxParked is how many goroutines wait for work.
const maxParked = 8

// NewWorkers makes Workers without goroutines.
func NewWorkers() *Workers { return &Workers{} }

// Go has a goroutine call f. It does not block.
func (w *Workers) Go(f func()) {
	w.mu.Lock()
	last := len(w.parked) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.work(f)
		return
	}
	c := w.parked[last]
	w.parked = w.parked[:last]
	w.mu.Unlock()
	c <- f // has room
}

// Close ends goroutines that wait, and others when they have nothing more to do.
func (w *Workers) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, c := range w.parked {
		close(c)
	}
	w.parked = nil
}

func (w *Workers) work(f func()) {
	var c chan func()
	for f != nil {
		f()
		if c == nil {
			c = make(chan func(), 1)
		}
		if !w.park(c) {
			return
		}
		f = <-c
	}
}

// park says whether a goroutine is to wait for what comes at c.
func (w *Workers) park(c chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.parked) == maxParked {
		return false
	}
	w.parked = append(w.parked, c)
	return true
}
