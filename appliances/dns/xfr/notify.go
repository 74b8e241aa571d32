package xfr

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/wire"
	"ampoule/libos/appliance"
)

const (
	// notifyFirst is how long the first answer to NOTIFY is waited for; each time
	// after that twice as long (RFC 1996 section 3.6).
	notifyFirst = 2 * time.Second
	notifyTries = 5
	// notifyWorkers is how many servers are told at a time.
	notifyWorkers = 4
	// maxPending bounds those that wait for it.
	maxPending = 4096
)

// errand is one server to be told of one zone.
type errand struct {
	origin string
	target Target
}

// notifier sends NOTIFY.
type notifier struct {
	server *Server
	net    appliance.Network

	mu      sync.Mutex
	queue   []errand
	pending map[errand]bool // in queue
	ready   chan struct{}   // holds something while queue does
}

func newNotifier(s *Server, net appliance.Network) *notifier {
	return &notifier{server: s, net: net, pending: map[errand]bool{}, ready: make(chan struct{}, 1)}
}

// add queues an errand unless it waits already. It does not block.
func (n *notifier) add(origin string, t Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := errand{origin, t}
	if n.pending[e] || len(n.queue) == maxPending {
		return
	}
	n.pending[e] = true
	n.queue = append(n.queue, e)
	n.wake()
}

func (n *notifier) wake() {
	select {
	case n.ready <- struct{}{}:
	default:
	}
}

// next takes the oldest errand. False: ctx is done.
func (n *notifier) next(ctx context.Context) (e errand, ok bool) {
	for {
		n.mu.Lock()
		if len(n.queue) > 0 {
			e = n.queue[0]
			n.queue = n.queue[1:]
			delete(n.pending, e)
			if len(n.queue) > 0 {
				n.wake()
			}
			n.mu.Unlock()
			return e, true
		}
		n.mu.Unlock()
		select {
		case <-n.ready:
		case <-ctx.Done():
			return e, false
		}
	}
}

// serve sends what is queued until ctx is done.
func (n *notifier) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	for range notifyWorkers {
		wg.Go(func() {
			for e, ok := n.next(ctx); ok; e, ok = n.next(ctx) {
				n.tell(ctx, e)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// tell sends one NOTIFY until it is answered.
func (n *notifier) tell(ctx context.Context, e errand) {
	s := n.server
	wait, reason := notifyFirst, error(nil)
	for range notifyTries {
		rcode, err := n.try(ctx, e, wait)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.stats.Notified.Add(1)
			if rcode != noError {
				s.log.Warn("NOTIFY was not taken", "zone", presentation(e.origin), "server", e.target.Addr, "rcode", rcode)
			}
			return
		}
		reason, wait = err, 2*wait
	}
	s.stats.Unheard.Add(1)
	s.log.Warn("NOTIFY was not answered", "zone", presentation(e.origin), "server", e.target.Addr, "error", reason)
}

// try sends the message once and waits for its answer.
func (n *notifier) try(ctx context.Context, e errand, wait time.Duration) (rcode uint16, err error) {
	s := n.server
	start := time.Now()
	defer func() {
		// An error may come at once; the next try has its time all the same.
		if err != nil {
			pause(ctx, wait-time.Since(start))
		}
	}()
	z, ok := s.zones.Zone(e.origin)
	if !ok || z == "" {
		return noError, nil // gone meanwhile
	}
	c, err := n.net.DialContext(ctx, "udp", e.target.Addr.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var id [2]byte
	rand.Read(id[:]) // never fails
	h := wire.Header{ID: binary.BigEndian.Uint16(id[:]), Flags: wire.OpcodeNotify | wire.FlagAA, QD: 1, AN: 1}
	msg := append(h.Append(make([]byte, 0, 1024)), e.origin...)
	msg = append(msg, 0, typeSOA, 0, classIN)
	r := soa(z)
	msg, _ = appendRecord(msg, &r, e.origin, 0)
	var x *tsig.Exchange
	if key := s.keys.Find(e.target.Key); key != nil {
		msg, x = key.Sign(msg, s.now())
	}
	if _, err := c.Write(msg); err != nil {
		return 0, err
	}
	c.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 4096)
	for {
		size, err := c.Read(buf)
		if err != nil {
			return 0, err
		}
		got, err := wire.ReadHeader(buf[:size])
		if err != nil || got.ID != h.ID || got.Flags&(wire.FlagQR|wire.OpcodeMask) != wire.FlagQR|wire.OpcodeNotify {
			continue // not an answer to this
		}
		if _, err := x.Verify(buf[:size], s.now()); err != nil {
			return 0, err
		}
		return got.Flags & 15, nil
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Notice is a NOTIFY that came.
type Notice struct {
	Origin    string    // of the zone, wire format and lower case
	Key       *tsig.Key // that signed it well; nil: none
	Serial    uint32    // of the zone's new version, if HasSerial
	HasSerial bool
	req       *request
	now       func() time.Time
}

// ReadNotify reads a NOTIFY. It returns nil for a message that is none or is
// malformed.
func (s *Server) ReadNotify(msg []byte) *Notice {
	req := parse(msg, s.keys, s.now())
	if req == nil || req.Flags&wire.OpcodeMask != wire.OpcodeNotify {
		return nil
	}
	n := &Notice{Origin: req.Name, Key: req.sig.Key(), Serial: req.serial, HasSerial: req.hasSOA, req: req, now: s.now}
	if req.rcode == noError && (req.Question.Type != typeSOA || req.Class != classIN) {
		req.rcode = formErr
	}
	return n
}

// Good says whether nothing is wrong with the message itself.
func (n *Notice) Good() bool { return n.req.rcode == noError }

// Refuse makes the answer one that refuses.
func (n *Notice) Refuse() { n.req.rcode = refused }

// Answer writes the answer into buf and returns its length. buf has at least 4096
// bytes.
func (n *Notice) Answer(buf []byte) int { return n.req.brief(buf, n.now()) }
