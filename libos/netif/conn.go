package netif

import (
	"errors"
	"io"
	"net"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Conn is a TCP connection. Beside what net.Conn has it can be waited for without a
// buffer, so that who has many idle ones need not have as many buffers. One goroutine
// at a time may read or wait.
type Conn struct {
	*gonet.TCPConn
	ep      tcpip.Endpoint
	wq      *waiter.Queue
	waits   bool // entry is registered
	entry   waiter.Entry
	arrived chan struct{}
}

func newConn(wq *waiter.Queue, ep tcpip.Endpoint) *Conn {
	return &Conn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep, wq: wq}
}

// TryRead reads what has arrived, without blocking and whatever the deadline: 0 and
// nil means that nothing has.
func (c *Conn) TryRead(b []byte) (int, error) {
	w := tcpip.SliceWriter(b)
	res, err := c.ep.Read(&w, tcpip.ReadOptions{})
	switch err.(type) {
	case nil:
		return res.Count, nil
	case *tcpip.ErrWouldBlock:
		return 0, nil
	case *tcpip.ErrClosedForReceive:
		return 0, io.EOF
	}
	return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: errors.New(err.String())}
}

// WaitRead blocks until TryRead has something to read, or an error. Close and Abort
// end it.
func (c *Conn) WaitRead() {
	const mask = waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr
	if !c.waits { // and from now on, so that waiting again allocates nothing
		c.entry, c.arrived = waiter.NewChannelEntry(mask)
		c.wq.EventRegister(&c.entry)
		c.waits = true
	}
	for c.ep.Readiness(mask) == 0 {
		<-c.arrived
	}
}

// Abort resets the connection: what is under way in either direction is lost, and the
// peer knows it.
func (c *Conn) Abort() { c.ep.Abort() }
