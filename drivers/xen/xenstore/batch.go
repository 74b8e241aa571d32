package xenstore

import (
	"context"
	"errors"
	"slices"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/format"
)

// request is a request, and then its reply.
type request struct {
	typ, tx uint32
	parts   []string

	id   uint32
	done bool
	body string
	err  error
}

// askAll sends requests, up to maxBatch at a time, before it waits for their
// replies, which it puts beside them. Its error says that some were not answered.
// The caller holds turn.
func (c *Client) askAll(ctx context.Context, reqs []request) error {
	for len(reqs) > maxBatch {
		if err := c.askAll(ctx, reqs[:maxBatch]); err != nil {
			return err
		}
		reqs = reqs[maxBatch:]
	}
	left := 0
	for i := range reqs {
		r := &reqs[i]
		id, err := c.start(ctx, r.typ, r.tx, r.parts...)
		if errors.Is(err, ErrArgument) {
			r.done, r.err = true, err
			continue
		}
		if err != nil {
			c.giveUp()
			return err
		}
		r.id = id
		left++
	}
	for left > 0 {
		select {
		case r := <-c.reply:
			i := slices.IndexFunc(reqs, func(q request) bool { return q.id == r.id && !q.done })
			if i < 0 {
				continue // of former requests
			}
			if errors.Is(r.err, ErrBroken) || errors.Is(r.err, ErrClosed) {
				return r.err
			}
			reqs[i].done, reqs[i].body, reqs[i].err = true, r.body, r.err
			left--
		case <-ctx.Done():
			c.giveUp()
			return format.Errorf("xenstore: no reply: %w", context.Cause(ctx))
		}
	}
	return nil
}

// giveUp has the replies to all that was asked dropped.
func (c *Client) giveUp() {
	c.mu.Lock()
	c.conn.abandon()
	c.mu.Unlock()
}

// all is askAll by whoever waits for the turn.
func (c *Client) all(ctx context.Context, reqs []request) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer func() { <-c.turn }()
	return c.askAll(ctx, reqs)
}

// Value is what ReadAll finds at a path.
type Value struct {
	Value string
	Have  bool  // there is one
	Err   error // the store refused to say: ErrAccess for what is another domain's
}

// ReadAll reads several paths at once; each may be absent. The values come in the
// order of the paths, and are of any content. The error is about all of them.
func (t Tx) ReadAll(ctx context.Context, paths ...string) ([]Value, error) {
	reqs := make([]request, len(paths))
	for i, p := range paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
		reqs[i] = request{typ: abi.StoreRead, tx: t.id, parts: []string{p, "\x00"}}
	}
	if err := t.c.all(ctx, reqs); err != nil {
		return nil, err
	}
	values := make([]Value, len(paths))
	for i, r := range reqs {
		values[i] = Value{Value: r.body, Have: r.err == nil}
		if r.err != nil && !errors.Is(r.err, ErrNotExist) {
			values[i].Err = format.Errorf("read %s: %w", paths[i], r.err)
		}
	}
	return values, nil
}

// ReadAll is Tx.ReadAll outside a transaction.
func (c *Client) ReadAll(ctx context.Context, paths ...string) ([]Value, error) {
	return c.none().ReadAll(ctx, paths...)
}

// Change is one change of the store.
type Change struct {
	Path, Value string
	Remove      bool // the path, if it is there, instead of writing it
}

// Apply makes several changes at once, all of them even when one fails. The error
// is that of the first one that the store refused.
func (t Tx) Apply(ctx context.Context, changes ...Change) error {
	reqs := make([]request, len(changes))
	for i, ch := range changes {
		if err := checkPath(ch.Path); err != nil {
			return err
		}
		reqs[i] = request{typ: abi.StoreWrite, tx: t.id, parts: []string{ch.Path, "\x00", ch.Value}}
		if ch.Remove {
			reqs[i].typ, reqs[i].parts = abi.StoreRm, []string{ch.Path, "\x00"}
		}
	}
	if err := t.c.all(ctx, reqs); err != nil {
		return err
	}
	for i, r := range reqs {
		if r.err != nil && !(changes[i].Remove && errors.Is(r.err, ErrNotExist)) {
			return format.Errorf("change %s: %w", changes[i].Path, r.err)
		}
	}
	return nil
}

// Apply is Tx.Apply outside a transaction.
func (c *Client) Apply(ctx context.Context, changes ...Change) error {
	return c.none().Apply(ctx, changes...)
}
