package xenstore

import (
	"context"
	"sync"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/event"
	"ampoule/libos/format"
)

// Pace of the work that a store can cause.
const (
	roomWait    = time.Millisecond // between two looks for room in the request ring
	stormLimit  = 256              // events taken in one stormWindow
	stormWindow = 10 * time.Millisecond
)

// Config is what a Client needs of the machine.
type Config struct {
	Gate xen.Gate
	// Line gives the store's page and port. It is called by Open, and by
	// Resume after a restore.
	Line func() (xen.Line, error)
}

// reply is a reply on its way to whoever asked.
type reply struct {
	id   uint32
	body string
	err  error
}

// Client is a connection to the store. All methods but Suspend and Resume may be
// called from any goroutine; those with a context wait no longer than it allows.
type Client struct {
	conf  Config
	turn  chan struct{} // holds one token: whose request is next
	reply chan reply    // to the holder of turn
	src   event.Source
	done  chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards all below
	conn    conn
	watches map[string]*Watch // by token
	tokens  uint64
	closed  bool
	stats   Stats
}

// Stats counts since Open.
type Stats struct {
	Requests uint64
	Events   uint64 // of watches
	Strays   uint64 // events that no watch has asked for
	Pauses   uint64 // times that the reader slowed down a storm of events
}

// Open takes over the store's page.
func Open(conf Config) (*Client, error) {
	line, err := conf.Line()
	if err != nil {
		return nil, format.Errorf("xenstore: %w", err)
	}
	if !line.Page.Valid() {
		return nil, format.Errorf("xenstore: no page")
	}
	c := &Client{
		conf: conf, turn: make(chan struct{}, 1), reply: make(chan reply, maxBatch), done: make(chan struct{}),
		watches: make(map[string]*Watch),
	}
	c.conn.gate = conf.Gate
	c.conn.reset(line)
	c.src.Counter, c.src.Seen = line.Page.Half(abi.StoreRspProd), uint16(c.conn.rspCons)
	if err := event.Register(&c.src); err != nil {
		return nil, format.Errorf("xenstore: %w", err)
	}
	go c.read()
	return c, nil
}

// Close ends the reader and answers all calls with ErrClosed. It waits for the
// reader.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.hand(reply{id: c.conn.id, err: ErrClosed})
	c.mu.Unlock()
	c.src.Wake()
	<-c.done
	return nil
}

// Err says why the connection is out of use, or is nil.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err()
}

func (c *Client) err() error {
	if c.closed {
		return ErrClosed
	}
	return c.conn.broken
}

// Stats is a snapshot of the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// read takes messages as they come, until Close. It takes no more than stormLimit
// events in one stormWindow: a store that sends them without end gets no more
// time than that.
func (c *Client) read() {
	defer close(c.done)
	defer event.Unregister(&c.src)
	events, start := 0, time.Now()
	for {
		n, more := c.poll()
		if !more {
			return
		}
		if n > 0 {
			now := time.Now()
			if now.Sub(start) >= stormWindow {
				events, start = 0, now
			}
			if events += n; events >= stormLimit {
				c.mu.Lock()
				c.stats.Pauses++
				c.mu.Unlock()
				time.Sleep(stormWindow - now.Sub(start))
			}
		}
		c.src.Wait()
	}
}

// poll takes what is there, at most stormLimit events, and says how many events
// there were and whether to go on.
func (c *Client) poll() (events int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, false
	}
	for events < stormLimit {
		m, ok := c.conn.next()
		if !ok {
			break
		}
		if m.typ == abi.StoreWatchEvent {
			events++
			c.event(m.body)
			continue
		}
		r := reply{id: m.id}
		if m.typ == abi.StoreError {
			r.err = replyError(m.body)
		} else {
			r.body = string(m.body)
		}
		c.hand(r)
	}
	if err := c.conn.broken; err != nil {
		c.hand(reply{id: c.conn.id, err: err})
		// What the store does from now on is of no interest.
		c.src.Counter = nil
		return events, true
	}
	c.src.Counter, c.src.Seen = c.conn.line.Page.Half(abi.StoreRspProd), uint16(c.conn.rspCons)
	if events == stormLimit {
		c.src.Wake()
	}
	return events, true
}

// hand gives a reply to the holder of turn, in place of one that nobody took when
// there are too many. Called with mu held.
func (c *Client) hand(r reply) {
	select {
	case c.reply <- r:
		return
	default:
	}
	select {
	case <-c.reply:
	default: // it was taken this very moment
	}
	c.reply <- r
}

// take waits for the turn to make a request.
func (c *Client) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return format.Errorf("xenstore: waiting for the request before: %w", context.Cause(ctx))
	}
}

// call makes a request and waits for the reply.
func (c *Client) call(ctx context.Context, typ, tx uint32, parts ...string) (string, error) {
	if err := c.take(ctx); err != nil {
		return "", err
	}
	defer func() { <-c.turn }()
	return c.ask(ctx, typ, tx, parts...)
}

// ask is call by the holder of turn.
func (c *Client) ask(ctx context.Context, typ, tx uint32, parts ...string) (string, error) {
	r := []request{{typ: typ, tx: tx, parts: parts}}
	if err := c.askAll(ctx, r); err != nil {
		return "", err
	}
	return r[0].body, r[0].err
}

// start sends a request, waiting for room.
func (c *Client) start(ctx context.Context, typ, tx uint32, parts ...string) (id uint32, err error) {
	begun := false
	for {
		done := false
		c.mu.Lock()
		if err = c.err(); err == nil && !begun && c.conn.flush() {
			// Nothing is left of a request that was given up.
			c.stats.Requests++
			err = c.conn.begin(typ, tx, parts...)
			id, begun = c.conn.id, true
		}
		if err == nil && begun {
			done = c.conn.flush()
			err = c.conn.broken
		}
		if err == nil && !done && ctx.Err() != nil {
			err = format.Errorf("xenstore: the store takes no request: %w", context.Cause(ctx))
			if begun {
				c.conn.abandon()
			}
		}
		c.mu.Unlock()
		if err != nil || done {
			return id, err
		}
		time.Sleep(roomWait)
	}
}

// Suspend waits until no request is under way and lets no other one start until
// Resume.
func (c *Client) Suspend(ctx context.Context) error { return c.take(ctx) }

// Resume ends a Suspend. After a restore it takes over the new connection and
// sets all watches again; each of them is told that all may have changed.
// Transactions under way are lost and answer ErrNotExist.
func (c *Client) Resume(ctx context.Context, restored bool) error {
	defer func() { <-c.turn }()
	if !restored {
		return nil
	}
	line, err := c.conf.Line()
	if err != nil {
		return format.Errorf("xenstore: resume: %w", err)
	}
	c.mu.Lock()
	c.conn.reset(line)
	watches := make([]*Watch, 0, len(c.watches))
	for _, w := range c.watches {
		watches = append(watches, w)
	}
	c.mu.Unlock()
	c.src.Wake()
	reqs := make([]request, len(watches))
	for i, w := range watches {
		reqs[i] = request{typ: abi.StoreWatch, parts: []string{w.path, "\x00", w.token, "\x00"}}
	}
	err = c.askAll(ctx, reqs)
	for i, w := range watches {
		if err == nil && reqs[i].err != nil {
			err = format.Errorf("watch %s: %w", w.path, reqs[i].err)
		}
		w.tell()
	}
	if err != nil {
		return format.Errorf("xenstore: resume: %w", err)
	}
	return nil
}
