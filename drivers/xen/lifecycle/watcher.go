package lifecycle

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

// Action is what the toolstack asks for.
type Action string

// The actions, by their names in the store.
const (
	Poweroff Action = "poweroff"
	Halt     Action = "halt"
	Reboot   Action = "reboot"
	Suspend  Action = "suspend"
)

const (
	path  = "control/shutdown"
	round = 5 * time.Second       // for one look at the store
	retry = 50 * time.Millisecond // pause after a look that failed
	pace  = 2 * time.Millisecond  // between two looks
)

// Config is what a Watcher needs.
type Config struct {
	Store *xenstore.Client
	// Do is called with each request, after it was acknowledged, from the
	// Watcher's goroutine; the next request waits for it. It may call
	// Machine.Suspend.
	Do func(Action)
}

// Watcher watches for requests.
type Watcher struct {
	conf    Config
	watch   *xenstore.Watch
	stop    chan struct{}
	done    chan struct{}
	unknown atomic.Uint64
}

// Watch begins to watch for requests; one that is there already counts.
func Watch(ctx context.Context, conf Config) (*Watcher, error) {
	watch, err := conf.Store.Watch(ctx, path)
	if err != nil {
		return nil, format.Errorf("lifecycle: %w", err)
	}
	w := &Watcher{conf: conf, watch: watch, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w, nil
}

// Close ends the Watcher, and waits for a Do under way. It must be called once,
// and not by Do.
func (w *Watcher) Close() {
	close(w.stop)
	<-w.done
}

// Unknown counts the requests that were dropped.
func (w *Watcher) Unknown() uint64 { return w.unknown.Load() }

func (w *Watcher) run() {
	defer close(w.done)
	for {
		select {
		case <-w.watch.C():
		case <-w.stop:
			return
		}
		for !w.look() {
			select {
			case <-time.After(retry):
			case <-w.watch.C():
			case <-w.stop:
				return
			}
		}
		time.Sleep(pace)
	}
}

// look handles a request, if there is one, and says whether the store answered.
func (w *Watcher) look() bool {
	ctx, cancel := context.WithTimeout(context.Background(), round)
	defer cancel()
	v, err := w.conf.Store.Read(ctx, path)
	if errors.Is(err, xenstore.ErrNotExist) || err == nil && v == "" {
		return true
	}
	if err != nil {
		return false
	}
	if err := w.conf.Store.Write(ctx, path, ""); err != nil {
		return false
	}
	switch a := Action(v); a {
	case Poweroff, Halt, Reboot, Suspend:
		w.conf.Do(a)
	default:
		w.unknown.Add(1)
	}
	return true
}
