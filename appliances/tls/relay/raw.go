// Package relay moves bytes between a client's connection and a backend's. A
// connection on which nothing happens has neither a buffer nor a goroutine: both are
// taken when there is something to read.
package relay

import (
	"io"
	"net"
	"sync/atomic"
)

// Pollable is a connection that says when there is something to read. One goroutine at
// a time may read or ask.
type Pollable interface {
	net.Conn
	// TryRead reads what is there, without blocking: 0 and nil is nothing.
	TryRead(b []byte) (int, error)
	// NotifyRead calls f once when TryRead has something to read or an error to
	// return. f may be called at once, and does not block.
	NotifyRead(f func())
}

// Clock is a time that somebody else advances now and then, in units of its own.
type Clock = atomic.Int64

// Activity is when something last happened, by a Clock.
type Activity struct {
	Clock *Clock
	last  atomic.Int64
	// write is when the write began that is under way, from front and back; 0: none is.
	write [2]atomic.Int64
}

// Touch says that something happened now.
func (a *Activity) Touch() { a.last.Store(a.Clock.Load()) }

// Idle is how long nothing has happened.
func (a *Activity) Idle() int64 { return a.Clock.Load() - a.last.Load() }

// Writing says whether a write is under way, to either side.
func (a *Activity) Writing() bool { return a.write[Front].Load() != 0 || a.write[Back].Load() != 0 }

// Stalled is how long a write has been under way that makes no progress.
func (a *Activity) Stalled() (longest int64) {
	for i := range a.write {
		if since := a.write[i].Load(); since != 0 {
			longest = max(longest, a.Clock.Load()-since)
		}
	}
	return longest
}

// Side says whose connection it is.
type Side int

// The sides.
const (
	Front Side = iota // the client's
	Back              // the backend's
)

// again is the error of a read for which nothing is there yet. crypto/tls takes it for
// a time-out, after which reading may go on.
type again struct{}

func (again) Error() string   { return "relay: nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// maxPiece is the most that is written at once, in bytes: progress is seen between
// two.
const maxPiece = 16 << 10

// Raw is a TCP connection below TLS or a backend's. It has no deadlines: who wants a
// read or write to end closes it.
type Raw struct {
	net.Conn
	act  *Activity
	side Side
	poll Pollable // nil: Conn is none
	lazy bool     // Read does not block
	end  bool     // the peer has ended its stream
	held []byte   // read while waiting
	fail error    // how that ended; only where poll is nil
}

// NewRaw wraps a connection.
func NewRaw(c net.Conn, side Side, act *Activity) *Raw {
	r := &Raw{Conn: c, act: act, side: side}
	r.poll, _ = c.(Pollable)
	return r
}

// Ended says that the peer has ended its stream of bytes, which for TLS is not the
// same as a close_notify.
func (r *Raw) Ended() bool { return r.end }

// Lazy makes reads return at once from now on; Notify says when to try again.
func (r *Raw) Lazy() { r.lazy = true }

// Read implements io.Reader.
func (r *Raw) Read(b []byte) (n int, err error) {
	switch {
	case len(r.held) > 0:
		n = copy(b, r.held)
		if r.held = r.held[n:]; len(r.held) == 0 {
			r.held = nil
		}
		return n, nil
	case !r.lazy:
		n, err = r.Conn.Read(b)
	case r.poll == nil:
		if r.fail != nil {
			return 0, r.fail
		}
		return 0, again{}
	default:
		if n, err = r.poll.TryRead(b); n == 0 && err == nil {
			return 0, again{}
		}
	}
	if n > 0 {
		r.act.Touch()
	}
	r.end = r.end || err == io.EOF
	return n, err
}

// Notify calls f once when a read has something to return. f must not block.
func (r *Raw) Notify(f func()) {
	switch {
	case len(r.held) > 0 || r.fail != nil:
		f()
	case r.poll != nil:
		r.poll.NotifyRead(f)
	default:
		go func() {
			b := make([]byte, 1024)
			n, err := r.Conn.Read(b)
			if n > 0 {
				r.act.Touch()
			}
			r.held, r.fail, r.end = b[:n], err, r.end || err == io.EOF
			f()
		}()
	}
}

// Drained implements Source.
func (r *Raw) Drained() bool { return r.poll != nil && len(r.held) == 0 }

// First has a goroutine of w call f when a first record of TLS can be read without
// blocking, or the connection has failed or its peer sends something else. Until then it
// has no goroutine: clients can be slow. It must be called before the first Read.
func (r *Raw) First(w *Workers, f func()) {
	if r.poll == nil {
		w.Go(f)
		return
	}
	var wake func()
	step := func() {
		if r.gather(w.bufs) {
			f()
		} else {
			r.poll.NotifyRead(wake)
		}
	}
	wake = func() { w.Go(step) }
	r.poll.NotifyRead(wake)
}

// gather holds what has come, and says whether there is no more to wait for.
func (r *Raw) gather(bufs *Buffers) bool {
	buf := bufs.get()
	defer bufs.put(buf)
	for !whole(r.held) {
		n, err := r.poll.TryRead(buf)
		r.held = append(r.held, buf[:n]...)
		if err != nil {
			return true // who reads gets it too
		}
		if n == 0 {
			return false
		}
		r.act.Touch()
	}
	return true
}

// whole says whether b has all of a first record (RFC 8446 section 5.1), or cannot be the
// beginning of one that crypto/tls takes.
func whole(b []byte) bool {
	const handshake, head, most = 22, 5, 16<<10 + 256
	if len(b) > 0 && b[0] != handshake {
		return true
	}
	if len(b) < head {
		return false
	}
	n := int(b[3])<<8 | int(b[4])
	return n > most || len(b) >= head+n
}

// Write implements io.Writer. It blocks while the peer takes nothing.
func (r *Raw) Write(b []byte) (written int, err error) {
	for {
		r.act.write[r.side].Store(r.act.Clock.Load())
		n, err := r.Conn.Write(b[:min(len(b), maxPiece)])
		written += n
		b = b[n:]
		r.act.Touch()
		if err != nil || len(b) == 0 {
			r.act.write[r.side].Store(0)
			return written, err
		}
	}
}

// CloseWrite ends our stream of bytes, and leaves the peer's.
func (r *Raw) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return r.Conn.Close()
}

// Abort ends both streams at once, so that the peer does not take what it has for
// all, where the connection can do that.
func (r *Raw) Abort() {
	switch c := r.Conn.(type) {
	case interface{ Abort() }:
		c.Abort()
	case interface{ SetLinger(int) error }:
		c.SetLinger(0)
	}
	r.Conn.Close()
}
