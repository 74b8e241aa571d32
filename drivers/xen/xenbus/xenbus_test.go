package xenbus

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
	"ampoule/drivers/xen/xenstore"
	"ampoule/drivers/xen/xentest"
)

// driver checks that it is called in an order that makes sense, and notes it.
type driver struct {
	testing.TB
	mu     sync.Mutex
	state  string
	calls  []string
	refuse error
}

// call is a call that is allowed in the given states.
func (d *driver) call(name, next string, from ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(from, d.state) {
		d.Errorf("%s when %s, after %q", name, d.state, d.calls)
	}
	d.state = next
	d.calls = append(d.calls, name)
}

func (d *driver) Connect(context.Context, *Peer) ([]Key, error) {
	d.mu.Lock()
	err := d.refuse
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	d.call("connect", "linking", "")
	return []Key{{Name: "ring", Value: "1"}, {Name: "old", Remove: true}}, nil
}

func (d *driver) Up()        { d.call("up", "up", "linking", "down") }
func (d *driver) Down(error) { d.call("down", "down", "linking", "up") }
func (d *driver) Free()      { d.call("free", "", "down") }
func (d *driver) Lost()      { d.call("lost", "", "down") }

func (d *driver) took() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

const (
	front = "/local/domain/7/device/vif/0"
	back  = "/local/domain/0/backend/vif/7/0"
)

type rig struct {
	testing.TB
	d    *xentest.Dom0
	s    *xentest.Store
	c    *xenstore.Client
	drv  *driver
	dev  *Device
	ctx  context.Context
	conf Config
}

var short = Times{Step: 500 * time.Millisecond, Connect: 60 * time.Millisecond, Retry: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond, Close: 300 * time.Millisecond}

func prepare(tb testing.TB) *rig {
	tb.Helper()
	d := xentest.New(tb, 0)
	c, err := xenstore.Open(xenstore.Config{Gate: d, Line: d.Store.Line})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	r := &rig{TB: tb, d: d, s: d.Store, c: c, drv: &driver{TB: tb}, ctx: ctx, conf: Config{Store: c, Times: short}}
	tb.Cleanup(func() {
		if r.dev != nil {
			r.dev.Stop()
			<-r.dev.Done()
		}
		cancel()
		c.Close()
	})
	return r
}

// toolstack makes both directories.
func (r *rig) toolstack(state abi.State) {
	r.s.Set(back+"/online", "1")
	r.state(state)
	r.s.Set(front+"/backend-id", "0")
	r.s.Set(front+"/state", "1")
	r.s.Set(front+"/old", "x")
	r.s.Set(front+"/backend", back)
}

func (r *rig) state(s abi.State) { r.s.Set(back+"/state", fmt.Sprint(int(s))) }

func (r *rig) start() {
	r.Helper()
	var err error
	if r.dev, err = Start(r.ctx, r.conf, "device/vif/0", r.drv); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: not within 5 s; %q, %v", what, r.drv.took(), r.dev.Err())
		}
	}
}

func (r *rig) is(path, want string) func() bool {
	return func() bool { v, _ := r.s.Get(path); return v == want }
}

func TestHandshake(t *testing.T) {
	r := prepare(t)
	r.start() // before there is anything
	r.toolstack(abi.StateInitialising)
	time.Sleep(5 * time.Millisecond)
	if got := r.drv.took(); len(got) != 0 {
		t.Fatalf("%q with a backend that is not ready", got)
	}
	r.state(abi.StateInitWait)
	r.until("linking", r.is(front+"/state", "4"))
	if v, _ := r.s.Get(front + "/ring"); v != "1" {
		t.Errorf("ring is %q", v)
	}
	if _, ok := r.s.Get(front + "/old"); ok {
		t.Error("a key to be removed is there")
	}
	r.state(abi.StateConnected)
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range []abi.State{abi.StateReconfiguring, abi.StateReconfigured, abi.StateConnected} {
		r.state(s)
	}
	r.state(abi.StateClosing)
	r.until("closed", r.is(front+"/state", "6"))
	time.Sleep(5 * time.Millisecond)
	if got, want := r.drv.took(), []string{"connect", "up", "down"}; !slices.Equal(got, want) {
		t.Fatalf("%q while the backend is closing, want %q", got, want)
	}
	r.state(abi.StateClosed)
	r.until("asks again", r.is(front+"/state", "1"))
	r.state(abi.StateInitWait)
	r.until("linking", r.is(front+"/state", "4"))
	r.state(abi.StateConnected)
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := r.drv.took(), []string{"connect", "up", "down", "free", "connect", "up"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBeingRemoved(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	r.start()
	r.until("linking", r.is(front+"/state", "4"))
	r.state(abi.StateConnected)
	r.until("up", func() bool { return len(r.drv.took()) == 2 })
	r.s.Set(back+"/online", "0")
	r.state(abi.StateClosing)
	r.until("closed", r.is(front+"/state", "6"))
	r.state(abi.StateClosed)
	r.until("free", func() bool { return slices.Contains(r.drv.took(), "free") })
	time.Sleep(5 * time.Millisecond)
	if v, _ := r.s.Get(front + "/state"); v != "6" {
		t.Errorf("state %s of a device that is to be removed", v)
	}
	r.s.Remove(back)
	r.s.Remove(front)
	time.Sleep(5 * time.Millisecond)
	if _, ok := r.s.Get(front + "/state"); ok {
		t.Error("the directory was made again")
	}
}

// TestTimeOuts: a backend that does not take the rings.
func TestTimeOuts(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	r.start()
	ctx, cancel := context.WithTimeout(r.ctx, 3*short.Connect)
	defer cancel()
	err := r.dev.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stays in state 2") {
		t.Errorf("Wait: %v", err)
	}
	if got, want := r.drv.took(), []string{"connect", "down"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q: it may still take the rings", got, want)
	}
	r.state(abi.StateClosed)
	r.until("asks again", r.is(front+"/state", "1"))
}

// TestRefused: attempts that fail are repeated, with pauses.
func TestRefused(t *testing.T) {
	r := prepare(t)
	r.drv.refuse = errors.New("no ports")
	r.toolstack(abi.StateInitWait)
	before := r.s.Requests()
	r.start()
	time.Sleep(100 * time.Millisecond)
	if n := r.s.Requests() - before; n < 8 || n > 200 {
		t.Errorf("%d requests in 100 ms", n)
	}
	if err := r.dev.Err(); err == nil || !strings.Contains(err.Error(), "no ports") {
		t.Errorf("Err: %v", err)
	}
	r.drv.mu.Lock()
	r.drv.refuse = nil
	r.drv.mu.Unlock()
	r.until("linking", r.is(front+"/state", "4"))
}

// TestOtherDomain: the grants are for one domain.
func TestOtherDomain(t *testing.T) {
	for _, id := range []string{"1", "", "-0", "65536", "00000000000000000001", strings.Repeat("0", 4000) + "x"} {
		r := prepare(t)
		r.toolstack(abi.StateInitWait)
		r.s.Set(front+"/backend-id", id)
		r.start()
		r.until("refused", func() bool { return r.dev.Err() != nil })
		if err := r.dev.Err(); !strings.Contains(err.Error(), "grants are for domain 0") || len(err.Error()) > 300 {
			t.Errorf("backend-id %.30q: %v", id, err)
		}
	}
}

// TestStoreStrings: what the store says of devices and backends is of any length
// and content.
func TestStoreStrings(t *testing.T) {
	long := strings.Repeat("/x", 1900)
	for _, v := range []string{"", "x", "..", long, "/\x00", "\xff", "/local/domain/0/backend/vif/7/9"} {
		r := prepare(t)
		r.toolstack(abi.StateInitWait)
		r.s.Set(front+"/backend", v)
		r.start()
		time.Sleep(10 * time.Millisecond)
		if got := r.drv.took(); len(got) != 0 {
			t.Errorf("backend %.20q: %q", v, got)
		}
		r.s.Set(front+"/backend", back)
		r.until("linking", r.is(front+"/state", "4"))
	}
	for _, v := range []string{"", " 4", "4 ", "9", "255", "256", "-4", "0x4", "4\x00", long} {
		if s := parseState(v); s != abi.StateUnknown {
			t.Errorf("state %.20q is %d", v, s)
		}
	}
	r := prepare(t)
	for _, v := range []string{"3", "0", "0x1", "01", "-1", "65536", " 2", "12", long[1:], "a/b"} {
		r.s.Set("/local/domain/7/device/vif/"+v+"/state", "1")
	}
	got, err := Enumerate(r.ctx, r.c, "vif")
	if want := []string{"device/vif/0", "device/vif/3", "device/vif/12"}; err == nil && !slices.Equal(got, want) {
		t.Errorf("Enumerate = %.200q, want %q", got, want)
	}
	for i := range 200 {
		r.s.Set(fmt.Sprintf("/local/domain/7/device/vbd/%d/state", i), "1")
	}
	if got, err := Enumerate(r.ctx, r.c, "vbd"); err != nil || len(got) != MaxDevices {
		t.Errorf("%d devices of 200, %v", len(got), err)
	}
	if got, err := Enumerate(r.ctx, r.c, "none"); err != nil || len(got) != 0 {
		t.Errorf("%q of none, %v", got, err)
	}
}

// TestBrokenBackend: a backend that broke the protocol must be made anew.
func TestBrokenBackend(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	r.start()
	r.until("linking", r.is(front+"/state", "4"))
	r.state(abi.StateConnected)
	r.until("up", func() bool { return len(r.drv.took()) == 2 })
	breach := errors.New("bad id")
	r.dev.Broken(breach)
	r.dev.Broken(errors.New("another"))
	r.until("closed", r.is(front+"/state", "6"))
	if err := r.dev.Err(); !errors.Is(err, breach) {
		t.Errorf("Err: %v", err)
	}
	for _, s := range []abi.State{abi.StateClosing, abi.StateClosed, abi.StateInitWait, abi.StateConnected} {
		r.state(s)
		time.Sleep(4 * time.Millisecond)
	}
	if got, want := r.drv.took(), []string{"connect", "up", "down", "free"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	r.s.Remove(front)
	r.s.Remove(back)
	r.toolstack(abi.StateInitWait)
	r.until("linking", r.is(front+"/state", "4"))
}

// TestStop ends in any phase, also when store and backend are dead.
func TestStop(t *testing.T) {
	for phase := range 4 {
		r := prepare(t)
		r.toolstack(abi.StateInitWait)
		r.start()
		if phase > 0 {
			r.until("linking", r.is(front+"/state", "4"))
		}
		if phase > 1 {
			r.state(abi.StateConnected)
			r.until("up", func() bool { return len(r.drv.took()) == 2 })
		}
		if phase > 2 {
			r.s.Stall(true)
			defer r.s.Stall(false)
		}
		r.dev.Stop()
		select {
		case <-r.dev.Done():
		case <-time.After(8 * time.Second):
			t.Fatalf("phase %d: it does not end", phase)
		}
		if err := r.dev.Wait(r.ctx); phase < 2 && !errors.Is(err, ErrClosed) {
			t.Errorf("phase %d: Wait: %v", phase, err)
		}
	}
}
