package xenstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
)

// rig is a client and the fake it talks to.
type rig struct {
	*testing.T
	d   *xentest.Dom0
	s   *xentest.Store
	c   *Client
	ctx context.Context
}

func open(t *testing.T) *rig {
	t.Helper()
	d := xentest.New(t, 0)
	c, err := Open(Config{Gate: d, Line: d.Store.Line})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(func() {
		cancel()
		c.Close()
	})
	return &rig{T: t, d: d, s: d.Store, c: c, ctx: ctx}
}

// soon is a context for what should not be answered.
func (r *rig) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	r.Cleanup(cancel)
	return ctx
}

func (r *rig) reads(path, want string) {
	r.Helper()
	if v, err := r.c.Read(r.ctx, path); err != nil || v != want {
		r.Fatalf("read %s = %.40q, %v, want %.40q", path, v, err, want)
	}
}

// told waits for a watch.
func (r *rig) told(w *Watch) {
	r.Helper()
	select {
	case <-w.C():
	case <-r.ctx.Done():
		r.Fatal("the watch was not told")
	}
}

func TestVerbs(t *testing.T) {
	r := open(t)
	r.reads("name", "ampoule")
	r.reads("/local/domain/7/domid", "7")
	if _, err := r.c.Read(r.ctx, "none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("read of nothing: %v", err)
	}
	value := "bytes \x00\xff\n" + strings.Repeat("x", 3900)
	if err := r.c.Write(r.ctx, "data/large", value); err != nil {
		t.Fatal(err)
	}
	r.reads("data/large", value)
	if err := r.c.Write(r.ctx, "data/empty", ""); err != nil {
		t.Fatal(err)
	}
	r.reads("data/empty", "")
	if err := r.c.Mkdir(r.ctx, "data/dir"); err != nil {
		t.Fatal(err)
	}
	names, err := r.c.Directory(r.ctx, "data")
	if want := []string{"dir", "empty", "large"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("directory = %q, %v, want %q", names, err, want)
	}
	if names, err := r.c.Directory(r.ctx, "data/dir"); err != nil || len(names) != 0 {
		t.Errorf("empty directory = %q, %v", names, err)
	}
	if p, err := r.c.Perms(r.ctx, "data"); err != nil || !slices.Equal(p, []string{"n0", "r7"}) {
		t.Errorf("perms = %q, %v", p, err)
	}
	if err := r.c.Rm(r.ctx, "data"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.c.Read(r.ctx, "data/large"); !errors.Is(err, ErrNotExist) {
		t.Errorf("read after rm: %v", err)
	}
	r.s.Deny("/local/domain/7/secret")
	if err := r.c.Write(r.ctx, "secret", "x"); !errors.Is(err, ErrAccess) {
		t.Errorf("write without leave: %v", err)
	}
}

func TestArguments(t *testing.T) {
	r := open(t)
	for _, path := range []string{"", "a\x00b", strings.Repeat("p", abi.StorePathMax+1)} {
		if _, err := r.c.Read(r.ctx, path); !errors.Is(err, ErrArgument) {
			t.Errorf("read %.10q: %v", path, err)
		}
		if _, err := r.c.Watch(r.ctx, path); !errors.Is(err, ErrArgument) {
			t.Errorf("watch %.10q: %v", path, err)
		}
	}
	if err := r.c.Write(r.ctx, "a", strings.Repeat("v", 4095)); !errors.Is(err, ErrArgument) {
		t.Errorf("write of too much: %v", err)
	}
	r.reads("name", "ampoule")
	if n := r.s.Requests(); n != 1 {
		t.Errorf("%d requests reached the store", n)
	}
}

func TestTransaction(t *testing.T) {
	r := open(t)
	runs := 0
	r.s.Conflict(3)
	err := r.c.Transact(r.ctx, func(tx Tx) error {
		runs++
		if err := tx.Write(r.ctx, "a", fmt.Sprint(runs)); err != nil {
			return err
		}
		v, err := tx.Read(r.ctx, "a")
		if err != nil || v != fmt.Sprint(runs) {
			t.Errorf("within the transaction a = %q, %v", v, err)
		}
		if _, err := r.c.Read(r.ctx, "a"); !errors.Is(err, ErrNotExist) {
			t.Errorf("outside it: %v", err)
		}
		return tx.Write(r.ctx, "b", "2")
	})
	if err != nil || runs != 4 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	r.reads("a", "4")
	r.reads("b", "2")

	stop := errors.New("stop")
	err = r.c.Transact(r.ctx, func(tx Tx) error {
		if err := tx.Rm(r.ctx, "a"); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("aborted: %v", err)
	}
	r.reads("a", "4")

	r.s.Conflict(1000)
	runs = 0
	err = r.c.Transact(r.ctx, func(Tx) error { runs++; return nil })
	if !errors.Is(err, ErrAgain) || runs != maxRetries+1 {
		t.Errorf("a transaction that always conflicts: %d runs, %v", runs, err)
	}
}

func TestWatch(t *testing.T) {
	r := open(t)
	w, err := r.c.Watch(r.ctx, "device/vif")
	if err != nil {
		t.Fatal(err)
	}
	r.told(w)
	r.s.Set("/local/domain/7/device/vif/0/state", "1")
	r.told(w)
	r.s.Set("/local/domain/7/device", "") // above
	r.told(w)
	r.s.Set("/local/domain/7/device/vbd", "")
	r.reads("name", "ampoule") // after all events
	select {
	case <-w.C():
		t.Error("told of a change beside the path")
	default:
	}
	if err := r.c.Unwatch(r.ctx, w); err != nil {
		t.Fatal(err)
	}
	if n := r.s.Watches(); n != 0 {
		t.Errorf("%d watches left", n)
	}
	for range MaxWatches {
		if _, err := r.c.Watch(r.ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.c.Watch(r.ctx, "x"); !errors.Is(err, ErrWatches) {
		t.Errorf("one watch too many: %v", err)
	}
}

func TestManyGoroutines(t *testing.T) {
	r := open(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				path, value := fmt.Sprintf("g/%d", g), fmt.Sprint(i)
				if err := r.c.Write(r.ctx, path, value); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if v, err := r.c.Read(r.ctx, path); err != nil || v != value {
					t.Errorf("read %q, %v, want %q", v, err, value)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestDeadStore: calls end with their context, and a store that comes back is
// used again; late replies disturb nobody.
func TestDeadStore(t *testing.T) {
	r := open(t)
	r.s.Stall(true)
	for range maxLate {
		if _, err := r.c.Read(r.soon(), "name"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("read from a dead store: %v", err)
		}
	}
	r.s.Stall(false)
	r.reads("domid", "7")

	// Requests that do not fit into the ring.
	r.s.Stall(true)
	if err := r.c.Write(r.soon(), "a", strings.Repeat("x", 3000)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("write to a dead store: %v", err)
	}
	if _, err := r.c.Read(r.soon(), "name"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read after it: %v", err)
	}
	r.s.Stall(false)
	r.reads("name", "ampoule")
	r.reads("a", strings.Repeat("x", 3000))
}

func TestClose(t *testing.T) {
	r := open(t)
	r.s.Stall(true)
	done := make(chan error)
	go func() {
		_, err := r.c.Read(r.ctx, "name")
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	r.c.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("read while closing: %v", err)
	}
	if err := r.c.Write(r.ctx, "a", "b"); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestSaveRestore(t *testing.T) {
	r := open(t)
	w, err := r.c.Watch(r.ctx, "control/shutdown")
	if err != nil {
		t.Fatal(err)
	}
	r.told(w)
	for _, restored := range []bool{false, true, true} {
		if err := r.c.Suspend(r.ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := r.c.Read(r.soon(), "name"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("read while suspended: %v", err)
		}
		if restored {
			r.d.Restore()
			r.s.Raw([]byte("what the old store had not finished"))
		}
		if err := r.c.Resume(r.ctx, restored); err != nil {
			t.Fatal(err)
		}
		if restored {
			r.told(w)
		}
		r.reads("name", "ampoule")
		for len(w.c) > 0 {
			<-w.c
		}
		r.s.Set("/local/domain/7/control/shutdown", "poweroff")
		r.told(w)
		if n := r.s.Watches(); n != 1 {
			t.Fatalf("%d watches", n)
		}
	}
}
