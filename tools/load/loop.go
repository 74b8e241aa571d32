package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Loop is a closed loop over UDP: each of Clients sends its next request when
// the last is answered.
type Loop struct {
	Requests int           // in all
	Clients  int           // sockets, each with one request under way
	Pause    time.Duration // of a client between two requests
	Timeout  time.Duration // for one answer; default 1 s
	Retries  int           // of one request; default 3
}

// Result counts what came of a Loop.
type Result struct {
	Answered int // requests with a good answer
	Retries  int // requests sent again after Timeout
	Failed   int // requests given up or answered wrongly
	First    error
	Elapsed  time.Duration
}

// Run blocks until all requests are answered or given up, or ctx ends.
func (l Loop) Run(ctx context.Context, dial Dial, addr string, s Service) (Result, error) {
	if l.Timeout == 0 {
		l.Timeout = time.Second
	}
	if l.Retries == 0 {
		l.Retries = 3
	}
	var (
		next atomic.Int64
		mu   sync.Mutex
		sum  Result
		wg   sync.WaitGroup
		errs = make(chan error, l.Clients)
	)
	start := time.Now()
	for range l.Clients {
		wg.Go(func() {
			r, err := l.client(ctx, dial, addr, s, &next)
			mu.Lock()
			defer mu.Unlock()
			sum.Answered += r.Answered
			sum.Retries += r.Retries
			sum.Failed += r.Failed
			if sum.First == nil {
				sum.First = r.First
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	sum.Elapsed = time.Since(start)
	for err := range errs {
		if err != nil {
			return sum, err
		}
	}
	return sum, ctx.Err()
}

func (l Loop) client(ctx context.Context, dial Dial, addr string, s Service, next *atomic.Int64) (Result, error) {
	var r Result
	c, err := dial(ctx, "udp", addr)
	if err != nil {
		return r, err
	}
	defer c.Close()
	buf := make([]byte, 65536)
	for ctx.Err() == nil {
		n := next.Add(1)
		if n > int64(l.Requests) {
			return r, nil
		}
		request := s.Request(uint32(n))
		for try := 0; ; try++ {
			c.SetDeadline(time.Now().Add(l.Timeout))
			if err = exchange(c, s, request, buf); !timedOut(err) || try == l.Retries {
				break
			}
			r.Retries++
		}
		switch {
		case err == nil:
			r.Answered++
		default:
			r.Failed++
			if r.First == nil {
				r.First = err
			}
		}
		if l.Pause > 0 {
			time.Sleep(l.Pause)
		}
	}
	return r, nil
}
