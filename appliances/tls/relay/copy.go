package relay

import (
	"io"
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
	free  chan []byte
	fresh chan struct{} // a token for each large one that was not made yet
}

// NewBuffers bounds the large buffers to n; they are made when they are needed first.
func NewBuffers(n int) *Buffers {
	b := &Buffers{make(chan []byte, n), make(chan struct{}, n)}
	for range n {
		b.fresh <- struct{}{}
	}
	return b
}

func (b *Buffers) get() []byte {
	select {
	case buf := <-b.free:
		return buf
	default:
	}
	select {
	case <-b.fresh:
		return make([]byte, large)
	default:
		return make([]byte, small)
	}
}

func (b *Buffers) put(buf []byte) {
	if len(buf) == large {
		b.free <- buf // has room for all there are
	}
}

// Source is read, and says when to try again when a read had nothing.
type Source interface {
	io.Reader
	Notify(f func())
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
	bufs   *Buffers
	jobs   chan func()
	parked atomic.Int32
	quit   <-chan struct{}
}

// maxParked is how many goroutines wait for work.
const maxParked = 8

// NewWorkers makes Workers whose idle goroutines end when quit is closed.
func NewWorkers(bufs *Buffers, quit <-chan struct{}) *Workers {
	return &Workers{bufs: bufs, jobs: make(chan func()), quit: quit}
}

// Go has a goroutine call f. It does not block.
func (w *Workers) Go(f func()) {
	select {
	case w.jobs <- f:
	default:
		go w.work(f)
	}
}

func (w *Workers) work(f func()) {
	for {
		f()
		f = nil // and what it holds
		if w.parked.Add(1) > maxParked {
			w.parked.Add(-1)
			return
		}
		select {
		case f = <-w.jobs:
			w.parked.Add(-1)
		case <-w.quit:
			return
		}
	}
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
	}
}
