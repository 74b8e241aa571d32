package netif

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"ampoule/libos/format"
)

// Listen listens for TCP. network and address are as for Go's net.Listen, with
// literal addresses only; ":53" with "tcp" takes both families.
func (s *Stack) Listen(network, address string) (net.Listener, error) {
	a, err := s.resolve("tcp", network, address)
	if err != nil {
		return nil, err
	}
	l := &listener{s: s}
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, a.proto, &l.wq)
	if terr != nil {
		return nil, format.Errorf("netif: listen %s %s: %s", network, address, terr)
	}
	ep.SocketOptions().SetV6Only(a.only6)
	// As in Go's net: connections of a former listener don't hold the port.
	ep.SocketOptions().SetReuseAddress(true)
	if terr = ep.Bind(a.full); terr == nil {
		terr = ep.Listen(s.limits.Backlog)
	}
	if terr != nil {
		ep.Close()
		return nil, format.Errorf("netif: listen %s %s: %s", network, address, terr)
	}
	l.ep = ep
	s.link.flows.listen(&a, ep)
	l.entry, l.ready = waiter.NewChannelEntry(waiter.ReadableEvents)
	l.wq.EventRegister(&l.entry)
	return l, nil
}

// listener hands out connections as long as there may be more of them.
type listener struct {
	s     *Stack
	ep    tcpip.Endpoint
	wq    waiter.Queue
	entry waiter.Entry
	ready chan struct{} // one token: it is worth looking again
	done  atomic.Bool
}

// Accept implements net.Listener. One goroutine at a time may wait in it.
func (l *listener) Accept() (net.Conn, error) {
	for {
		ep, wq, err := l.ep.Accept(nil)
		switch err.(type) {
		case nil:
			if c := l.s.track(ep, wq); c != nil {
				return c, nil
			}
			continue
		case *tcpip.ErrWouldBlock:
		default:
			return nil, l.fail(err)
		}
		if l.done.Load() {
			return nil, l.fail(err)
		}
		<-l.ready
	}
}

func (l *listener) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *listener) fail(err tcpip.Error) error {
	e := &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: errors.New(err.String())}
	if l.done.Load() {
		e.Err = net.ErrClosed
		l.wake() // others who wait
	}
	return e
}

// Close implements net.Listener. Connections already accepted live on.
func (l *listener) Close() error {
	if !l.done.Swap(true) {
		l.s.link.flows.silence(l.ep)
		l.ep.Close()
		l.wake()
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	return tcpAddr(l.ep.GetLocalAddress())
}

// tracker counts one connection from its first moment to its last.
type tracker struct {
	s     *Stack
	ep    tcpip.Endpoint
	gone  atomic.Bool
	flow  atomic.Pointer[any] // what flows.Enter gave, if the stack does not feed it
	entry waiter.Entry
}

// NotifyEvent implements waiter.EventListener: the endpoint has hung up, but
// it exists until it has left TIME_WAIT.
func (t *tracker) NotifyEvent(waiter.EventMask) {
	switch tcp.EndpointState(t.ep.State()) {
	case tcp.StateClose, tcp.StateError:
		if e := t.flow.Load(); e != nil {
			t.s.link.flows.Leave(*e)
		}
		if !t.gone.Swap(true) {
			t.s.link.count.conns.Add(-1)
		}
	}
}

// track makes a net.Conn of an established endpoint, or resets it and returns
// nil when there are too many already.
func (s *Stack) track(ep tcpip.Endpoint, wq *waiter.Queue) net.Conn {
	c := &Conn{}
	if !s.count(&c.tracker, ep, wq) {
		ep.Abort()
		s.link.count.refused.Add(1)
		return nil
	}
	c.tracker.established()
	c.init(wq, ep)
	return c
}

// count counts an endpoint by t until it is gone; false says that there are too many.
func (s *Stack) count(t *tracker, ep tcpip.Endpoint, wq *waiter.Queue) bool {
	n := s.link.count.conns.Add(1)
	if n > int64(s.limits.MaxConns) {
		s.link.count.conns.Add(-1)
		return false
	}
	t.s, t.ep = s, ep
	t.entry.Init(t, waiter.EventHUp)
	wq.EventRegister(&t.entry)
	t.NotifyEvent(waiter.EventHUp) // it may have hung up before
	return true
}

// established enters the endpoint's flow for as long as it lasts.
func (t *tracker) established() {
	f := &t.s.link.flows
	if f.fed || f.queue == nil {
		return
	}
	info, ok := t.ep.Info().(*stack.TransportEndpointInfo)
	if to, is := t.ep.(stack.TransportEndpoint); ok && is {
		entered := f.Enter(info.ID, to)
		t.flow.Store(&entered)
		t.NotifyEvent(waiter.EventHUp) // it may have hung up before
	}
}

// DialContext connects to a literal address over "tcp" or "udp" and their
// single-family forms. It blocks until the connection stands or ctx is done.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if len(network) > 2 && network[:3] == "udp" {
		return s.dialUDP(network, address)
	}
	a, err := s.resolve("tcp", network, address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var wq waiter.Queue
	ep, terr := s.gv.NewEndpoint(tcp.ProtocolNumber, a.proto, &wq)
	if terr != nil {
		return nil, format.Errorf("netif: dial %s %s: %s", network, address, terr)
	}
	c := &Conn{}
	if !s.count(&c.tracker, ep, &wq) {
		ep.Close()
		s.link.count.refused.Add(1)
		return nil, format.Errorf("netif: dial %s %s: all %d connections are in use", network, address, s.limits.MaxConns)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	terr = ep.Connect(a.full)
	if _, ok := terr.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-ctx.Done():
			ep.Abort()
			return nil, ctx.Err()
		case <-ready:
		}
		terr = ep.LastError()
	}
	if terr != nil {
		ep.Close()
		return nil, format.Errorf("netif: dial %s %s: %s", network, address, terr)
	}
	c.tracker.established()
	c.init(&wq, ep)
	return c, nil
}
