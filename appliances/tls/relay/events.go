package relay

import "sync"

// Sizes in bytes: of the buffer that all flows move bytes with, of what is read at once
// for a peer that takes nothing when others hold much already, and of what a flow moves
// before others have their turn.
const (
	large = 16 << 10
	small = 2 << 10
	share = 4 * large
)

// burst is how much is moved in the goroutine that receives before it receives again.
const burst = 4 * share

// Events moves the bytes of all flows that have something to move, one after the other,
// and never waits for a peer. It does so in Run's goroutine, or in the one that receives,
// between Begin and End: then what has come goes on without a change of goroutines.
type Events struct {
	mu          sync.Mutex // guards what follows
	first, last *Flow
	polled      bool          // End will be called
	closed      bool          // Close was called
	gone        bool          // and Run has returned
	wake        chan struct{} // one token

	moving sync.Mutex // held by who moves; it guards what follows
	buf    []byte
	held   int // bytes that peers did not take yet
	most   int // above which held grows by small pieces only
}

// NewEvents has peers that take nothing hold up to n pieces of 16 KiB, and beyond that
// 2 KiB each.
func NewEvents(n int) *Events {
	return &Events{wake: make(chan struct{}, 1), buf: make([]byte, large), most: n * large}
}

// push has f moved, until there is nothing if all says so or it is pushed twice: data and
// an end may have come. It does not block.
func (e *Events) push(f *Flow, all bool) {
	e.mu.Lock()
	f.twice = f.twice || all || f.queued
	if f.queued {
		e.mu.Unlock()
		return
	}
	f.queued = true
	empty := e.first == nil
	if empty {
		e.first = f
	} else {
		e.last.next = f
	}
	e.last = f
	wake, gone := empty && !e.polled, e.gone
	e.mu.Unlock()
	switch {
	case gone: // connections whose handshake has ended just now
		go e.rest()
	case wake:
		e.signal()
	}
}

func (e *Events) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// pop takes the flow that has waited longest, or nil.
func (e *Events) pop() *Flow {
	e.mu.Lock()
	f := e.first
	if f != nil {
		e.first, f.next, f.queued = f.next, nil, false
		f.all, f.twice = f.all || f.twice, false
	}
	e.mu.Unlock()
	return f
}

// move gives flows their turn until there are none, or bytes have been moved. It is
// called with moving held.
func (e *Events) move(bytes int) {
	for bytes > 0 {
		f := e.pop()
		if f == nil {
			return
		}
		n, more := f.turn()
		bytes -= n + 1
		if more {
			e.push(f, true)
		}
	}
}

// Begin says that End will be called soon: what happens until then is left to it.
func (e *Events) Begin() {
	e.mu.Lock()
	e.polled = true
	e.mu.Unlock()
}

// End moves what there is, within bounds. What is more, or what another goroutine is
// about, is left to Run.
func (e *Events) End() {
	if e.moving.TryLock() {
		e.move(burst)
		e.moving.Unlock()
	}
	e.mu.Lock()
	e.polled = false
	left := e.first != nil
	e.mu.Unlock()
	if left {
		e.signal()
	}
}

// Run moves until Close is called and there is nothing left to move.
func (e *Events) Run() {
	for range e.wake {
		if e.rest() {
			return
		}
	}
}

// rest moves all there is, and says whether there will be no more.
func (e *Events) rest() bool {
	e.moving.Lock()
	defer e.moving.Unlock()
	for {
		e.move(burst)
		e.mu.Lock()
		more := e.first != nil
		e.gone = e.closed && !more
		gone := e.gone
		e.mu.Unlock()
		if !more {
			return gone
		}
	}
}

// Close ends Run.
func (e *Events) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.signal()
}
