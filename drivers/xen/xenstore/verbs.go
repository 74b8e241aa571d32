package xenstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/libos/format"
)

const (
	maxRetries = 16          // how often Transact tries again after ErrAgain
	abortTime  = time.Second // how long it waits for the end of a transaction that failed
)

// Tx is a transaction: what it does happens as one, or not at all. The zero
// transaction of a Client has no such bounds. Paths are absolute, or relative to
// the VM's own directory.
type Tx struct {
	c  *Client
	id uint32
}

func (c *Client) none() Tx { return Tx{c: c} }

// checkPath refuses what the store would refuse, and what would end the path on
// the wire.
func checkPath(path string) error {
	if path == "" || len(path) > abi.StorePathMax || strings.IndexByte(path, 0) >= 0 {
		return format.Errorf("%w: path %.64q", ErrArgument, path)
	}
	return nil
}

// call makes a request about a path and says in an error which.
func (t Tx) call(ctx context.Context, verb string, typ uint32, path string, parts ...string) (string, error) {
	if err := checkPath(path); err != nil {
		return "", err
	}
	r, err := t.c.call(ctx, typ, t.id, append([]string{path, "\x00"}, parts...)...)
	if err != nil {
		return "", format.Errorf("%s %s: %w", verb, path, err)
	}
	return r, nil
}

// Read is the value of a path: up to 4096 bytes of any content.
func (t Tx) Read(ctx context.Context, path string) (string, error) {
	return t.call(ctx, "read", abi.StoreRead, path)
}

// Write sets the value of a path and makes it if it is not there. The value
// must be shorter than 4096 bytes less the path.
func (t Tx) Write(ctx context.Context, path, value string) error {
	_, err := t.call(ctx, "write", abi.StoreWrite, path, value)
	return err
}

// Mkdir makes a path if it is not there.
func (t Tx) Mkdir(ctx context.Context, path string) error {
	_, err := t.call(ctx, "mkdir", abi.StoreMkdir, path)
	return err
}

// Rm removes a path and all below it.
func (t Tx) Rm(ctx context.Context, path string) error {
	_, err := t.call(ctx, "rm", abi.StoreRm, path)
	return err
}

// Directory lists the names directly below a path. The names have any content
// but no NUL, and are 4096 bytes together at most; a larger directory answers
// the error E2BIG.
func (t Tx) Directory(ctx context.Context, path string) ([]string, error) {
	return t.list(ctx, "directory", abi.StoreDirectory, path)
}

// Perms lists the permissions of a path, in the store's notation: "r7".
func (t Tx) Perms(ctx context.Context, path string) ([]string, error) {
	return t.list(ctx, "perms", abi.StoreGetPerms, path)
}

func (t Tx) list(ctx context.Context, verb string, typ uint32, path string) ([]string, error) {
	r, err := t.call(ctx, verb, typ, path)
	if err != nil || r == "" {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(r, "\x00"), "\x00"), nil
}

// Read is Tx.Read outside a transaction.
func (c *Client) Read(ctx context.Context, path string) (string, error) {
	return c.none().Read(ctx, path)
}

// Write is Tx.Write outside a transaction.
func (c *Client) Write(ctx context.Context, path, value string) error {
	return c.none().Write(ctx, path, value)
}

// Mkdir is Tx.Mkdir outside a transaction.
func (c *Client) Mkdir(ctx context.Context, path string) error { return c.none().Mkdir(ctx, path) }

// Rm is Tx.Rm outside a transaction.
func (c *Client) Rm(ctx context.Context, path string) error { return c.none().Rm(ctx, path) }

// Directory is Tx.Directory outside a transaction.
func (c *Client) Directory(ctx context.Context, path string) ([]string, error) {
	return c.none().Directory(ctx, path)
}

// Perms is Tx.Perms outside a transaction.
func (c *Client) Perms(ctx context.Context, path string) ([]string, error) {
	return c.none().Perms(ctx, path)
}

// Transact runs f in a transaction and commits it, or aborts it when f answers
// an error. When the commit meets another's changes, f runs again, up to 16
// times; ErrAgain after that.
func (c *Client) Transact(ctx context.Context, f func(Tx) error) error {
	for try := 0; ; try++ {
		err := c.once(ctx, f)
		if !errors.Is(err, ErrAgain) || try == maxRetries {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, f func(Tx) error) error {
	r, err := c.call(ctx, abi.StoreTxStart, 0, "\x00")
	if err != nil {
		return format.Errorf("start transaction: %w", err)
	}
	id, err := strconv.ParseUint(strings.TrimSuffix(r, "\x00"), 10, 32)
	if err != nil || id == 0 {
		return format.Errorf("xenstore: transaction %.32q", r)
	}
	ferr := f(Tx{c: c, id: uint32(id)})
	end := "T\x00"
	if ferr != nil {
		// The store keeps few transactions open, so end it at any rate.
		end = "F\x00"
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
	}
	_, err = c.call(ctx, abi.StoreTxEnd, uint32(id), end)
	switch {
	case ferr != nil:
		return ferr
	case err != nil:
		return format.Errorf("end transaction: %w", err)
	}
	return nil
}
