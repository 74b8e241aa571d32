package tlsd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/appliances/tls/tlstest"
	"ampoule/libos/memory"
)

// ended says whether the terminator ends c within d.
func ended(c net.Conn, d time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(d))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestLimits: connections beyond each bound are refused, and places come back.
func TestLimits(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"connections": func(l *Limits) { l.Connections = 3 },
		"per client":  func(l *Limits) { l.PerClient = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			ca := tlstest.NewCA(t)
			cfg := testConfig(serveBackend(t, echo))
			change(&cfg.Limits)
			r := start(t, cfg, ca, nil)
			var held []*tls.Conn
			for range 3 {
				held = append(held, r.dial(t, r.client()))
			}
			if c, err := tls.Dial("tcp", r.addr, r.client()); err == nil {
				c.Close()
				t.Fatal("a fourth connection is taken")
			}
			if n := r.Stats().Refused.Load(); n != 1 {
				t.Errorf("%d are counted as refused", n)
			}
			ask(t, held[0], "still", "still")
			held[1].Close()
			within(t, "a place is free", func() bool { return r.Stats().Open.Load() == 2 })
			ask(t, r.dial(t, r.client()), "new", "new")
		})
	}
}

// TestHandshakes: who does not go on with the handshake makes room for others.
func TestHandshakes(t *testing.T) {
	ca := tlstest.NewCA(t)
	cfg := testConfig(serveBackend(t, echo))
	cfg.Limits.Handshakes = 2
	cfg.Limits.Idle = 800 * time.Millisecond // the clock ticks every 200 ms
	r := start(t, cfg, ca, nil)
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	within(t, "both are taken", func() bool { return r.Stats().Accepted.Load() == 2 })
	if _, err := tls.Dial("tcp", r.addr, r.client()); err == nil {
		t.Error("a third handshake is taken at once")
	}
	time.Sleep(1300 * time.Millisecond)
	ask(t, r.dial(t, r.client()), "hello", "hello")
	if !ended(silent[0], 2*time.Second) {
		t.Error("the oldest handshake lives on")
	}
}

// TestTimeouts: each phase ends when its time is over, and not before.
func TestTimeouts(t *testing.T) {
	const limit = 400 * time.Millisecond
	silence := func(c net.Conn) { time.Sleep(5 * time.Second) }
	for name, c := range map[string]struct {
		set     func(*Limits)
		backend func(net.Conn)
		do      func(*testing.T, *running) net.Conn // what then is to end
	}{
		"handshake": {func(l *Limits) { l.Handshake = limit }, echo, func(t *testing.T, r *running) net.Conn {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}},
		"idle": {func(l *Limits) { l.Idle = limit }, silence, func(t *testing.T, r *running) net.Conn { return r.dial(t, r.client()) }},
		"half-closed": {func(l *Limits) { l.HalfClosed = limit }, silence, func(t *testing.T, r *running) net.Conn {
			c := r.dial(t, r.client())
			c.CloseWrite()
			return c
		}},
		"lifetime": {func(l *Limits) { l.Lifetime, l.Idle = limit, 4*time.Second }, func(c net.Conn) {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, func(t *testing.T, r *running) net.Conn { return r.dial(t, r.client()) }},
		"stall": {func(l *Limits) { l.Stall, l.Idle = limit, time.Minute }, silence, func(t *testing.T, r *running) net.Conn {
			c := r.dial(t, r.client())
			go c.Write(make([]byte, 64<<20)) // more than all that lies between
			return c
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := tlstest.NewCA(t)
			cfg := testConfig(serveBackend(t, c.backend))
			c.set(&cfg.Limits)
			r := start(t, cfg, ca, nil)
			conn := c.do(t, r)
			begin := time.Now()
			if !ended(conn, 4*time.Second) {
				t.Fatal("it does not end")
			}
			if took := time.Since(begin); took < limit/2 {
				t.Errorf("it ends after %v", took)
			}
		})
	}
}

// TestDrain: a port that is closed, a connection that goes on and may end.
func TestDrain(t *testing.T) {
	ca := tlstest.NewCA(t)
	r := start(t, testConfig(serveBackend(t, echo)), ca, nil)
	c := r.dial(t, r.client())
	ask(t, c, "before", "before")
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Drain(short); err == nil {
		t.Error("drained with a connection open")
	}
	if c, err := net.DialTimeout("tcp", r.addr, time.Second); err == nil {
		c.Close()
		t.Error("the port is open")
	}
	ask(t, c, "meanwhile", "meanwhile")
	time.AfterFunc(50*time.Millisecond, func() { c.Close() })
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestShortMemory: nothing is taken, and who takes nothing is ended.
func TestShortMemory(t *testing.T) {
	ca := tlstest.NewCA(t)
	cfg := testConfig(serveBackend(t, func(c net.Conn) {
		if b := make([]byte, 5); readFull(c, b) && string(b) == "flood" {
			for {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}
		io.Copy(c, c)
	}))
	cfg.Limits.Idle, cfg.Limits.HalfClosed = time.Minute, 800*time.Millisecond // the clock ticks every 200 ms
	var room atomic.Uint64
	room.Store(50)
	r := start(t, cfg, ca, nil, func(t *Terminator) {
		t.memory = memory.New(memory.Machine{Room: func() (free, all uint64) { return room.Load(), 100 }, Collect: func() {}}, t, t.log)
	})
	good, slow := r.dial(t, r.client()), r.dial(t, r.client())
	io.WriteString(good, "hello")
	io.WriteString(slow, "flood")
	within(t, "a write stalls", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for c := range r.conns {
			if c.act.Stalled() > 1 {
				return true
			}
		}
		return false
	})
	room.Store(6)
	within(t, "the slow one is ended", func() bool { return r.Stats().Shed.Load() == 1 && r.Stats().Open.Load() == 1 })
	if c, err := tls.Dial("tcp", r.addr, r.client()); err == nil {
		c.Close()
		t.Error("a connection is taken while memory is short")
	}
	ask(t, good, " all", " all")
	room.Store(50)
	within(t, "memory is there again", func() bool { return !r.memory.Full() })
	ask(t, r.dial(t, r.client()), "hellothere", "there")

	room.Store(3) // and no look comes before
	if c, err := tls.Dial("tcp", r.addr, r.client()); err == nil {
		c.Close()
		t.Error("a handshake is made with next to no memory left")
	}
	if n := r.Stats().Handshakes[TLS13][Full].Load(); n != 3 {
		t.Errorf("%d handshakes", n)
	}
}

// TestShedOrder: who is idle gives way only where anybody may, and behind those in their
// handshake; who has been idle for longest gives way first.
func TestShedOrder(t *testing.T) {
	cfg := testConfig(serveBackend(t, func(c net.Conn) { io.Copy(c, c) }))
	cfg.Limits.Handshake, cfg.Limits.Idle, cfg.Limits.HalfClosed = time.Minute, time.Minute, 200*time.Millisecond // the clock ticks every 50 ms
	r := start(t, cfg, tlstest.NewCA(t), nil)
	first, second := r.dial(t, r.client()), r.dial(t, r.client())
	ask(t, first, "a", "a")
	ask(t, second, "a", "a")
	silent, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "all are there", func() bool { return r.Stats().Open.Load() == 3 })
	tick := r.clock.Load()
	within(t, "time passes", func() bool { return r.clock.Load() > tick+1 })
	ask(t, first, "b", "b")
	if n := r.Shed(3, false); n != 0 {
		t.Errorf("%d are ended that do not stall", n)
	}
	for i, c := range []net.Conn{silent, second, first} {
		if n := r.Shed(1, true); n != 1 || !ended(c, 5*time.Second) {
			t.Fatalf("number %d is not the next that is ended", i)
		}
		within(t, "it is forgotten", func() bool { return r.Stats().Open.Load() == int64(2-i) })
	}
	if n := r.Shed(1, true); n != 0 || r.Stats().Shed.Load() != 3 {
		t.Errorf("%d of none are ended, %d are counted", n, r.Stats().Shed.Load())
	}
}

func readFull(c net.Conn, b []byte) bool {
	_, err := io.ReadFull(c, b)
	return err == nil
}
