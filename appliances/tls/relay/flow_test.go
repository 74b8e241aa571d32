package relay

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// TryWrite takes what there is room for, if p.room says how much.
func (p *piped) TryWrite(all [][]byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range all {
		k := min(len(b), p.room)
		p.out = append(p.out, b[:k]...)
		p.room -= k
		n += k
	}
	if late := p.late; late > 0 && p.room == 0 {
		p.late, p.room = 0, late
		p.watch()
	}
	return n, p.werr
}

func (p *piped) Watch(f func()) { p.watch = f }

func (p *piped) Abort()       {}
func (p *piped) Close() error { return nil }

// couple is a flow from one connection to another one, and one back.
type couple struct {
	e          *Events
	a, b       *piped
	ra, rb     *Raw
	up, down   Flow
	finished   int
	ups, downs []error
	count      atomic.Int64
}

func newCouple(buffers int) *couple {
	var clock Clock
	clock.Store(1)
	act := &Activity{Clock: &clock}
	c := &couple{e: NewEvents(buffers), a: &piped{room: 1 << 30}, b: &piped{room: 1 << 30}}
	c.ra, c.rb = NewRaw(c.a, Front, act), NewRaw(c.b, Back, act)
	c.e.Prepare(&c.up, c.rb, c.ra, &c.count, func() error { c.finished++; return nil }, func(err error) { c.ups = append(c.ups, err) })
	c.e.Prepare(&c.down, c.ra, c.rb, &c.count, func() error { return nil }, func(err error) { c.downs = append(c.downs, err) })
	c.ra.Share(c.e, &c.up, &c.down)
	c.rb.Share(c.e, &c.down, &c.up)
	return c
}

// work is what the goroutine that receives does when f has happened.
func (c *couple) work(f func()) {
	c.e.Begin()
	f()
	c.e.End()
}

// TestEndWithData: an end that comes with the last data goes through, be it before Watch
// or after, in one event or in two.
func TestEndWithData(t *testing.T) {
	for name, do := range map[string]func(*couple){
		"before": func(c *couple) {
			c.a.in, c.a.err = []byte("all"), io.EOF
			c.work(func() { c.ra.Watch(); c.rb.Watch() })
		},
		"two events": func(c *couple) {
			c.work(func() { c.ra.Watch(); c.rb.Watch() })
			c.work(func() {
				c.a.in = []byte("all")
				c.a.watch()
				c.a.err = io.EOF
				c.a.watch()
			})
		},
		"later": func(c *couple) {
			c.work(func() { c.ra.Watch(); c.rb.Watch() })
			c.work(func() { c.a.in = []byte("all"); c.a.watch() })
			c.work(func() { c.a.err = io.EOF; c.a.watch() })
		},
	} {
		c := newCouple(8)
		do(c)
		if string(c.b.out) != "all" || c.finished != 1 || len(c.ups) != 1 || c.ups[0] != nil || len(c.downs) != 0 || c.count.Load() != 3 {
			t.Errorf("%s: %q, %d ends passed on, %v, %v", name, c.b.out, c.finished, c.ups, c.downs)
		}
	}
}

// TestHeld: what a peer does not take is held within bounds, stops the other side, and is
// written when there is room, before the end is passed on.
func TestHeld(t *testing.T) {
	c := newCouple(1)
	c.work(func() { c.ra.Watch(); c.rb.Watch() })
	c.b.room = 5
	all := strings.Repeat("0123456789", 10_000)
	c.work(func() { c.a.in, c.a.err = []byte(all), io.EOF; c.a.watch() })
	if left := len(c.a.in); left != len(all)-large || c.e.held != large-5 || c.rb.act.Stalled() != 0 || !c.rb.act.Writing() {
		t.Fatalf("%d bytes are not read, %d are held", left, c.e.held)
	}
	for len(c.b.out) < len(all) {
		c.work(func() { c.b.room += 7000; c.b.watch() })
		if c.e.held > large {
			t.Fatalf("%d bytes are held", c.e.held)
		}
	}
	if string(c.b.out) != all || c.finished != 1 || len(c.ups) != 1 || c.ups[0] != nil || c.e.held != 0 || c.rb.act.Writing() {
		t.Errorf("%d bytes come through, %d ends passed on, %v, %d held", len(c.b.out), c.finished, c.ups, c.e.held)
	}
}

// pieces reads with less room than Events has, as crypto/tls does.
type pieces struct{ *Raw }

func (p pieces) Read(b []byte) (int, error) { return p.Raw.Read(b[:min(len(b), 4)]) }

// TestPieces: what one event tells of goes through, though a piece ends where the room does
// that it was read with.
func TestPieces(t *testing.T) {
	c := newCouple(8)
	c.up.src = pieces{c.ra}
	c.work(func() { c.ra.Watch(); c.rb.Watch() })
	const all = "two  pieces, then less"
	c.work(func() { c.a.in = []byte(all); c.a.watch() })
	if string(c.b.out) != all {
		t.Errorf("%q of %q comes through", c.b.out, all)
	}
}

// TestRoomSince: room that is told of while the peer is found to have none is not missed.
func TestRoomSince(t *testing.T) {
	c := newCouple(8)
	c.work(func() { c.ra.Watch(); c.rb.Watch() })
	c.b.room, c.b.late = 3, 100
	c.work(func() { c.a.in = []byte("all of it"); c.a.watch() })
	if string(c.b.out) != "all of it" || c.e.held != 0 {
		t.Errorf("%q comes through, %d are held", c.b.out, c.e.held)
	}
}

// TestHeldByMany: when peers hold up much already, one more holds up little.
func TestHeldByMany(t *testing.T) {
	c := newCouple(1)
	c.work(func() { c.ra.Watch(); c.rb.Watch() })
	c.e.held, c.b.room = large, 0
	c.work(func() { c.a.in = make([]byte, 3*large); c.a.watch() })
	if len(c.rb.rest) != small {
		t.Errorf("%d bytes are held", len(c.rb.rest))
	}
}

// TestHeldBound: who makes TLS answer and takes nothing of it is cut.
func TestHeldBound(t *testing.T) {
	c := newCouple(8)
	c.a.room = 0
	var err error
	for n := 0; err == nil; n++ {
		if _, err = c.ra.Write(make([]byte, 1000)); n > maxHeld/1000 {
			t.Fatal("there is no bound")
		}
	}
	if err != errHeld {
		t.Error(err)
	}
}

// TestBroken: an error of either side ends the flow, once, and nothing is held after it.
func TestBroken(t *testing.T) {
	broken := errors.New("broken")
	c := newCouple(8)
	c.work(func() { c.ra.Watch(); c.rb.Watch() })
	c.b.room = 0
	c.work(func() { c.a.in = []byte("data"); c.a.watch() })
	c.work(func() { c.b.werr = broken; c.b.watch(); c.b.watch() })
	c.work(func() { c.a.err = broken; c.a.watch() })
	if len(c.ups) != 1 || c.ups[0] != broken || c.e.held != 0 || len(c.downs) != 0 {
		t.Errorf("%v, %v, %d held", c.ups, c.downs, c.e.held)
	}
}

// TestShare: who has much to move gives others their turn, and what is more than a burst
// is left to Run.
func TestShare(t *testing.T) {
	c, d := newCouple(8), newCouple(8)
	d.e = c.e
	d.up.e, d.down.e, d.ra.e, d.rb.e = c.e, c.e, c.e, c.e
	c.work(func() { c.ra.Watch(); c.rb.Watch(); d.ra.Watch(); d.rb.Watch() })
	c.work(func() {
		c.a.in = make([]byte, 2*burst)
		c.a.watch()
		d.a.in = []byte("little")
		d.a.watch()
	})
	if len(c.a.in) == 0 || len(c.b.out) == 0 || string(d.b.out) != "little" {
		t.Errorf("much: %d moved; little: %q", len(c.b.out), d.b.out)
	}
	ended := make(chan struct{})
	go func() { c.e.Run(); close(ended) }()
	c.e.Close()
	<-ended
	if len(c.b.out) != 2*burst {
		t.Errorf("Run leaves %d bytes", len(c.a.in))
	}
	d.a.in = []byte(" more")
	d.a.watch() // after Run
	for c.e.rest(); string(d.b.out) != "little more"; {
		c.e.rest()
	}
}
