// Package console drives the PV console (public/io/console.h): one page with a
// ring of bytes for each direction, which xenconsoled reads and fills.
//
// Write never waits: it takes what the ring has room for, with one notification
// however many bytes they are. Input goes, line by line, to Config.Input; without
// one it stays in the ring, and costs nothing.
//
// # Two writers
//
// The gate writes to the same ring, without asking here: panics, what the runtime
// prints, and its own reports must come out whatever state this package is in.
// So the producer index in the page is the only one there is. Write copies its
// bytes behind it and moves it only if nobody else has; otherwise it begins
// again behind what the gate wrote. On the one vCPU the gate's writes are whole.
//
// # Misbehaving daemons
//
// A console that never drains (CVE-2022-46770 was an endless loop over one) is a
// full ring: nothing is taken. The indexes of output only ever select within the
// ring; when they are impossible, the ring is full for as long as they are. The
// consumer index of input is kept here, and a producer index that jumps makes the
// input begin anew at that index. Input without end is read at a bounded pace,
// and a line that is too long is cut.
package console

import (
	"context"
	"sync"
	"time"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/libos/event"
	"ampoule/libos/format"
)

// MaxLine is the longest line of input, in bytes, without its end.
const MaxLine = 256

// inputPause is the shortest time between two looks at the input: a ring of it
// each time is more than anyone types.
const inputPause = 10 * time.Millisecond

// Config is what a Console needs of the machine.
type Config struct {
	Gate xen.Gate
	// Line gives the console's page and port. It is called by Open, and by
	// Resume after a restore.
	Line func() (xen.Line, error)
	// Input, if not nil, is called with each line of input, without its end,
	// from the Console's goroutine. The bytes are of any content and valid
	// until it returns.
	Input func([]byte)
}

// Console is the VM's console. All methods may be called from any goroutine, and
// none but Close waits.
type Console struct {
	conf Config
	src  event.Source
	done chan struct{}

	mu        sync.Mutex // guards all below
	line      xen.Line
	inCons    uint32
	suspended bool
	closed    bool
	jumps     uint64 // impossible indexes seen

	text [MaxLine]byte // of the goroutine: the line being typed
	n    int
}

// Open takes over the console. Bytes that are in the ring stay there.
func Open(conf Config) (*Console, error) {
	c := &Console{conf: conf, done: make(chan struct{})}
	if err := c.attach(); err != nil {
		return nil, err
	}
	if conf.Input == nil {
		close(c.done)
		return c, nil
	}
	c.src.Counter, c.src.Seen = c.line.Page.Half(abi.ConsoleInProd), uint16(c.inCons)
	if err := event.Register(&c.src); err != nil {
		return nil, format.Errorf("console: %w", err)
	}
	go c.read()
	return c, nil
}

// attach takes over page and port as they are now.
func (c *Console) attach() error {
	line, err := c.conf.Line()
	if err != nil {
		return format.Errorf("console: %w", err)
	}
	if !line.Page.Valid() {
		return format.Errorf("console: no page")
	}
	c.line = line
	c.inCons = line.Page.Load32(abi.ConsoleInCons)
	return nil
}

// tries is how often Write begins again: once is all that the gate can cause.
const tries = 3

// Write offers bytes and answers how many the ring had room for.
func (c *Console) Write(b []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspended || c.closed || len(b) == 0 {
		return 0
	}
	for range tries {
		at, n := c.copy(b)
		if n == 0 {
			return 0
		}
		if c.publish(at, n) {
			return n
		}
	}
	return 0
}

// copy puts as many bytes as there is room for into the ring, and says behind
// which index.
func (c *Console) copy(b []byte) (at uint32, n int) {
	p := c.line.Page
	at = p.Load32(abi.ConsoleOutProd)
	used := at - p.Load32(abi.ConsoleOutCons)
	if used > abi.ConsoleOut {
		c.jumps++
		return at, 0
	}
	ring := p.Bytes()[abi.ConsoleOutAt : abi.ConsoleOutAt+abi.ConsoleOut]
	b = b[:min(len(b), abi.ConsoleOut-int(used))]
	k := copy(ring[at%abi.ConsoleOut:], b)
	copy(ring, b[k:])
	return at, len(b)
}

// publish shows the daemon n bytes behind an index, unless someone else has
// written there.
func (c *Console) publish(at uint32, n int) bool {
	if !c.line.Page.CompareAndSwap32(abi.ConsoleOutProd, at, at+uint32(n)) {
		return false
	}
	c.conf.Gate.Notify(c.line.Port)
	return true
}

// Jumps counts the impossible indexes that the daemon has shown.
func (c *Console) Jumps() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumps
}

// Suspend leaves page and port alone until Resume: nothing is taken.
func (c *Console) Suspend(context.Context) error {
	c.mu.Lock()
	c.suspended = true
	c.mu.Unlock()
	return nil
}

// Resume ends a Suspend; after a restore it takes over the new port.
func (c *Console) Resume(_ context.Context, restored bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.src.Wake()
	if restored {
		if err := c.attach(); err != nil {
			return err
		}
	}
	c.suspended = false
	return nil
}

// Close ends the Console's goroutine and waits for it. Nothing is taken from
// then on.
func (c *Console) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.src.Wake()
	<-c.done
	return nil
}

// read passes on input, until Close.
func (c *Console) read() {
	defer close(c.done)
	defer event.Unregister(&c.src)
	var b [abi.ConsoleIn]byte
	for {
		n, more := c.take(&b)
		if !more {
			return
		}
		if c.conf.Input != nil {
			c.split(b[:n])
		}
		if n > 0 {
			time.Sleep(inputPause)
		}
		c.src.Wait()
	}
}

// take copies what has been typed, and says whether to go on.
func (c *Console) take(b *[abi.ConsoleIn]byte) (n int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.suspended {
		return 0, !c.closed
	}
	p := c.line.Page
	prod := p.Load32(abi.ConsoleInProd)
	if prod-c.inCons > abi.ConsoleIn {
		c.jumps++
		c.inCons = prod
	}
	for ; c.inCons != prod; n++ {
		b[n] = p.Bytes()[abi.ConsoleInAt+c.inCons%abi.ConsoleIn]
		c.inCons++
	}
	c.src.Counter, c.src.Seen = p.Half(abi.ConsoleInProd), uint16(prod)
	if p.Load32(abi.ConsoleInCons) != c.inCons {
		p.Store32(abi.ConsoleInCons, c.inCons)
		c.conf.Gate.Notify(c.line.Port)
	}
	return n, true
}

// split makes lines of what was typed. What does not fit into a line is left
// out.
func (c *Console) split(b []byte) {
	for _, v := range b {
		switch {
		case v == '\r' || v == '\n':
			if c.n > 0 {
				c.conf.Input(c.text[:c.n])
			}
			c.n = 0
		case c.n < MaxLine:
			c.text[c.n] = v
			c.n++
		}
	}
}
