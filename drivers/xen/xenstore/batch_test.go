package xenstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
)

// TestBatch: several requests at once do what they do one by one.
func TestBatch(t *testing.T) {
	r := open(t)
	var paths []string
	for i := range 3*maxBatch + 5 {
		p := fmt.Sprintf("data/%d", i)
		paths = append(paths, p)
		if i%3 != 0 {
			r.s.Set("/local/domain/7/"+p, strings.Repeat("v", i*40))
		}
	}
	got, err := r.c.ReadAll(r.ctx, paths...)
	if err != nil || len(got) != len(paths) {
		t.Fatalf("%d values, %v", len(got), err)
	}
	for i, v := range got {
		if v.Have != (i%3 != 0) || v.Have && v.Value != strings.Repeat("v", i*40) {
			t.Errorf("value %d: %v, %d bytes", i, v.Have, len(v.Value))
		}
	}
	if got, err := r.c.ReadAll(r.ctx); len(got) != 0 || err != nil {
		t.Errorf("nothing read: %v, %v", got, err)
	}
	if _, err := r.c.ReadAll(r.ctx, "name", ""); !errors.Is(err, ErrArgument) {
		t.Errorf("an empty path: %v", err)
	}
	r.s.DenyRead("/local/domain/7/data/secret")
	if v, err := r.c.ReadAll(r.ctx, "data/secret", "name"); err != nil || !errors.Is(v[0].Err, ErrAccess) || v[1].Value != "ampoule" || v[1].Err != nil {
		t.Errorf("with one that may not be read: %v, %v", v, err)
	}
	r.s.Deny("/local/domain/7/data/denied")
	err = r.c.Apply(r.ctx, Change{Path: "data/a", Value: "1"}, Change{Path: "data/denied", Value: "2"}, Change{Path: "data/1", Remove: true},
		Change{Path: "data/none", Remove: true}, Change{Path: "data/long", Value: strings.Repeat("x", abi.StorePayloadMax)}, Change{Path: "data/b", Value: "3"})
	if !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "data/denied") {
		t.Errorf("Apply: %v", err)
	}
	for p, want := range map[string]string{"data/a": "1", "data/b": "3", "data/1": "", "data/denied": ""} {
		if v, ok := r.s.Get("/local/domain/7/" + p); v != want || ok != (want != "") {
			t.Errorf("%s is %q, %v", p, v, ok)
		}
	}
	r.s.Conflict(2)
	tries := 0
	err = r.c.Transact(r.ctx, func(tx Tx) error {
		tries++
		v, err := tx.ReadAll(r.ctx, "data/a", "data/c")
		if err != nil || v[0].Value != "1" || v[1].Have {
			t.Errorf("in a transaction: %v, %v", v, err)
		}
		return tx.Apply(r.ctx, Change{Path: "data/c", Value: "4"})
	})
	if v, _ := r.s.Get("/local/domain/7/data/c"); err != nil || v != "4" || tries != 3 {
		t.Errorf("after %d tries: %q, %v", tries, v, err)
	}
}

// TestBatchIsOneWait: a batch is in the ring before the store answers any of it.
func TestBatchIsOneWait(t *testing.T) {
	r := open(t)
	r.s.Stall(true)
	done := make(chan error)
	go func() {
		_, err := r.c.ReadAll(r.ctx, "name", "domid", "name", "domid")
		done <- err
	}()
	want := 4*abi.StoreHeaderSize + 2*len("name\x00") + 2*len("domid\x00")
	for end := time.Now().Add(5 * time.Second); r.s.Asked() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes of requests, want %d", r.s.Asked(), want)
		}
	}
	r.s.Stall(false)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBatchHostile: a store that stops in the midst of a batch, breaks the
// protocol in it, answers in any order, or mixes in events.
func TestBatchHostile(t *testing.T) {
	r := open(t)
	var held [][]byte
	hold := func(_, id uint32, body []byte) ([]byte, bool) {
		held = append(held, xentest.Message(abi.StoreRead, id, "of "+string(body)))
		if len(held) < 3 {
			return xentest.Message(abi.StoreWatchEvent, 0, "x\x0099\x00"), true
		}
		slices.Reverse(held)
		return slices.Concat(held...), true
	}
	r.s.Answer(hold)
	got, err := r.c.ReadAll(r.ctx, "a", "b", "c")
	if err != nil || got[0].Value != "of a\x00" || got[1].Value != "of b\x00" || got[2].Value != "of c\x00" {
		t.Errorf("in another order: %v, %v", got, err)
	}
	n := 0
	r.s.Answer(func(_, id uint32, _ []byte) ([]byte, bool) { n++; return nil, n%3 == 0 })
	short, cancel := context.WithTimeout(r.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := r.c.ReadAll(short, "name", "name", "name", "name"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reply that does not come: %v", err)
	}
	r.s.Answer(nil)
	r.reads("name", "ampoule")
	r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) {
		return slices.Repeat(xentest.Message(typ, id, "x"), 2), true
	})
	if _, err := r.c.ReadAll(r.ctx, "a", "b", "c"); !errors.Is(err, ErrBroken) {
		t.Errorf("a reply twice: %v", err)
	}
	r.s.Answer(nil)
	r.revive()
}

// TestBatchGivenUp gives up batches at any moment, with a store that takes and
// answers by fits and starts: whatever is next gets its own answers.
func TestBatchGivenUp(t *testing.T) {
	r := open(t)
	long := strings.Repeat("v", 300)
	for i := range maxBatch {
		r.s.Set(fmt.Sprintf("/local/domain/7/data/%d", i), long[i:])
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				r.s.Stall(false)
				return
			default:
			}
			r.s.Stall(i%2 == 0)
			time.Sleep(time.Duration(i%7) * 50 * time.Microsecond)
		}
	}()
	var paths []string
	for i := range maxBatch {
		paths = append(paths, fmt.Sprintf("data/%d", i))
	}
	ended := 0
	for i := range 300 {
		ctx, cancel := context.WithTimeout(r.ctx, time.Duration(i%11)*100*time.Microsecond)
		if _, err := r.c.ReadAll(ctx, paths[:1+i%maxBatch]...); err == nil {
			ended++
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("round %d: %v", i, err)
		}
		cancel()
		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
		got, err := r.c.ReadAll(ctx, paths...)
		cancel()
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		for k, v := range got {
			if v.Value != long[k:] {
				t.Fatalf("round %d: value %d is of %d bytes, want %d", i, k, len(v.Value), len(long)-k)
			}
		}
	}
	close(stop)
	<-done
	if ended == 0 || ended == 300 {
		t.Logf("%d of 300 were answered in time", ended)
	}
}
