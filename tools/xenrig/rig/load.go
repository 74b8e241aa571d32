package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ampoule/tools/xenrig/wire"
)

// Load is a closed loop of UDP requests that dom0 makes, each answer checked by
// content. dom0 is the vantage point to trust: between here and there are QEMU's
// user-mode network and an emulated card.
type Load struct {
	Addr     string        // of the guest: "10.0.2.15:7"
	Service  string        // "echo:SIZE" or "dns:NAME"
	Requests int           // in all
	Clients  int           // requests under way at once
	Timeout  time.Duration // for one answer; default 1 s. A request is made four times at most.
}

// Load blocks until all requests are answered or given up. What was given up or
// wrong is in the result, not in the error.
func (r *Rig) Load(ctx context.Context, l Load) (wire.LoadResult, error) {
	if l.Timeout == 0 {
		l.Timeout = time.Second
	}
	return agent[wire.LoadResult](ctx, r, "load", "-addr", l.Addr, "-service", l.Service, "-n", fmt.Sprint(l.Requests),
		"-clients", fmt.Sprint(max(1, l.Clients)), "-timeout", l.Timeout.String())
}

// StreamTCP sends n random bytes from dom0 to an echo service over TCP and
// compares what comes back. It blocks until the connection is closed both ways.
func (r *Rig) StreamTCP(ctx context.Context, addr string, n int64) (wire.StreamResult, error) {
	return agent[wire.StreamResult](ctx, r, "stream", "-addr", addr, "-bytes", fmt.Sprint(n))
}

// agent runs one of the agent's commands and reads its result.
func agent[T any](ctx context.Context, r *Rig, args ...string) (T, error) {
	var result T
	out, err := r.Exec(ctx, 0, append([]string{"agent"}, args...)...)
	if err != nil {
		return result, r.Explain(err)
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return result, r.Explain(fmt.Errorf("agent %s prints %q: %w", args[0], out, err))
	}
	return result, nil
}

// Keep is a TCP connection from dom0 to an echo service, in use all the time.
type Keep struct {
	rig   *Rig
	order *order
	done  chan struct{}
	out   ends
	err   error
}

// Keep opens the connection and returns when it stands; a message goes every so
// often. It lives until Stop, or until ctx ends.
func (r *Rig) Keep(ctx context.Context, addr string, every time.Duration) (*Keep, error) {
	o, err := r.begin(ctx, wire.Request{Op: wire.OpRun, Command: []string{"agent", "keep", "-addr", addr, "-every", every.String()}})
	if err != nil {
		return nil, r.Explain(err)
	}
	k := &Keep{rig: r, order: o, done: make(chan struct{})}
	up := make(chan struct{}, 1)
	go func() {
		defer close(k.done)
		defer o.end()
		var res wire.Outcome
		res, k.err = o.wait(func(b []byte) {
			k.out.write(b)
			select {
			case up <- struct{}{}:
			default:
			}
		})
		if k.err == nil && res.Code != 0 {
			k.err = &ExitError{Command: "agent keep", Code: res.Code, Output: k.out.String()}
		}
	}()
	select {
	case <-up:
		return k, nil
	case <-k.done:
		return nil, r.Explain(errors.Join(errors.New("keep ended at once"), k.err))
	}
}

// Stop ends the connection and says how it went; an error of the connection is
// in the result.
func (k *Keep) Stop() (wire.KeepResult, error) {
	wire.Write(k.order.conn, wire.Stop, nil) // it may have ended by itself
	<-k.done
	var result wire.KeepResult
	if k.err != nil {
		return result, k.rig.Explain(k.err)
	}
	_, last, _ := bytes.Cut([]byte(k.out.String()), []byte("\n"))
	if err := json.Unmarshal(last, &result); err != nil {
		return result, k.rig.Explain(fmt.Errorf("agent keep prints %q: %w", k.out.String(), err))
	}
	return result, nil
}
