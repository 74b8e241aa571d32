package netif

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// TCPConn is a TCP connection: a net.Conn whose halves can be closed apart. Its
// methods may be called from any goroutine; of two that read, or two that write,
// one waits for the other. Nothing is allocated by a Read or a Write that does
// not fail, nor by a deadline that is put off.
type TCPConn struct {
	ep     tcpip.Endpoint
	slices sliceEndpoint // ep, if the stack is trimmed, or nil
	wq     *waiter.Queue
	closed atomic.Bool
	stuck  atomic.Bool // a Write waits

	deaf atomic.Bool // r.entry is not registered any more
	r    half
	into tcpip.SliceWriter // of the Read under way; r.mu protects it

	w    half
	from bytes.Reader // of the Write under way; w.mu protects both
	one  [1][]byte
}

// sliceEndpoint is what the trimmed stack's TCP offers for Read and Write, which
// are general.
type sliceEndpoint interface {
	ReadSlice([]byte) (int, tcpip.Error) // of one byte or more
	// WriteSlices takes what there is room for of what is behind the first skip
	// bytes of all slices together.
	WriteSlices(all [][]byte, skip int) (int, tcpip.Error)
}

// half is one direction: what its operations wait for.
type half struct {
	mu    sync.Mutex // held by the operation under way
	entry waiter.Entry

	ready atomic.Pointer[chan struct{}] // one token: it is worth looking again; nil before the first wait

	timing  sync.Mutex // protects what follows
	at      time.Time  // the deadline, or zero
	timer   *time.Timer
	fires   time.Time // when timer does, while it is armed
	armed   bool
	expired atomic.Bool
}

func (c *TCPConn) init(wq *waiter.Queue, ep tcpip.Endpoint) {
	c.ep, c.wq = ep, wq
	c.slices, _ = ep.(sliceEndpoint)
}

// tokens is where wake puts its token. h.mu is held. The first time it says fresh, and
// whatever is waited for must be looked at again before: nobody was woken until now.
func (h *half) tokens(mask waiter.EventMask) (ready chan struct{}, fresh bool) {
	if p := h.ready.Load(); p != nil {
		return *p, false
	}
	h.entry, ready = waiter.NewChannelEntry(mask)
	h.ready.Store(&ready)
	return ready, true
}

func (h *half) wake() {
	p := h.ready.Load()
	if p == nil {
		return
	}
	select {
	case *p <- struct{}{}:
	default:
	}
}

// Read implements net.Conn.
func (c *TCPConn) Read(b []byte) (int, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	for {
		if err := c.usable(&c.r); err != nil {
			return 0, c.opError("read", err)
		}
		if len(b) == 0 {
			return 0, nil
		}
		n, err := c.read(b)
		switch err.(type) {
		case nil:
			return n, nil
		case *tcpip.ErrClosedForReceive:
			return 0, io.EOF
		case *tcpip.ErrWouldBlock:
		default:
			return 0, c.opError("read", tcpError(err))
		}
		ready, fresh := c.r.tokens(waiter.ReadableEvents)
		if fresh { // from now on; and look again
			c.wq.EventRegister(&c.r.entry)
			continue
		}
		<-ready
	}
}

// read reads what has arrived.
func (c *TCPConn) read(b []byte) (int, tcpip.Error) {
	if c.slices != nil {
		return c.slices.ReadSlice(b)
	}
	c.into = b
	res, err := c.ep.Read(&c.into, tcpip.ReadOptions{})
	c.into = nil
	return res.Count, err
}

// write takes what there is room for.
func (c *TCPConn) write(b []byte) (int, tcpip.Error) {
	if c.slices != nil {
		c.one[0] = b
		n, err := c.slices.WriteSlices(c.one[:], 0)
		c.one[0] = nil
		return n, err
	}
	c.from.Reset(b)
	// Atomic: the endpoint stays locked while it copies, which is a moment.
	n, err := c.ep.Write(&c.from, tcpip.WriteOptions{Atomic: true})
	c.from.Reset(nil)
	return int(n), err
}

// Write implements net.Conn. It returns when the stack has taken all of b, which
// need not be sent then.
func (c *TCPConn) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	waits := false
	defer func() {
		if waits {
			c.wq.EventUnregister(&c.w.entry)
		}
	}()
	for n := 0; ; {
		if err := c.usable(&c.w); err != nil {
			return n, c.opError("write", err)
		}
		if n == len(b) {
			return n, nil
		}
		k, err := c.write(b[n:])
		n += k
		_, full := err.(*tcpip.ErrWouldBlock)
		switch {
		case err == nil && n == len(b):
			return n, nil
		case err != nil && !full:
			return n, c.opError("write", tcpError(err))
		case full && !waits: // and look again: there may be room since
			c.w.tokens(waiter.WritableEvents)
			c.wq.EventRegister(&c.w.entry)
			waits = true
		case full:
			ready, _ := c.w.tokens(waiter.WritableEvents)
			c.stuck.Store(true)
			<-ready
			c.stuck.Store(false)
		}
	}
}

// Stuck says whether a Write waits for the peer, as there is no room for what it takes
// nothing of. A Write that has just begun, or whose goroutine does not get to run, is not
// stuck.
func (c *TCPConn) Stuck() bool { return c.stuck.Load() }

// usable is the reason why a half serves no more.
func (c *TCPConn) usable(h *half) error {
	if h.expired.Load() {
		return os.ErrDeadlineExceeded
	}
	if c.closed.Load() {
		return net.ErrClosed
	}
	return nil
}

// SetDeadline implements net.Conn.
func (c *TCPConn) SetDeadline(t time.Time) error {
	c.r.deadline(t)
	c.w.deadline(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *TCPConn) SetReadDeadline(t time.Time) error { c.r.deadline(t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *TCPConn) SetWriteDeadline(t time.Time) error { c.w.deadline(t); return nil }

// deadline sets the deadline. A timer that fires too early looks again, so that
// a deadline which is put off with each request costs no timer.
func (h *half) deadline(t time.Time) {
	h.timing.Lock()
	defer h.timing.Unlock()
	h.at = t
	left := time.Duration(0)
	if !t.IsZero() {
		if left = time.Until(t); left <= 0 {
			h.expired.Store(true)
			h.wake()
			return
		}
	}
	h.expired.Store(false)
	if !t.IsZero() && (!h.armed || t.Before(h.fires)) {
		h.arm(left)
	}
}

// arm has the timer fire at h.at, which is left away.
func (h *half) arm(left time.Duration) {
	h.armed, h.fires = true, h.at
	if h.timer == nil {
		h.timer = time.AfterFunc(left, h.fired)
		return
	}
	h.timer.Reset(left)
}

func (h *half) fired() {
	h.timing.Lock()
	defer h.timing.Unlock()
	h.armed = false
	if h.at.IsZero() || h.expired.Load() {
		return
	}
	if left := time.Until(h.at); left > 0 {
		h.arm(left)
		return
	}
	h.expired.Store(true)
	h.wake()
}

// stop ends the timer.
func (h *half) stop() {
	h.deadline(time.Time{})
	h.timing.Lock()
	defer h.timing.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
}

// Close implements net.Conn: both halves end, and what was written is still
// sent. Reads and writes under way return net.ErrClosed.
func (c *TCPConn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	c.ep.Close()
	for _, h := range []*half{&c.r, &c.w} {
		h.stop()
		h.wake()
	}
	c.unhear()
	return nil
}

// unhear ends what wakes Read.
func (c *TCPConn) unhear() {
	if !c.deaf.Swap(true) {
		c.wq.EventUnregister(&c.r.entry)
	}
}

// CloseRead ends reading.
func (c *TCPConn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

// CloseWrite sends the end of what we say.
func (c *TCPConn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

func (c *TCPConn) shutdown(flags tcpip.ShutdownFlags) error {
	if err := c.ep.Shutdown(flags); err != nil {
		return c.opError("close", tcpError(err))
	}
	return nil
}

// LocalAddr implements net.Conn; it is a *net.TCPAddr.
func (c *TCPConn) LocalAddr() net.Addr { return tcpAddr(c.ep.GetLocalAddress()) }

// RemoteAddr implements net.Conn; it is a *net.TCPAddr.
func (c *TCPConn) RemoteAddr() net.Addr { return tcpAddr(c.ep.GetRemoteAddress()) }

// tcpAddr is an address, or the empty one.
func tcpAddr(a tcpip.FullAddress, err tcpip.Error) net.Addr {
	if err != nil {
		return &net.TCPAddr{}
	}
	return &net.TCPAddr{IP: net.IP(a.Addr.AsSlice()), Port: int(a.Port)}
}

func tcpError(err tcpip.Error) error { return errors.New(err.String()) }

func (c *TCPConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
