package relay

import (
	"io"
	"sync"
	"sync/atomic"
)

// Sizes of buffers in bytes. A large one holds a TLS record; a small one is for when
// all large ones are out, so that connections whose peers take nothing can hold up no
// others.
const (
	large = 16 << 10
	small = 2 << 10
)

// Buffers is a bounded number of large buffers, and as many small ones as there are
// connections that need one.
type Buffers struct {
	mu    sync.Mutex
	free  [][]byte
	fresh int // large ones that were not made yet
}

// NewBuffers bounds the large buffers to n; they are made when they are needed first.
func NewBuffers(n int) *Buffers { return &Buffers{fresh: n} }

func (b *Buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := len(b.free) - 1; last >= 0 {
		buf := b.free[last]
		b.free = b.free[:last]
		return buf
	}
	if b.fresh == 0 {
		return make([]byte, small)
	}
	b.fresh--
	return make([]byte, large)
}

func (b *Buffers) put(buf []byte) {
	if len(buf) == large {
		b.mu.Lock()
		b.free = append(b.free, buf)
		b.mu.Unlock()
	}
}

// Source is read, and says when to try again when a read had nothing.
type Source interface {
	io.Reader
	Notify(f func())
	// Drained says whether it holds nothing after a read that had less than what
	// there was room for: Notify then tells as well as another read.
	Drained() bool
}

// Flow is one direction of a connection. It is moved by a Workers.
type Flow struct {
	src   Source
	dst   io.Writer
	count *atomic.Int64
	done  func(error)
	w     *Workers
	job   func() // moves what there is, wake has it done; both are made once
	wake  func()
}

// Workers are goroutines for what is under way, and a few that wait for the next to do:
// new ones would have to grow their stacks again.
type Workers struct {
	bufs *Buffers

	mu     sync.Mutex
	parked []chan func() // of those that wait, the last of which has waited least
	closed bool
}

// maxParked is how many goroutines wait for work.
const maxParked = 8

// NewWorkers makes Workers without goroutines.
func NewWorkers(bufs *Buffers) *Workers { return &Workers{bufs: bufs} }

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

// Start moves bytes from src to dst until src ends or either fails, and then calls
// done, with nil for an end. count counts them. f must live as long.
func (w *Workers) Start(f *Flow, dst io.Writer, src Source, count *atomic.Int64, done func(error)) {
	*f = Flow{src: src, dst: dst, count: count, done: done, w: w}
	f.job = f.run
	f.wake = func() { w.Go(f.job) }
	f.wake()
}

// run moves what there is. When it returns, somebody else may run f already.
func (f *Flow) run() {
	switch err := f.burst(); err {
	case error(again{}):
		f.src.Notify(f.wake)
	case io.EOF:
		f.done(nil)
	default:
		f.done(err)
	}
}

// burst moves what is there, and returns what ended it.
func (f *Flow) burst() error {
	buf := f.w.bufs.get()
	defer f.w.bufs.put(buf)
	for {
		n, err := f.src.Read(buf)
		if n > 0 {
			f.count.Add(int64(n))
			if _, err := f.dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if n < len(buf) && f.src.Drained() {
			return again{}
		}
	}
}
