package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Streams is a closed loop over TCP: each of Clients sends its next request on
// its connection when the last is answered.
type Streams struct {
	Requests int           // in all
	Clients  int           // connections, each with one request under way
	Pause    time.Duration // of a client between two requests
	Fresh    bool          // each request has a connection of its own
	Timeout  time.Duration // for one answer; default 5 s
}

// Run blocks until all requests are answered, or ctx ends, or one failed.
func (l Streams) Run(ctx context.Context, dial Dial, addr string, s Service) error {
	if l.Timeout == 0 {
		l.Timeout = 5 * time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range l.Clients {
		wg.Go(func() {
			if err := l.client(ctx, dial, addr, s, &next); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (l Streams) client(ctx context.Context, dial Dial, addr string, s Service, next *atomic.Int64) error {
	var c net.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		n := next.Add(1)
		if n > int64(l.Requests) {
			return nil
		}
		if c == nil {
			var err error
			if c, err = dial(ctx, "tcp", addr); err != nil {
				return err
			}
		}
		c.SetDeadline(time.Now().Add(l.Timeout))
		if err := Stream(c, s, uint32(n)); err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		if l.Fresh {
			if err := finish(c); err != nil {
				return fmt.Errorf("request %d: %w", n, err)
			}
			c = nil
		}
		if l.Pause > 0 {
			time.Sleep(l.Pause)
		}
	}
	return nil
}

// finish closes our half of c, waits for the other, and closes c.
func finish(c net.Conn) error {
	defer c.Close()
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("load: a connection that can't be closed by halves")
	}
	if err := h.CloseWrite(); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, c); n > 0 || err != nil {
		return fmt.Errorf("%d more bytes came, %w", n, err)
	}
	return nil
}

// Bulk sends n bytes to a service that returns them, and compares what comes
// back, which it reads at the same time. It leaves c open.
func Bulk(c net.Conn, n int) error {
	const piece = 64 << 10
	seed := [32]byte{1}
	sent := make(chan error, 1)
	go func() {
		rng, b := rand.NewChaCha8(seed), make([]byte, piece)
		for left := n; left > 0; left -= len(b) {
			b = b[:min(left, piece)]
			rng.Read(b)
			if _, err := c.Write(b); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	rng, b, want := rand.NewChaCha8(seed), make([]byte, piece), make([]byte, piece)
	for left := n; left > 0; left -= len(b) {
		b = b[:min(left, piece)]
		want = want[:len(b)]
		rng.Read(want)
		if _, err := io.ReadFull(c, b); err != nil {
			return errors.Join(err, c.SetDeadline(time.Now()), <-sent)
		}
		if string(b) != string(want) {
			return errors.Join(fmt.Errorf("other bytes came back, %d before the end", left), c.SetDeadline(time.Now()), <-sent)
		}
	}
	return <-sent
}
