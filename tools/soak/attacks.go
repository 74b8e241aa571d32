package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"ampoule/tools/netpeer"
)

var errChanged = errors.New("the data came back changed")

// attacks takes turns until ctx ends, with a rest between two.
func (t *target) attacks(ctx context.Context, o options, phase time.Duration) {
	for ctx.Err() == nil {
		for _, attack := range []func(context.Context){
			func(ctx context.Context) { t.flood(ctx, o.flood, t.syn) },
			func(ctx context.Context) { t.flood(ctx, o.flood, fragment) },
			func(ctx context.Context) { t.idle(ctx, o.idle) },
			func(ctx context.Context) { <-ctx.Done() },
		} {
			turn, cancel := context.WithTimeout(ctx, phase)
			attack(turn)
			cancel()
		}
	}
}

// flood injects frames at a rate, in bursts of a hundredth of a second.
func (t *target) flood(ctx context.Context, rate int, frame func() []byte) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range max(rate/100, 1) {
			// A full queue on the way is part of a flood.
			if t.inject(frame()) == nil {
				t.tally.injected.Add(1)
			}
		}
	}
}

// syn is the first segment of a connection from an address that will not
// answer: a neighbour that is not there, or one behind the gateway.
func (t *target) syn() []byte {
	src := netip.AddrFrom4([4]byte{10, 0, 2, byte(20 + rand.IntN(200))})
	dst := netpeer.GuestIPv4
	switch rand.IntN(4) {
	case 0, 1:
		src = netip.AddrFrom4([4]byte{198, 51, 100, byte(rand.Uint32())})
	case 2:
		a := netpeer.GuestIPv6.As16()
		a[14], a[15] = byte(1+rand.IntN(255)), byte(rand.Uint32())
		src, dst = netip.AddrFrom16(a), netpeer.GuestIPv6
	}
	return netpeer.SYN(netip.AddrPortFrom(src, uint16(1024+rand.IntN(60000))), netip.AddrPortFrom(dst, uint16(t.service.Port)), rand.Uint32())
}

// fragment is a piece of a large datagram that never becomes whole.
func fragment() []byte {
	src, dst := netip.AddrFrom4([4]byte{198, 51, 100, byte(rand.Uint32())}), netpeer.GuestIPv4
	if rand.IntN(2) == 0 {
		src, dst = netpeer.HostIPv6.Addr(), netpeer.GuestIPv6
	}
	return netpeer.Fragment(src, dst, rand.Uint32(), 8*rand.IntN(5000), make([]byte, 1400))
}

// idle opens n connections, leaves them silent until ctx ends, and closes them
// all, every other one by a reset.
func (t *target) idle(ctx context.Context, n int) {
	t.crowded.Store(true)
	var (
		mu    sync.Mutex
		conns []net.Conn
		wg    sync.WaitGroup
		jobs  = make(chan struct{})
	)
	for range 32 {
		wg.Go(func() {
			for range jobs {
				limit, cancel := context.WithTimeout(ctx, 3*time.Second)
				c, err := t.dial(limit, "tcp", t.addr)
				cancel()
				if err != nil {
					t.tally.refused.Add(1)
					continue
				}
				t.tally.idle.Add(1)
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	for range n {
		select {
		case jobs <- struct{}{}:
		case <-ctx.Done():
		}
	}
	close(jobs)
	wg.Wait()
	<-ctx.Done()
	for i, c := range conns {
		if l, ok := c.(*net.TCPConn); ok && i%2 == 0 {
			l.SetLinger(0)
		}
		c.Close()
	}
	// The appliance needs a moment to notice.
	time.AfterFunc(t.grace, func() { t.crowded.Store(false) })
}
