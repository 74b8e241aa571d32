package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/freeport"
	"ampoule/tools/load"
)

// quick is a soak of a second or two.
var quick = schedule{stats: 20 * time.Millisecond, warm: 100 * time.Millisecond, rest: 100 * time.Millisecond,
	load: 800 * time.Millisecond, phase: 100 * time.Millisecond, grace: 50 * time.Millisecond}

// appliance is an echo service on loopback that can be made to misbehave.
type appliance struct {
	silent  atomic.Bool // answers no datagram
	closing atomic.Bool // accepts and closes connections
	heap    atomic.Int64
}

func (a *appliance) start(t *testing.T) *target {
	t.Helper()
	port, release, err := freeport.Reserve() // for both, which the kernel cannot promise
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	m := newMemory()
	var wg sync.WaitGroup
	wg.Go(func() { a.datagrams(u) })
	wg.Go(func() { a.connections(l) })
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(quick.stats):
				m.line(fmt.Sprintf("memory heap=%d sys=1 pages_free=500", a.heap.Load()))
			}
		}
	})
	t.Cleanup(func() { u.Close(); l.Close(); close(done); wg.Wait() })
	var d net.Dialer
	return &target{name: "test", service: load.Echo(64), dial: d.DialContext, inject: func([]byte) error { return nil },
		addr: l.Addr().String(), addr6: l.Addr().String(), memory: m, ended: done}
}

func (a *appliance) datagrams(u net.PacketConn) {
	b := make([]byte, 2000)
	for {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		if !a.silent.Load() {
			u.WriteTo(b[:n], from)
		}
	}
}

func (a *appliance) connections(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if !a.closing.Load() {
				io.Copy(c, c)
			}
		}()
	}
}

func soakQuick(t *testing.T, during func(*appliance)) (*target, error) {
	t.Helper()
	a := &appliance{}
	a.heap.Store(10e6)
	tg := a.start(t)
	time.AfterFunc(quick.warm+quick.rest+quick.load/4, func() { during(a) })
	return tg, tg.soak(t.Context(), options{idle: 50, flood: 1000, streams: 1}, quick)
}

func TestHealthy(t *testing.T) {
	tg, err := soakQuick(t, func(a *appliance) { a.heap.Store(10.99e6) })
	if err != nil {
		t.Fatal(err)
	}
	if y := &tg.tally; y.answers.Load() == 0 || y.streams.Load() == 0 || y.idle.Load() < 50 || y.injected.Load() == 0 || y.bytes.Load() < 256<<10 {
		t.Errorf("not all was done: %s", y)
	}
}

func TestMemoryGrows(t *testing.T) {
	_, err := soakQuick(t, func(a *appliance) { a.heap.Store(12e6) })
	if err == nil || !strings.Contains(err.Error(), "heap was 10000000 bytes and is 12000000") {
		t.Errorf("error %v", err)
	}
}

func TestMemoryComesBackLate(t *testing.T) {
	if _, err := soakQuick(t, func(a *appliance) {
		a.heap.Store(50e6)
		time.AfterFunc(quick.load*3/4+quick.rest/2, func() { a.heap.Store(10e6) })
	}); err != nil {
		t.Error(err)
	}
}

func TestSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the five seconds of gapLimit")
	}
	_, err := soakQuick(t, func(a *appliance) { a.silent.Store(true) })
	if err == nil || !strings.Contains(err.Error(), "UDP to") && !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("error %v", err)
	}
}

func TestConnectionsFail(t *testing.T) {
	_, err := soakQuick(t, func(a *appliance) { a.closing.Store(true) })
	if err == nil || !strings.Contains(err.Error(), "TCP") {
		t.Errorf("error %v", err)
	}
}

func TestGuestEnds(t *testing.T) {
	a := &appliance{}
	tg := a.start(t)
	ended := make(chan struct{})
	tg.ended = ended
	time.AfterFunc(300*time.Millisecond, func() { close(ended) })
	if err := tg.soak(t.Context(), options{idle: 5, flood: 100, streams: 1}, quick); err == nil || !strings.Contains(err.Error(), "the guest ended") {
		t.Errorf("error %v", err)
	}
}

func TestNoMemoryLine(t *testing.T) {
	if _, err := newMemory().best(time.Time{}); err == nil {
		t.Error("no error without memory lines")
	}
}

func TestMemoryLine(t *testing.T) {
	m := newMemory()
	for _, l := range []string{
		"noise", "memory heap=x sys=1 pages_free=1", "2026-01-01T00:00:00Z info memory host=echo heap=300 sys=20 pages_free=7 goroutines=5",
		"memory heap=200 sys=30 pages_free=6",
	} {
		m.line(l)
	}
	b, err := m.best(time.Time{})
	if err != nil || b.heap != 200 || b.sys != 20 || b.pagesFree != 7 {
		t.Errorf("best %+v, %v", b, err)
	}
	if p := m.peak(); p.heap != 300 || p.sys != 30 || p.pagesFree != 6 {
		t.Errorf("peak %+v", p)
	}
	if _, err := m.best(time.Now()); err == nil {
		t.Error("old lines were taken for new ones")
	}
}

func TestBack(t *testing.T) {
	start := sample{heap: 10 << 20, pagesFree: 100}
	for _, tc := range []struct {
		end sample
		ok  bool
	}{
		{sample{heap: 10 << 20, pagesFree: 100, sys: 1 << 40}, true}, {sample{heap: 11 << 20, pagesFree: 90}, true},
		{sample{heap: 11<<20 + 1, pagesFree: 100}, false}, {sample{heap: 10, pagesFree: 89}, false},
	} {
		if err := back(start, tc.end); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.end, err)
		}
	}
	small := sample{heap: 1 << 20}
	if back(small, sample{heap: 1<<20 + heapSlack}) != nil || back(small, sample{heap: 1<<20 + heapSlack + 1}) == nil {
		t.Error("a small heap is not held to heapSlack")
	}
}

func TestPlan(t *testing.T) {
	for _, d := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
		p := plan(options{total: d})
		if sum := p.warm + p.load + 3*p.rest; sum != d || p.load < d/2 || p.rest < 3*p.stats || p.stats < time.Second || 4*p.phase > p.load {
			t.Errorf("%v: %+v", d, p)
		}
	}
}

func TestRoundTripFindsChanges(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		buf := make([]byte, 10)
		io.ReadFull(b, buf)
		buf[5] ^= 1
		b.Write(buf)
	}()
	if err := roundTrip(a, make([]byte, 10)); err != errChanged {
		t.Errorf("error %v", err)
	}
	tg := &target{}
	tg.crowded.Store(true)
	tg.count(context.Background(), "x", errChanged, true)
	if tg.tally.err() == nil {
		t.Error("changed data passed as a refusal")
	}
}

func TestOutstanding(t *testing.T) {
	lines := strings.Split(strings.Repeat("info memory\n", 100)+"fatal error: boom\nstack", "\n")
	if got := outstanding(lines); got != "fatal error: boom\nstack" {
		t.Errorf("%q", got)
	}
	if got := outstanding(lines[:100]); strings.Count(got, "memory") != 25 {
		t.Errorf("%q", got)
	}
	if got := outstanding(nil); got != "" {
		t.Errorf("%q", got)
	}
}
