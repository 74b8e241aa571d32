//go:build ampoule

package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var schedChecks = []check{
	{"goroutines", goroutines},
	{"channels", channels},
	{"select", selects},
	{"mutex", mutexes},
	{"cond", conds},
	{"once-pool-map", oncePoolMap},
	{"context", contexts},
	{"goexit", goexit},
	{"lockosthread", lockOSThread},
	{"gomaxprocs", gomaxprocs},
}

// goroutines starts many and waits for all, each yielding on the way.
func goroutines(r *report) {
	const n = 8000
	var wg sync.WaitGroup
	var sum atomic.Int64
	for i := range n {
		wg.Go(func() {
			if i%16 == 0 {
				runtime.Gosched()
			}
			sum.Add(int64(i))
		})
	}
	wg.Wait()
	if got, want := sum.Load(), int64(n)*(n-1)/2; got != want {
		r.errorf("sum %d, want %d", got, want)
	}
	for range 100 { // the last ones may still be on their way out
		if runtime.NumGoroutine() < 20 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	r.errorf("%d goroutines are left", runtime.NumGoroutine())
}

// channels sends through a chain of goroutines, buffered and not.
func channels(r *report) {
	for _, size := range []int{0, 1, 64} {
		const links, items = 50, 200
		first := make(chan int, size)
		in := first
		for range links {
			out := make(chan int, size)
			go func(in <-chan int, out chan<- int) {
				defer close(out)
				for v := range in {
					out <- v + 1
				}
			}(in, out)
			in = out
		}
		go func() {
			defer close(first)
			for i := range items {
				first <- i
			}
		}()
		want := links
		for v := range in {
			if v != want {
				r.errorf("size %d: got %d, want %d", size, v, want)
				return
			}
			want++
		}
		if want != links+items {
			r.errorf("size %d: %d items came through, want %d", size, want-links, items)
		}
	}
	closed := make(chan int)
	close(closed)
	if v, ok := <-closed; v != 0 || ok {
		r.errorf("closed channel gave %d, %v", v, ok)
	}
}

func selects(r *report) {
	a, b, never := make(chan int), make(chan int), make(chan int)
	go func() {
		for i := range 500 {
			if i%2 == 0 {
				a <- i
			} else {
				b <- i
			}
		}
		close(a)
		close(b)
	}()
	sum := 0
	for a != nil || b != nil {
		select {
		case v, ok := <-a:
			if sum += v; !ok {
				a = nil
			}
		case v, ok := <-b:
			if sum += v; !ok {
				b = nil
			}
		case <-never:
			r.errorf("a channel that nobody sends to was ready")
		}
	}
	if sum != 500*499/2 {
		r.errorf("sum %d", sum)
	}
	select {
	case <-never:
		r.errorf("default was not taken")
	default:
	}
	start := time.Now()
	select {
	case <-never:
	case <-time.After(5 * time.Millisecond):
	}
	if d := time.Since(start); d < 5*time.Millisecond {
		r.errorf("time.After(5ms) was ready after %v", d)
	}
}

func mutexes(r *report) {
	var mu sync.Mutex
	var rw sync.RWMutex
	var wg sync.WaitGroup
	n, m := 0, 0
	for range 50 {
		wg.Go(func() {
			for range 200 {
				mu.Lock()
				v := n
				if v%32 == 0 {
					runtime.Gosched()
				}
				n = v + 1
				mu.Unlock()
				rw.Lock()
				m++
				rw.Unlock()
				rw.RLock()
				_ = m
				rw.RUnlock()
			}
		})
	}
	wg.Wait()
	if n != 10000 || m != 10000 {
		r.errorf("counted %d and %d, want 10000", n, m)
	}
	if mu.Lock(); mu.TryLock() {
		r.errorf("TryLock took a locked mutex")
	}
}

func conds(r *report) {
	var mu sync.Mutex
	c := sync.NewCond(&mu)
	var wg sync.WaitGroup
	open, through := false, 0
	for range 100 {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for !open {
				c.Wait()
			}
			through++
		})
	}
	time.Sleep(time.Millisecond)
	mu.Lock()
	open = true
	mu.Unlock()
	c.Broadcast()
	wg.Wait()
	if through != 100 {
		r.errorf("%d of 100 woke", through)
	}
}

func oncePoolMap(r *report) {
	var once sync.Once
	var pool sync.Pool
	var m sync.Map
	var wg sync.WaitGroup
	var calls atomic.Int32
	for i := range 100 {
		wg.Go(func() {
			once.Do(func() { calls.Add(1) })
			pool.Put(new([64]byte))
			pool.Get()
			m.Store(i, i*i)
		})
	}
	wg.Wait()
	if calls.Load() != 1 {
		r.errorf("Once ran %d times", calls.Load())
	}
	for i := range 100 {
		if v, ok := m.Load(i); !ok || v != i*i {
			r.errorf("sync.Map has %v at %d", v, i)
		}
	}
}

func contexts(r *report) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	child, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	select {
	case <-child.Done():
	case <-time.After(2 * time.Second):
		r.errorf("a deadline of 10 ms did not come in 2 s")
	}
	if err := child.Err(); !errors.Is(err, context.DeadlineExceeded) {
		r.errorf("error %v", err)
	}
}

func goexit(r *report) {
	done := make(chan bool, 1)
	go func() {
		defer func() { done <- recover() == nil }()
		runtime.Goexit()
	}()
	if !<-done {
		r.errorf("Goexit looked like a panic")
	}
}

// lockOSThread: there is one thread, so locking to it must be harmless, even
// when the goroutine ends locked (which would end a thread).
func lockOSThread(r *report) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			runtime.LockOSThread()
			for range 5 {
				time.Sleep(time.Millisecond)
				runtime.Gosched()
			}
			if i != 0 {
				runtime.UnlockOSThread()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		r.errorf("goroutines locked to the thread did not end")
	}
}

func gomaxprocs(r *report) {
	if n := runtime.GOMAXPROCS(8); n != 1 {
		r.errorf("GOMAXPROCS was %d", n)
	}
	if n := runtime.GOMAXPROCS(0); n != 1 {
		r.errorf("GOMAXPROCS became %d", n)
	}
}
