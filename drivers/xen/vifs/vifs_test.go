package vifs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
)

type rig struct {
	testing.TB
	d     *xentest.Dom0
	store *xenstore.Client
	set   *Set
	ctx   context.Context
	up    chan string // "0 true"

	mu   sync.Mutex
	said []string
}

// prepare makes what is around a Set; start makes the Set.
func prepare(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{TB: tb, d: xentest.New(tb, 512), up: make(chan string, 64)}
	var err error
	if r.store, err = xenstore.Open(xenstore.Config{Gate: r.d, Line: r.d.Store.Line}); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r.ctx = ctx
	tb.Cleanup(func() {
		if r.set != nil {
			r.set.Close()
			for _, d := range r.set.nets {
				r.until("the end of "+d.Name(), func() bool { return strings.Contains(fmt.Sprint(d.Cause()), "closed") })
			}
		}
		time.Sleep(20 * time.Millisecond)
		cancel()
		r.store.Close()
	})
	return r
}

func (r *rig) start(most int) {
	r.Helper()
	times := xenbus.Times{Connect: 500 * time.Millisecond, Retry: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond, Close: time.Second}
	var err error
	r.set, err = Watch(r.ctx, Config{
		Net: netfront.Config{Bus: xenbus.Config{Store: r.store, Times: times}, Gate: r.d, Pages: r.d.Pages, Pool: r.d.Pool},
		Max: most,
		Link: func(i int, up bool) {
			r.up <- fmt.Sprint(i, " ", up)
		},
		Say: func(event string, pairs ...any) {
			r.mu.Lock()
			r.said = append(r.said, event+" "+fmt.Sprint(pairs...))
			r.mu.Unlock()
		},
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.Fatalf("%s: not within 5 s; said %q", what, r.said)
		}
	}
}

// linked waits for what Link must be told next.
func (r *rig) linked(want ...string) {
	r.Helper()
	for _, w := range want {
		select {
		case got := <-r.up:
			if got != w {
				r.Fatalf("link: %s, want %s", got, w)
			}
		case <-time.After(5 * time.Second):
			r.Fatalf("link: nothing, want %s", w)
		}
	}
}

// works has interface i receive a frame from a backend, and checks its address.
func (r *rig) works(i int, back *xentest.Netback, mac byte) {
	r.Helper()
	d, err := r.set.Wait(r.ctx, i)
	if err != nil {
		r.Fatal(err)
	}
	if got := d.Info().MAC; got != [6]byte{0, 0x16, 0x3e, 0, 0, mac} {
		r.Errorf("%s has the address %x, want one that ends in %x", d.Name(), got, mac)
	}
	if !back.Deliver(make([]byte, 60), device.Meta{}) {
		r.Fatal("no room for a frame")
	}
	var f [1]device.Frame
	if n, err := d.Recv(f[:]); n != 1 || err != nil {
		r.Fatalf("Recv = %d, %v", n, err)
	}
	f[0].Buf.Release()
}

// remove removes a vif as the toolstack does when the VM answers.
func (r *rig) remove(back *xentest.Netback) {
	r.Helper()
	r.d.Store.Set(back.Back+"/online", "0")
	back.SetState(abi.StateClosing)
	r.until("removal is answered", func() bool { return back.State() == "6" })
	back.Detach()
}

func (r *rig) state(back *xentest.Netback) string {
	v, _ := r.d.Store.Get(back.Front + "/state")
	return v
}

// TestLate: a VM that was made without a vif takes the first one that is
// attached.
func TestLate(t *testing.T) {
	r := prepare(t)
	r.start(1)
	short, cancel := context.WithTimeout(r.ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := r.set.Wait(short, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Wait without a vif: %v", err)
	}
	if n, p := r.set.Len(), r.set.Path(0); n != 0 || p != "" {
		t.Errorf("%d interfaces, the first at %q", n, p)
	}
	back := r.d.AddVIF(2, xentest.Linux())
	r.works(0, back, 3)
	r.linked("0 true")
	if p := r.set.Path(0); p != "device/vif/2" {
		t.Errorf("at %q", p)
	}
}

// TestReplaced: the interface goes on with the vif that takes the place of its
// own, whatever its number, and whether it comes before the other goes or after.
func TestReplaced(t *testing.T) {
	for _, before := range []bool{false, true} {
		r := prepare(t)
		old := r.d.AddVIF(0, xentest.Linux())
		r.start(1)
		r.works(0, old, 1)
		r.linked("0 true")
		var back *xentest.Netback
		if before {
			back = r.d.AddVIF(1, xentest.Linux())
			r.until("said", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.said) == 1 })
			if s := r.state(back); s != "1" {
				t.Errorf("a vif that is not used went to state %s", s)
			}
		}
		r.remove(old)
		r.linked("0 false")
		if !before {
			back = r.d.AddVIF(1, xentest.Linux())
		}
		r.linked("0 true")
		r.works(0, back, 2)
		if n, p := r.set.Len(), r.set.Path(0); n != 1 || p != "device/vif/1" {
			t.Errorf("%d interfaces, the first at %q", n, p)
		}
		r.set.mu.Lock()
		if n := len(r.set.parked); n != 0 {
			t.Errorf("%d are parked", n)
		}
		r.set.mu.Unlock()
	}
}

// TestSpare: what is not used answers its removal, and leaves nothing.
func TestSpare(t *testing.T) {
	r := prepare(t)
	first := r.d.AddVIF(0, xentest.Linux())
	r.start(1)
	r.works(0, first, 1)
	watches := r.d.Store.Watches()
	for range 3 {
		spare := r.d.AddVIF(1, xentest.Linux())
		r.until("parked", func() bool { return r.d.Store.Watches() > watches+1 })
		r.remove(spare)
		r.until("forgotten", func() bool { return r.d.Store.Watches() == watches })
	}
	r.works(0, first, 1)
}

// TestSeveral: as many as are wanted are used, by their numbers.
func TestSeveral(t *testing.T) {
	r := prepare(t)
	two, one := r.d.AddVIF(4, xentest.Linux()), r.d.AddVIF(1, xentest.Linux())
	r.start(3)
	r.works(0, one, 2)
	r.works(1, two, 5)
	three := r.d.AddVIF(2, xentest.Linux())
	r.works(2, three, 3)
	r.remove(two)
	other := r.d.AddVIF(7, xentest.Linux())
	r.until("goes on", func() bool { return r.set.Path(1) == "device/vif/7" })
	r.until("linked", func() bool { now, _ := other.Linked(); return now })
	r.until("up", func() bool { d, _ := r.set.Wait(r.ctx, 1); return d.Cause() == nil })
	r.works(1, other, 8)
	r.works(0, one, 2)
}

// TestSaveRestore: with an interface, with none, and with a vif that is attached
// while the VM is away.
func TestSaveRestore(t *testing.T) {
	r := prepare(t)
	var back, spare *xentest.Netback
	r.start(1)
	for round, restored := range []bool{false, true, true, false, true} {
		if err := errors.Join(r.set.Suspend(r.ctx), r.store.Suspend(r.ctx)); err != nil {
			t.Fatal(err)
		}
		if round == 2 {
			back, spare = r.d.AddVIF(0, xentest.Linux()), r.d.AddVIF(1, xentest.Linux())
		}
		if restored && back != nil {
			r.d.Restore(back, spare)
		} else if restored {
			r.d.Restore()
		}
		if err := errors.Join(r.store.Resume(r.ctx, restored), r.set.Resume(r.ctx, restored)); err != nil {
			t.Fatal(err)
		}
		if back == nil {
			continue
		}
		if d, err := r.set.Wait(r.ctx, 0); err != nil {
			t.Fatal(err)
		} else {
			r.until("up", func() bool { return d.Cause() == nil })
		}
		r.works(0, back, 1)
	}
	r.remove(spare)
	r.works(0, back, 1)
}

// TestStoreStrings: names that are no vif are none, however many there are.
func TestStoreStrings(t *testing.T) {
	r := prepare(t)
	r.start(1)
	base := "/local/domain/7/device/vif/"
	for _, name := range []string{"x", "-1", "01", "+1", "65536", strings.Repeat("9", 200), "\x01", "1 "} {
		r.d.Store.Set(base+name+"/state", "1")
	}
	for i := range 100 {
		r.d.Store.Set(base+fmt.Sprint(200+i)+"/state", "1")
	}
	r.until("looked", func() bool { return r.set.Len() == 1 })
	r.until("parked", func() bool { r.set.mu.Lock(); defer r.set.mu.Unlock(); return len(r.set.parked) == xenbus.MaxDevices-1 })
	if p := r.set.Path(0); p != "device/vif/200" {
		t.Errorf("the first is at %q", p)
	}
	r.d.Store.Remove("/local/domain/7/device/vif")
	r.until("forgotten", func() bool { r.set.mu.Lock(); defer r.set.mu.Unlock(); return len(r.set.parked) == 0 })
	r.works(0, r.d.AddVIF(0, xentest.Linux()), 1)
}
