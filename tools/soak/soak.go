package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/tools/load"
)

// schedule divides the time of a soak.
type schedule struct {
	stats time.Duration // between the guest's memory lines
	warm  time.Duration // one round of everything before the first rest: see phases
	rest  time.Duration // before and after the load
	load  time.Duration
	phase time.Duration // of one attack
	grace time.Duration // in which the appliance notices that connections are gone
}

// plan divides o.total: three memory lines fit into a rest.
func plan(o options) schedule {
	s := schedule{grace: tcpTimeout / 2, stats: min(max(o.total/60, time.Second), 10*time.Second).Truncate(time.Second)}
	s.rest = 3*s.stats + s.stats/2
	s.warm = o.total / 5
	s.load = o.total - s.warm - 3*s.rest
	s.phase = min(s.load/8, 20*time.Second)
	return s
}

// Limits of a healthy service.
const (
	bootLimit  = 30 * time.Second
	gapLimit   = 5 * time.Second // between two answers to the prober
	askTimeout = time.Second
	tcpTimeout = 10 * time.Second
)

// target is an appliance under load.
type target struct {
	name        string
	service     load.Service
	dial        load.Dial
	inject      func([]byte) error
	addr, addr6 string
	memory      *memory
	ended       <-chan struct{}

	grace   time.Duration
	crowded atomic.Bool // idle connections fill the appliance: it may refuse more
	tally   tally
}

// tally counts what happened.
type tally struct {
	answers  atomic.Int64 // UDP
	retries  atomic.Int64
	streams  atomic.Int64 // TCP connections that did what they should
	refused  atomic.Int64
	idle     atomic.Int64
	injected atomic.Int64
	bytes    atomic.Int64
	longest  atomic.Int64 // ns between two answers to the prober
	mu       sync.Mutex
	errs     []error
	nerrs    int
}

const keptErrors = 10

func (t *tally) fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nerrs++; len(t.errs) < keptErrors {
		t.errs = append(t.errs, fmt.Errorf(format, args...))
	}
}

func (t *tally) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nerrs > len(t.errs) {
		return fmt.Errorf("%w\nand %d errors more", errors.Join(t.errs...), t.nerrs-len(t.errs))
	}
	return errors.Join(t.errs...)
}

func (t *tally) String() string {
	t.mu.Lock()
	n := t.nerrs
	t.mu.Unlock()
	return fmt.Sprintf("%d datagrams answered (%d asked again), %d TCP connections served with %.1f MB, %d refused, %d held idle, %d frames of attacks, longest silence %v, %d errors",
		t.answers.Load(), t.retries.Load(), t.streams.Load(), float64(t.bytes.Load())/1e6, t.refused.Load(), t.idle.Load(),
		t.injected.Load(), time.Duration(t.longest.Load()).Round(time.Millisecond), n)
}

// soak runs the whole plan and returns what was wrong.
func (t *target) soak(ctx context.Context, o options, p schedule) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.grace = p.grace
	go func() {
		select {
		case <-t.ended:
			cancel(errors.New("the guest ended"))
		case <-ctx.Done():
		}
	}()
	up, stop := context.WithTimeout(ctx, bootLimit)
	_, err := load.Probe(up, t.dial, t.addr, t.service, 20*time.Millisecond)
	stop()
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	prober, stopProber := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { t.probe(prober) })
	start, err := t.phases(ctx, o, p)
	if err == nil {
		err = t.settle(ctx, p, start)
	}
	stopProber()
	wg.Wait()
	fmt.Printf("%s: %s\n", t.name, &t.tally)
	return errors.Join(err, t.tally.err(), context.Cause(ctx))
}

// phases warms up, rests for the first memory sample, and puts on the load.
// The warm-up is one round of all that the load consists of: Go's maps and
// pools keep the size that their fullest moment gave them, once, and only what
// grows from round to round is a leak. The figure before any traffic is printed
// too.
func (t *target) phases(ctx context.Context, o options, p schedule) (start sample, err error) {
	if fresh, err := t.fresh(ctx, p); err == nil {
		fmt.Printf("%s: before any load heap=%d sys=%d pages_free=%d\n", t.name, fresh.heap, fresh.sys, fresh.pagesFree)
	}
	t.mixed(ctx, o, p.warm, func(ctx context.Context) { t.attacks(ctx, o, p.warm/4) })
	began := time.Now()
	if err := sleep(ctx, p.rest); err != nil {
		return start, err
	}
	if start, err = t.memory.best(began); err != nil {
		return start, err
	}
	fmt.Printf("%s: at rest heap=%d sys=%d pages_free=%d\n", t.name, start.heap, start.sys, start.pagesFree)
	t.mixed(ctx, o, p.load, func(ctx context.Context) { t.attacks(ctx, o, p.phase) })
	return start, ctx.Err()
}

// fresh is the first memory line.
func (t *target) fresh(ctx context.Context, p schedule) (s sample, err error) {
	for range 3 {
		if s, err = t.memory.best(time.Time{}); err == nil {
			return s, nil
		}
		if e := sleep(ctx, p.stats); e != nil {
			return s, e
		}
	}
	return s, err
}

// settle waits for the memory to come back, for up to two rests.
func (t *target) settle(ctx context.Context, p schedule, start sample) error {
	began := time.Now()
	var end sample
	var err error
	for time.Since(began) < 2*p.rest {
		if e := sleep(ctx, p.stats); e != nil {
			return e
		}
		if end, err = t.memory.best(began); err == nil {
			if err = back(start, end); err == nil {
				break
			}
		}
	}
	peak := t.memory.peak()
	fmt.Printf("%s: after it heap=%d sys=%d pages_free=%d (worst: heap=%d sys=%d pages_free=%d)\n",
		t.name, end.heap, end.sys, end.pagesFree, peak.heap, peak.sys, peak.pagesFree)
	return err
}

// mixed runs the clients, and beside them extra if given, for d.
func (t *target) mixed(ctx context.Context, o options, d time.Duration, extra func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		if t.service.NoDatagram {
			break
		}
		addr := t.addr
		if i == 3 {
			addr = t.addr6
		}
		wg.Go(func() { t.datagrams(ctx, addr) })
	}
	for range o.streams {
		wg.Go(func() { t.streams(ctx, t.addr, 1) })
	}
	wg.Go(func() { t.streams(ctx, t.addr6, 20) })
	if t.service.Name == "echo" {
		wg.Go(func() { t.bulk(ctx) })
	}
	if extra != nil {
		wg.Go(func() { extra(ctx) })
	}
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Printf("%s: %s\n", t.name, &t.tally)
		case <-ctx.Done():
			wg.Wait()
			return
		}
	}
}

// over says whether ctx has ended. A dial that ctx's deadline ends may return a
// moment before ctx itself says so.
func over(ctx context.Context) bool {
	d, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(d)
}

// sleep returns early with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
