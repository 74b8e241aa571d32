package tlstest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Net is the host's loopback interface, with ports of its choice, whose connections can
// be used without waiting as those of libos/netif.
type Net struct {
	mu  sync.Mutex
	all []net.Listener
}

// Listener is the n-th that was made.
func (n *Net) Listener(i int) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[i]
}

// Listen takes connections at a port of its own choice.
func (n *Net) Listen(network, _ string) (net.Listener, error) {
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, listener{l})
	return listener{l}, nil
}

// DialContext connects.
func (n *Net) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// conn looks from time to time whether there is something to do, instead of being told.
type conn struct {
	*net.TCPConn
	raw  syscall.RawConn
	full atomic.Bool           // TryWrite did not take all
	fail atomic.Pointer[error] // what ready has found, which a socket tells once
	done chan struct{}
	end  sync.Once
}

// pace is how often it looks.
const pace = time.Millisecond

func newConn(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	return &conn{TCPConn: t, raw: raw, done: make(chan struct{})}
}

// try calls f, which does not block; 0 and nil is that nothing is there, or no room.
func (c *conn) try(f func(fd int) (int, error)) (n int, err error) {
	if e := c.raw.Control(func(fd uintptr) { n, err = f(int(fd)) }); e != nil {
		return 0, e
	}
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}

// TryRead implements relay.Conn.
func (c *conn) TryRead(b []byte) (int, error) {
	if err := c.fail.Load(); err != nil {
		return 0, *err
	}
	end := false
	n, err := c.try(func(fd int) (int, error) {
		n, err := syscall.Read(fd, b)
		end = n == 0 && err == nil
		return n, err
	})
	if end {
		err = io.EOF
	}
	return n, err
}

// TryWrite implements relay.Conn.
func (c *conn) TryWrite(all [][]byte) (written int, err error) {
	for _, b := range all {
		n, err := c.try(func(fd int) (int, error) { return syscall.Write(fd, b) })
		if written += n; err != nil {
			return written, err
		}
		if c.full.Store(n < len(b)); n < len(b) {
			break
		}
	}
	return written, nil
}

// ready says whether TryRead has something, or an error.
func (c *conn) ready() bool {
	ready := true
	c.try(func(fd int) (int, error) {
		n, _, err := syscall.Recvfrom(fd, make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if ready = err != syscall.EAGAIN; ready && err != nil {
			fail := error(err)
			c.fail.Store(&fail)
		}
		return n, err
	})
	return ready
}

// look calls f when there is something to do, until it returns false.
func (c *conn) look(f func() bool) {
	for t := time.NewTicker(pace); ; {
		select {
		case <-t.C:
			if (c.full.Load() || c.ready()) && !f() {
				t.Stop()
				return
			}
		case <-c.done:
			t.Stop()
			f()
			return
		}
	}
}

// NotifyRead implements relay.Conn.
func (c *conn) NotifyRead(f func()) { go c.look(func() bool { f(); return false }) }

// Watch implements relay.Conn.
func (c *conn) Watch(f func()) { go c.look(func() bool { f(); return true }) }

// Abort implements relay.Conn.
func (c *conn) Abort() {
	c.SetLinger(0)
	c.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.end.Do(func() { close(c.done) })
	return err
}
