package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"ampoule/tools/load"
)

// probe asks once a second, all the while, and holds the service to answering
// within gapLimit whatever else goes on.
func (t *target) probe(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		limit, stop := context.WithTimeout(ctx, gapLimit)
		_, err := load.Probe(limit, t.dial, t.addr, t.service, askTimeout)
		stop()
		if over(ctx) {
			return
		}
		gap := time.Since(began)
		if int64(gap) > t.tally.longest.Load() {
			t.tally.longest.Store(int64(gap))
		}
		if err != nil {
			t.tally.fail("the service did not answer for %v: %w", gap.Round(time.Millisecond), err)
		}
		if sleep(ctx, time.Second) != nil {
			return
		}
	}
}

// datagrams asks over UDP in a closed loop until ctx ends.
func (t *target) datagrams(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		l := load.Loop{Requests: 200, Clients: 1, Pause: 5 * time.Millisecond, Timeout: askTimeout, Retries: 5}
		r, err := l.Run(ctx, t.dial, addr, t.service)
		t.tally.answers.Add(int64(r.Answered))
		t.tally.retries.Add(int64(r.Retries))
		if over(ctx) {
			return
		}
		if err == nil && r.Failed > 0 {
			err = r.First
		}
		if err != nil {
			t.tally.fail("UDP to %s: %w", addr, err)
			sleep(ctx, time.Second)
		}
	}
}

// streams opens connections one after the other and asks n times on each.
func (t *target) streams(ctx context.Context, addr string, n int) {
	for ctx.Err() == nil {
		crowded := t.crowded.Load()
		c, err := t.connect(ctx, addr)
		if err == nil {
			for i := range n {
				if err = load.Stream(c, t.service, rand.Uint32()); err != nil {
					break
				}
				t.tally.bytes.Add(int64(len(t.service.Request(uint32(i)))))
			}
			c.Close()
		}
		t.count(ctx, "TCP to "+addr, err, crowded)
		sleep(ctx, 10*time.Millisecond)
	}
}

// bulk sends a quarter of a megabyte to an echo service and compares what
// comes back.
func (t *target) bulk(ctx context.Context) {
	data := make([]byte, 256<<10)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for ctx.Err() == nil {
		crowded := t.crowded.Load()
		c, err := t.connect(ctx, t.addr)
		if err == nil {
			err = roundTrip(c, data)
			c.Close()
		}
		if err == nil {
			t.tally.bytes.Add(int64(len(data)))
		}
		t.count(ctx, "bulk TCP", err, crowded)
		sleep(ctx, 50*time.Millisecond)
	}
}

// roundTrip writes data and reads it back at the same time.
func roundTrip(c net.Conn, data []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- err
	}()
	h := sha256.New()
	if _, err := io.CopyN(h, c, int64(len(data))); err != nil {
		c.Close()
		<-sent
		return err
	}
	want := sha256.Sum256(data)
	if !bytes.Equal(h.Sum(nil), want[:]) {
		<-sent
		return errChanged
	}
	return <-sent
}

func (t *target) connect(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tcpTimeout)
	defer cancel()
	c, err := t.dial(ctx, "tcp", addr)
	if err == nil {
		c.SetDeadline(time.Now().Add(tcpTimeout))
	}
	return c, err
}

// count files the end of a connection. While idle connections fill the
// appliance, and for what was begun then, an error is a refusal; wrong data
// never is.
func (t *target) count(ctx context.Context, what string, err error, crowded bool) {
	switch {
	case err == nil:
		t.tally.streams.Add(1)
	case err == errChanged:
		t.tally.fail("%s: %w", what, err)
	case over(ctx):
		// the end of the load cut it off
	case crowded || t.crowded.Load():
		t.tally.refused.Add(1)
	default:
		t.tally.fail("%s: %w", what, err)
	}
}
