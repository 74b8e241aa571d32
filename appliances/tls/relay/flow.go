package relay

import (
	"io"
	"sync/atomic"
)

// Source is read. A read that has nothing returns at once.
type Source interface {
	io.Reader
	// Drained says whether a read that had less than what there was room for has left
	// nothing, here or below, so that another one need not find out.
	Drained() bool
}

// Sink takes all that is written to it, and holds what its peer does not take.
type Sink interface {
	io.Writer
	// Flush offers what is held once more, and says whether there is still some.
	Flush() (held bool, err error)
}

// Flow is one direction of a connection. Its peers wake it, Events gives it its turns.
type Flow struct {
	src    Source
	dst    Sink
	count  *atomic.Int64
	finish func() error // passes on the end of src; it may write to dst
	done   func(error)
	e      *Events

	next   *Flow // of Events
	queued bool
	twice  bool // there was more than one reason
	all    bool // there may be more to read than one event tells of

	ended, finished, over bool // src, dst by finish, all
}

// Prepare makes f move bytes from src to dst, once it is woken, until src ends or either
// fails. finish then passes on the end of src, when dst has taken all, and done is called
// when dst has taken that too, or with an error. count counts bytes.
func (e *Events) Prepare(f *Flow, dst Sink, src Source, count *atomic.Int64, finish func() error, done func(error)) {
	*f = Flow{src: src, dst: dst, count: count, finish: finish, done: done, e: e}
}

// Wake has f look whether there is something to do, because one thing has happened. It
// does not block, and may be called by any goroutine.
func (f *Flow) Wake() { f.e.push(f, false) }

// begin is Wake for whatever has happened before.
func (f *Flow) begin() { f.e.push(f, true) }

// turn moves what there is, up to its share of bytes, and says whether there may be more.
// Afterwards the peers wake f when there is.
func (f *Flow) turn() (moved int, more bool) {
	for moved < share {
		n, goesOn, err := f.step()
		moved += n
		if err != nil {
			f.end(err)
		}
		if err != nil || !goesOn {
			return moved, false
		}
	}
	return moved, true
}

// step reads and writes once, and says whether it is worth doing so again.
func (f *Flow) step() (n int, more bool, err error) {
	held, err := f.dst.Flush()
	switch {
	case f.over:
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case held:
		f.all = true // by when it goes on, anything may have come
		return 0, false, nil
	case f.finished:
		f.end(nil)
		return 0, false, nil
	case f.ended:
		f.finished = true
		return 0, true, f.finish()
	}
	buf := f.e.buf
	if f.e.held >= f.e.most {
		buf = buf[:small]
	}
	n, err = f.src.Read(buf)
	if n > 0 {
		f.count.Add(int64(n))
		if _, err := f.dst.Write(buf[:n]); err != nil {
			return n, false, err
		}
	}
	switch err {
	case nil:
		// What has less than there was room for is all that one event told of.
		return n, n == len(buf) || !f.src.Drained() || f.all, nil
	case error(again{}):
		f.all = false
		return n, false, nil
	case io.EOF:
		f.ended = true
		return n, true, nil
	}
	return n, false, err
}

func (f *Flow) end(err error) {
	if !f.over {
		f.over = true
		f.done(err)
	}
}
