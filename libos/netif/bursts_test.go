package netif

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/netif/netiftest"
)

// TestBursts: end follows each begin, when what the burst had can be read, and there is
// no need for another goroutine to answer it.
func TestBursts(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	var open, wrong atomic.Int32
	var ends, reads, echoed atomic.Int32
	var server atomic.Pointer[Conn]
	b.SetBursts(
		func() {
			wrong.Add(open.Swap(1))
		},
		func() {
			open.Store(0)
			ends.Add(1)
			c := server.Load()
			if c == nil {
				return
			}
			var buf [2048]byte
			n, err := c.TryRead(buf[:])
			if n == 0 || err != nil {
				return
			}
			reads.Add(1)
			if k, err := c.TryWrite([][]byte{buf[:n]}); err == nil {
				echoed.Add(int32(k))
			}
		})
	c, s := connect(t, a, b, addrB4+":80")
	_, other := b.link.flows.queue.(layered) // processes segments in goroutines of its own
	if other {
		go io.Copy(s, s)
	} else {
		server.Store(s.(*Conn))
	}
	for range 50 {
		exchange(t, c, payload(700))
	}
	if wrong.Load() != 0 || open.Load() != 0 {
		t.Errorf("no end: %d times, %d open", wrong.Load(), open.Load())
	}
	if ends.Load() < 50 {
		t.Errorf("%d bursts", ends.Load())
	}
	if other {
		return
	}
	if reads.Load() < 50 || echoed.Load() != 50*700 {
		t.Errorf("%d reads, %d bytes", reads.Load(), echoed.Load())
	}
}

// TestOwed: what nobody answers is acknowledged at once all the same.
func TestOwed(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	c, s := connect(t, a, b, addrB4+":80")
	var buf [64]byte
	for i := range 20 {
		before, sent := time.Now(), b.link.count.txFrames.Load()
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is acknowledged", func() bool { return b.link.count.txFrames.Load() > sent })
		if d := time.Since(before); d > time.Second {
			t.Errorf("an acknowledgement took %v", d)
		}
		if n, err := s.Read(buf[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}
