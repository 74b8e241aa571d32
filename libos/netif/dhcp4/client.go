package dhcp4

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Transport carries messages between our port 68 and servers' port 67. Send
// must not block for long; a message that it loses is sent again.
type Transport interface {
	// Send sends to a server, or to all when to is not valid. from is our
	// address; when it is not valid we have none yet.
	Send(msg []byte, from, to netip.Addr)
	// Received delivers datagrams for our port. What is delivered is the
	// client's.
	Received() <-chan []byte
}

// Events is who is told of the lease. Its methods are called by Run's
// goroutine, one at a time.
type Events interface {
	// Bound: the lease holds from now on. It is called for the first lease
	// and for each renewal.
	Bound(Lease)
	// Lost: there is no lease any more, for this reason; the address must not
	// be used.
	Lost(reason error)
	// Waiting: no server has answered for so long.
	Waiting(since time.Duration)
}

// Client is a DHCP client of one interface.
type Client struct {
	MAC       func() [6]byte // of the interface; it may change while there is no network
	Hostname  string         // told to the server; none when empty or longer than 63 bytes
	Transport Transport
	Events    Events
	Rand      *rand.Rand // transaction ids and the spread of retries; Run alone uses it
	// Again asks for the lease to be renewed at once: the network may be
	// another than it was.
	Again <-chan struct{}

	buf []byte
}

// Why a lease ended.
var (
	ErrExpired = errors.New("the lease ran out, and no server renewed it")
	ErrRefused = errors.New("the server takes the lease back")
	ErrMoved   = errors.New("the interface has another link address")
)

// The first wait for an answer, which doubles up to the last (RFC 2131, section
// 4.1; it suggests 4 s for the first, made for networks of its time), and how
// often an offer is requested before another is looked for.
const (
	firstWait = time.Second
	lastWait  = 64 * time.Second
	requests  = 4
)

// renewPause is the shortest time between two requests for renewal (RFC 2131,
// section 4.4.5).
const renewPause = time.Minute

// Run keeps a lease until ctx is done. It blocks.
func (c *Client) Run(ctx context.Context) {
	for ctx.Err() == nil {
		l, at, ok := c.obtain(ctx)
		if !ok {
			continue
		}
		c.Events.Bound(l)
		if err := c.hold(ctx, l, at); err != nil {
			c.Events.Lost(err)
		}
	}
}

// obtain looks for an offer until there is one (INIT, SELECTING) and requests
// it (REQUESTING). It says when the lease began.
func (c *Client) obtain(ctx context.Context) (l Lease, at time.Time, ok bool) {
	began := time.Now()
	q := query{kind: discover, xid: c.Rand.Uint32(), mac: c.MAC(), hostname: c.Hostname}
	var a answer
	for wait := firstWait; a.kind != offer; wait = min(2*wait, lastWait) {
		c.send(&q, began, netip.Addr{})
		a = c.wait(ctx, &q, c.spread(wait), func(a answer) bool { return a.kind == offer })
		if ctx.Err() != nil {
			return l, at, false
		}
		if a.kind != offer && wait >= 8*firstWait {
			c.Events.Waiting(time.Since(began).Round(time.Second))
		}
	}
	q.kind, q.requested, q.server = request, a.lease.Address.Addr(), a.lease.Server
	for wait, n := firstWait, 0; n < requests && ctx.Err() == nil; wait, n = 2*wait, n+1 {
		at = time.Now()
		c.send(&q, began, netip.Addr{})
		a = c.wait(ctx, &q, c.spread(wait), func(a answer) bool {
			return a.lease.Server == q.server &&
				(a.kind == nak || a.kind == ack && a.lease.Address.Addr() == q.requested)
		})
		switch a.kind {
		case ack:
			return a.lease, at, true
		case nak:
			c.pause(ctx, firstWait)
			return l, at, false
		}
	}
	return l, at, false
}

// hold keeps the lease l of the time at (BOUND, RENEWING, REBINDING), and
// returns when it has ended, why, or nil when ctx is done.
func (c *Client) hold(ctx context.Context, l Lease, at time.Time) error {
	next, mac := at.Add(l.Renew), c.MAC()
	for {
		asked := c.until(ctx, next)
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		if !now.Before(at.Add(l.Expire)) {
			return ErrExpired
		}
		if c.MAC() != mac {
			return ErrMoved // to servers, that is another client
		}
		q := query{kind: request, xid: c.Rand.Uint32(), mac: c.MAC(), hostname: c.Hostname, client: l.Address.Addr()}
		to, limit := l.Server, at.Add(l.Rebind)
		if asked || !now.Before(limit) {
			to, limit = netip.Addr{}, at.Add(l.Expire) // any server
		}
		c.send(&q, now, to)
		pause := max(limit.Sub(now)/2, renewPause)
		if asked {
			pause = renewPause
		}
		pause = min(pause, limit.Sub(now))
		a := c.wait(ctx, &q, pause, func(a answer) bool {
			return (!to.IsValid() || a.lease.Server == to) &&
				(a.kind == nak || a.kind == ack && a.lease.Address.Addr() == l.Address.Addr())
		})
		switch a.kind {
		case ack:
			l, at = a.lease, now
			c.Events.Bound(l)
			next = at.Add(l.Renew)
		case nak:
			return ErrRefused
		default:
			next = now.Add(pause)
		}
	}
}

// send sends q, which began at a time, to a server or to all.
func (c *Client) send(q *query, began time.Time, to netip.Addr) {
	q.secs = uint16(min(time.Since(began)/time.Second, 0xffff))
	c.buf = q.append(c.buf[:0])
	c.Transport.Send(c.buf, q.client, to)
}

// wait returns the first answer to q that ok takes, or after a time the zero
// answer. A flood of others does not lengthen the time.
func (c *Client) wait(ctx context.Context, q *query, limit time.Duration, ok func(answer) bool) answer {
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case b := <-c.Transport.Received():
			if a, err := parse(b, q.xid, q.mac); err == nil && ok(a) {
				return a
			}
		case <-t.C:
			return answer{}
		case <-ctx.Done():
			return answer{}
		}
	}
}

// until waits for a time, or until it is asked to go on at once, which it
// answers with true. Messages that nobody asked for are dropped.
func (c *Client) until(ctx context.Context, at time.Time) (asked bool) {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	for {
		select {
		case <-c.Transport.Received():
		case <-c.Again:
			return true
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (c *Client) pause(ctx context.Context, d time.Duration) { c.until(ctx, time.Now().Add(d)) }

// spread is d, up to a quarter less or more.
func (c *Client) spread(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(c.Rand.Int64N(int64(d/2)))
}
