package xenstore

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/format"
)

// MaxWatches is how many watches a Client can have.
const MaxWatches = 64

// ErrWatches says that there are MaxWatches watches.
var ErrWatches = errors.New("xenstore: too many watches")

// Watch tells of changes at a path and below it.
type Watch struct {
	c     chan struct{}
	path  string
	token string
}

// C gives a value when something may have changed since the last value was
// taken. The first one comes at once.
func (w *Watch) C() <-chan struct{} { return w.c }

func (w *Watch) tell() {
	select {
	case w.c <- struct{}{}:
	default: // already told
	}
}

// Watch sets a watch.
func (c *Client) Watch(ctx context.Context, path string) (*Watch, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	w := &Watch{c: make(chan struct{}, 1), path: path}
	if err := c.take(ctx); err != nil {
		return nil, format.Errorf("watch %s: %w", path, err)
	}
	defer func() { <-c.turn }()
	c.mu.Lock()
	if len(c.watches) == MaxWatches {
		c.mu.Unlock()
		return nil, ErrWatches
	}
	c.tokens++
	w.token = strconv.FormatUint(c.tokens, 10)
	c.watches[w.token] = w // the first event may come before the reply
	c.mu.Unlock()
	if _, err := c.ask(ctx, abi.StoreWatch, 0, path, "\x00", w.token, "\x00"); err != nil {
		c.forget(w)
		return nil, format.Errorf("watch %s: %w", path, err)
	}
	w.tell()
	return w, nil
}

// Unwatch ends a watch. It is over for the caller even when an error says that
// the store did not hear of it.
func (c *Client) Unwatch(ctx context.Context, w *Watch) error {
	c.forget(w)
	if _, err := c.call(ctx, abi.StoreUnwatch, 0, w.path, "\x00", w.token, "\x00"); err != nil {
		return format.Errorf("unwatch %s: %w", w.path, err)
	}
	return nil
}

func (c *Client) forget(w *Watch) {
	c.mu.Lock()
	delete(c.watches, w.token)
	c.mu.Unlock()
}

// event handles a watch event: path NUL token NUL. Called with mu held.
func (c *Client) event(body []byte) {
	c.stats.Events++
	_, token, ok := bytes.Cut(body, []byte{0})
	if ok {
		token = bytes.TrimSuffix(token, []byte{0})
	}
	w := c.watches[string(token)]
	if !ok || w == nil {
		c.stats.Strays++
		return
	}
	w.tell()
}
