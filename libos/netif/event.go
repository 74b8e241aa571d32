package netif

import (
	"io"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// watch is what a Conn keeps for Watch and TryWrite.
type watch struct {
	f     func()
	in    waiter.Entry
	out   waiter.Entry // registered while waits
	waits bool
	parts parts
	from  any // SendFrom's; as *Constant its type would be in every image
	kept  int // WriteConstant's
}

// NotifyEvent implements waiter.EventListener.
func (w *watch) NotifyEvent(waiter.EventMask) { w.f() }

// Watch has f called from now on whenever more has arrived or the connection's state
// has changed, and after a TryWrite that did not take all, when there is room again.
// f may be called before Watch returns and by any goroutine, that of the stack among
// them, so it must not block or use the connection. Watch is called once; NotifyRead and
// Read are of no use afterwards, since f is all that is told.
func (c *Conn) Watch(f func()) {
	w := &c.watch
	c.unhear()
	if c.asked {
		c.wq.EventUnregister(&c.entry)
	}
	w.f = f
	w.in.Init(w, readable)
	w.out.Init(w, waiter.WritableEvents)
	c.wq.EventRegister(&w.in)
	if c.ep.Readiness(readable) != 0 {
		f()
	}
}

// TryWrite writes as much of what there is in all as the stack has room for, in one
// piece, and returns how much that is. It does not block, whatever the deadline. One
// goroutine at a time may write.
func (c *Conn) TryWrite(all [][]byte) (int, error) {
	w := &c.watch
	total := 0
	for _, b := range all {
		total += len(b)
	}
	w.parts = parts{all, 0, total}
	n, err := c.writeParts(total)
	w.parts.all = nil
	return n, err
}

// writeParts writes from c.watch.parts, which have total bytes.
func (c *Conn) writeParts(total int) (int, error) {
	w := &c.watch
	for n := 0; ; {
		k, err := c.writeMore(n)
		n += k
		_, full := err.(*tcpip.ErrWouldBlock)
		switch {
		case err != nil && !full:
			return n, c.opError("write", tcpError(err))
		case n == total:
			c.waitsForRoom(false)
			return n, nil
		case full && w.waits:
			return n, nil
		case full: // and look again: there may be room since
			c.waitsForRoom(true)
		}
	}
}

// writeMore writes from c.watch.parts, of which n bytes are written.
func (c *Conn) writeMore(n int) (int, tcpip.Error) {
	w := &c.watch
	if k, _ := w.from.(*Constant); k != nil {
		if ep, ok := c.ep.(constantEndpoint); ok {
			return ep.WriteConstant(k.held(ep), w.parts.all, n, &w.kept)
		}
	}
	if c.slices != nil {
		return c.slices.WriteSlices(w.parts.all, n)
	}
	// Atomic: none of what is read from parts is thrown away.
	k, err := c.ep.Write(&w.parts, tcpip.WriteOptions{Atomic: true})
	return int(k), err
}

// waitsForRoom says whether Watch's function is called when there is room.
func (c *Conn) waitsForRoom(on bool) {
	w := &c.watch
	if on == w.waits {
		return
	}
	if w.waits = on; on {
		c.wq.EventRegister(&w.out)
	} else {
		c.wq.EventUnregister(&w.out)
	}
}

// DelayAcks lets what has come be acknowledged up to 40 ms later, so that an answer which
// does not come at once carries the acknowledgement too. Every second full-sized segment
// is acknowledged as it comes, and so are the next ones after an answer that was not
// soon enough.
func (c *Conn) DelayAcks() {
	if d, ok := c.ep.(interface{ DelayAcks() }); ok { // the trimmed stack
		d.DelayAcks()
	}
}

// bursts are the functions of SetBursts.
type bursts struct{ begin, end func() }

// SetBursts has the goroutine that receives call begin before the stack gets a burst of
// frames, and end after their segments have been processed and before they are
// acknowledged. Whom Watch or NotifyRead tells of something in between can leave what
// there is to do to end, which must not block and delays what comes next. TryRead and
// TryWrite are there for it.
func (s *Stack) SetBursts(begin, end func()) { s.link.bursts.Store(&bursts{begin, end}) }

// parts are slices read one after the other.
type parts struct {
	all  [][]byte
	at   int // how much of the first has been read
	left int
}

// Len implements tcpip.Payloader.
func (p *parts) Len() int { return p.left }

// Read implements io.Reader: it fills b as far as there is anything.
func (p *parts) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) && len(p.all) > 0 {
		k := copy(b[n:], p.all[0][p.at:])
		n += k
		if p.at += k; p.at == len(p.all[0]) {
			p.all, p.at = p.all[1:], 0
		}
	}
	if p.left -= n; n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
