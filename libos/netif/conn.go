package netif

import (
	"errors"
	"io"
	"net"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Conn is a TCP connection. Beside what net.Conn has it can say when there is something
// to read, so that who has many idle ones needs neither a buffer nor a goroutine for
// each.
type Conn struct {
	TCPConn
	tracker tracker
	asked   bool // entry is registered
	entry   waiter.Entry
	ready   atomic.Pointer[func()] // nil: nobody asks
	watch   watch
}

// TryRead reads what has arrived, without blocking and whatever the deadline. One
// goroutine at a time may read: 0 and
// nil means that nothing has.
func (c *Conn) TryRead(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.read(b)
	switch err.(type) {
	case nil:
		return n, nil
	case *tcpip.ErrWouldBlock:
		return 0, nil
	case *tcpip.ErrClosedForReceive:
		return 0, io.EOF
	}
	return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: errors.New(err.String())}
}

// readable is what makes TryRead have something, or an error.
const readable = waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr

// NotifyRead calls f once, as soon as TryRead has something to read or an error; Close
// and Abort make one. f may be called before NotifyRead returns and by any goroutine,
// that of the stack among them, so it must not block or use the connection. A later
// call takes the place of an earlier one whose f was not called.
func (c *Conn) NotifyRead(f func()) {
	if !c.asked { // and from now on
		c.entry.Init(c, readable)
		c.wq.EventRegister(&c.entry)
		c.asked = true
	}
	c.ready.Store(&f)
	if c.ep.Readiness(readable) != 0 {
		c.NotifyEvent(readable)
	}
}

// NotifyEvent implements waiter.EventListener.
func (c *Conn) NotifyEvent(waiter.EventMask) {
	if c.ready.Load() == nil {
		return
	}
	if f := c.ready.Swap(nil); f != nil {
		(*f)()
	}
}

// Abort resets the connection: what is under way in either direction is lost, and the
// peer knows it.
func (c *Conn) Abort() { c.ep.Abort() }
