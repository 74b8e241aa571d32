// Package relay moves bytes between a client's connection and a backend's. A
// connection on which nothing happens has neither a buffer nor a goroutine, and what is
// moved has those of Events.
package relay

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
)

// Conn is a connection that need not be waited for: *netif.Conn.
type Conn interface {
	net.Conn
	CloseWrite() error
	// Abort ends both streams at once, so that the peer does not take what it has for
	// all.
	Abort()
	// TryRead reads what is there, without blocking: 0 and nil is nothing.
	TryRead(b []byte) (int, error)
	// TryWrite writes what there is room for, without blocking.
	TryWrite(all [][]byte) (int, error)
	// NotifyRead calls f once when TryRead has something to read or an error to
	// return. f may be called at once, and does not block.
	NotifyRead(f func())
	// Watch calls f from now on when there is more to read, or room again after a
	// TryWrite that did not take all, or an error. It takes the place of NotifyRead
	// and of reads and writes that block. f may be called at once, and does not block.
	Watch(f func())
}

// Patient is a Conn that can wait with acknowledging what has come, for a moment, as the
// answer may come soon.
type Patient interface{ DelayAcks() }

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

// maxPiece is the most that is written at once while writes block, in bytes: progress is
// seen between two.
const maxPiece = 16 << 10

// maxHeld is the most that is held of what the peer does not take, in bytes: a record of
// what is moved and answers of TLS itself. Who asks for more of those is cut.
const maxHeld = 4 * large

var errHeld = errors.New("relay: the peer asks for more than it takes")

// Raw is a TCP connection below TLS or a backend's. It has no deadlines: who wants a
// read or write to end closes it. Reads and writes block until Share is called.
type Raw struct {
	Conn
	act  *Activity
	side Side
	lazy bool   // nothing blocks
	end  bool   // the peer has ended its stream
	full bool   // the last read left no room: there may be more
	head []byte // read before the first Read

	// What follows is Events' while it moves.
	e     *Events
	rest  []byte      // of what was written: what the peer did not take yet
	waits atomic.Bool // there is rest
	one   [1][]byte

	reader, writer *Flow
}

// NewRaw wraps a connection.
func NewRaw(c Conn, side Side, act *Activity) *Raw {
	return &Raw{Conn: c, act: act, side: side}
}

// Stuck says whether something is held that the peer does not take, or a write that
// blocks waits for it, however short a time it has been. Any goroutine may ask.
func (r *Raw) Stuck() bool {
	c, ok := r.Conn.(interface{ Stuck() bool })
	return r.waits.Load() || ok && c.Stuck()
}

// Ended says that the peer has ended its stream of bytes, which for TLS is not the
// same as a close_notify.
func (r *Raw) Ended() bool { return r.end }

// Share makes reads and writes return at once from now on. The flow that reads from r and
// the one that writes to it are the only ones that use it, and Watch begins to wake them.
func (r *Raw) Share(e *Events, reader, writer *Flow) {
	r.lazy, r.e, r.reader, r.writer = true, e, reader, writer
}

// Watch wakes the flows of r when they can go on. Both connections of the flows must have
// been shared before.
func (r *Raw) Watch() {
	if p, ok := r.Conn.(Patient); ok {
		p.DelayAcks()
	}
	r.Conn.Watch(r.event)
	r.reader.begin()
}

func (r *Raw) event() {
	if r.waits.Load() {
		r.writer.Wake()
	}
	r.reader.Wake()
}

// Read implements io.Reader.
func (r *Raw) Read(b []byte) (n int, err error) {
	switch {
	case len(r.head) > 0:
		n = copy(b, r.head)
		if r.head = r.head[n:]; len(r.head) == 0 {
			r.head = nil
		}
		return n, nil
	case !r.lazy:
		n, err = r.Conn.Read(b)
	default:
		n, err = r.TryRead(b)
		if r.full = n == len(b); n == 0 && err == nil {
			return 0, again{}
		}
	}
	if n > 0 {
		r.act.Touch()
	}
	r.end = r.end || err == io.EOF
	return n, err
}

// Drained implements Source. crypto/tls reads with room of its own, which one record can
// fill while another one is left.
func (r *Raw) Drained() bool { return len(r.head) == 0 && !r.full }

// First has a goroutine of w call f when a first record of TLS can be read without
// blocking, or the connection has failed or its peer sends something else. Until then it
// has no goroutine: clients can be slow. It must be called before the first Read.
func (r *Raw) First(w *Workers, f func()) {
	var wake func()
	step := func() {
		if r.gather() {
			f()
		} else {
			r.NotifyRead(wake)
		}
	}
	wake = func() { w.Go(step) }
	r.NotifyRead(wake)
}

// gather keeps what has come, and says whether there is no more to wait for.
func (r *Raw) gather() bool {
	for !whole(r.head) {
		at := len(r.head)
		b := slices.Grow(r.head, small)
		n, err := r.TryRead(b[at:cap(b)])
		if n > 0 {
			r.head = b[:at+n]
			r.act.Touch()
		}
		if err != nil {
			return true // who reads gets it too
		}
		if n == 0 {
			return false
		}
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

// Write implements io.Writer. What the peer does not take is held.
func (r *Raw) Write(b []byte) (written int, err error) {
	if !r.lazy {
		return r.writeAll(b)
	}
	n, held := 0, len(r.rest) > 0
	if !held {
		r.one[0] = b
		n, err = r.TryWrite(r.one[:])
		r.one[0] = nil
		if err != nil {
			return n, err
		}
		r.act.Touch()
		if n == len(b) {
			return n, nil
		}
	}
	if len(r.rest)+len(b)-n > maxHeld {
		return n, errHeld
	}
	r.hold(append(r.rest, b[n:]...))
	if !held { // room since TryWrite has woken nobody, as nothing was waiting
		if _, err := r.Flush(); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// hold keeps what the peer does not take.
func (r *Raw) hold(b []byte) {
	r.e.held += len(b) - len(r.rest)
	if len(b) == 0 {
		r.rest = nil
		r.waits.Store(false)
		r.act.write[r.side].Store(0)
		return
	}
	r.rest = b
	r.waits.Store(true)
	r.act.write[r.side].CompareAndSwap(0, r.act.Clock.Load())
}

// Flush implements Sink.
func (r *Raw) Flush() (held bool, err error) {
	if len(r.rest) == 0 {
		return false, nil
	}
	r.one[0] = r.rest
	n, err := r.TryWrite(r.one[:])
	r.one[0] = nil
	if err != nil {
		r.hold(nil)
		return false, err
	}
	if n > 0 {
		r.act.Touch()
		r.act.write[r.side].Store(r.act.Clock.Load())
		r.hold(r.rest[n:])
	}
	return len(r.rest) > 0, nil
}

// writeAll blocks while the peer takes nothing.
func (r *Raw) writeAll(b []byte) (written int, err error) {
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

// Abort ends both streams at once, so that the peer does not take what it has for all.
func (r *Raw) Abort() {
	r.Conn.Abort()
	r.Conn.Close()
}
