package netfront

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// until waits for something that other goroutines bring about.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: not within 5 s: %v", what, r.dev.Cause())
		}
	}
}

func (r *rig) gone() bool {
	n, err := r.dev.Recv(nil)
	return n == 0 && errors.Is(err, device.ErrGone)
}

func (r *rig) here() bool { return !r.gone() }

// works sends and receives.
func (r *rig) works() {
	r.Helper()
	f := packet(false, protoUDP, nil, 80)
	r.send(f, device.Meta{})
	if got, _, ok := r.back.Take(); !ok || string(got) != string(f) {
		r.Fatal("a frame was not sent")
	}
	r.receives("after all", f, device.Meta{})
	r.whole(0)
}

// linked checks what Config.Link was told.
func (r *rig) linked(want ...bool) {
	r.Helper()
	for i, w := range want {
		select {
		case got := <-r.link:
			if got != w {
				r.Fatalf("link event %d is %v", i, got)
			}
		case <-time.After(5 * time.Second):
			r.Fatalf("no link event %d", i)
		}
	}
}

// TestBackendComesAndGoes: each way in which a backend leaves and returns. What
// was in flight comes back to the pool, and both directions work again.
func TestBackendComesAndGoes(t *testing.T) {
	for name, c := range map[string]struct{ leave, back func(*rig) }{
		"closes": {
			leave: func(r *rig) { r.back.SetState(abi.StateClosing) },
			back:  func(*rig) {},
		},
		"closed at once": {
			leave: func(r *rig) { r.back.SetState(abi.StateClosed) },
			back:  func(*rig) {},
		},
		"vanishes and is attached again": {
			leave: func(r *rig) { r.back.Detach() },
			back:  func(r *rig) { r.back.Attach(xentest.Linux()) },
		},
		"begins anew": {
			leave: func(r *rig) { r.back.Attach(xentest.Linux()) },
			back:  func(*rig) {},
		},
		"a state of no meaning": {
			leave: func(r *rig) { r.d.Store.Set(r.back.Back+"/state", strings.Repeat("4", 2000)) },
			back:  func(r *rig) { r.back.Attach(xentest.Linux()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			r.linked(true)
			for round := range 3 {
				r.works()
				r.send(packet(false, protoUDP, nil, 80), device.Meta{}) // stays in flight
				c.leave(r)
				r.until("gone", func() bool { return r.gone() || r.dev.Stats().Connects > uint64(round)+1 })
				c.back(r)
				r.linked(false, true)
				r.until("back", r.here)
				if _, times := r.back.Linked(); times != round+2 {
					t.Fatalf("round %d: the backend took rings %d times", round, times)
				}
			}
			r.works()
			if n := r.d.OpenPorts(); n != 2 {
				t.Errorf("%d ports open", n)
			}
		})
	}
}

// TestVanishingBackend: the waiters learn of it, and a device without a backend
// holds no page.
func TestVanishingBackend(t *testing.T) {
	r := setup{}.open(t)
	done := make(chan bool)
	go func() { r.dev.Ready().Wait(); done <- true }()
	r.back.Detach()
	<-done
	r.until("gone", r.gone)
	r.until("pages", func() bool { n, _ := r.pool.Free(); return n == r.pool.Len() })
	if err := r.dev.Cause(); !errors.Is(err, xenbus.ErrLeft) {
		t.Errorf("Cause: %v", err)
	}
	// Whoever goes on to wait and to receive does not go in a circle.
	wakes := 0
	for ; r.dev.Ready().Ready() && wakes < 10; wakes++ {
		r.dev.Ready().Wait()
		r.gone()
		r.back.RX.SetRspProd(uint32(wakes) * 77)
	}
	if wakes > 3 {
		t.Errorf("ready %d times without a backend", wakes)
	}
	if n := r.d.OpenPorts(); n != 0 {
		t.Errorf("%d ports open", n)
	}
	go func() { r.dev.Ready().Wait(); done <- true }()
	r.back.Attach(xentest.Linux())
	<-done
	r.until("back", r.here)
	r.works()
}

// TestLessThanBefore: Info does not change, so a backend must offer at least what
// the first one did.
func TestLessThanBefore(t *testing.T) {
	r := setup{}.open(t)
	r.back.Detach()
	less := xentest.Linux()
	less["feature-gso-tcpv6"] = "0"
	r.back.Attach(less)
	r.until("cause", func() bool {
		err := r.dev.Cause()
		return err != nil && strings.Contains(err.Error(), "without the offloads")
	})
	r.back.Detach()
	r.back.Attach(xentest.Linux())
	r.until("back", r.here)
	r.works()
}

// TestMuteBackend: a backend that never takes the rings costs a time-out each
// time, and pages stay the backend's until it says that it is done.
func TestMuteBackend(t *testing.T) {
	r := setup{}.prepare(t)
	r.back.Mute(true)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, "net0", Config{
		Bus: xenbus.Config{Store: r.store, Times: times}, Path: "device/vif/0", Gate: r.d, Pages: r.d.Pages, Pool: r.pool,
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stays in state 2") {
		t.Errorf("Open: %v", err)
	}
	if n, _ := r.pool.Free(); n == r.pool.Len() {
		t.Error("the pages in the ring were given to others while the backend may have them")
	}
	r.back.SetState(abi.StateClosed)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if n, _ := r.pool.Free(); n == r.pool.Len() && r.d.OpenPorts() == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("pages or ports are lost")
		}
	}
	r.store.Close()
}

// TestGrantInUse: a page in flight is nobody else's until the backend is done
// with the ring, however the device ends.
func TestGrantInUse(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"closing":  func(r *rig) { r.back.SetState(abi.StateClosing) },
		"breach":   func(r *rig) { r.back.RX.SetRspProd(5000); r.dev.Recv(make([]device.Frame, 1)) },
		"our side": func(r *rig) { r.dev.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			want := packet(false, protoUDP, nil, 1000)
			r.send(want, device.Meta{})
			r.back.Mute(true) // it goes on with what it has
			end(r)
			r.until("gone", r.gone)
			r.until("told", func() bool { v, _ := r.d.Store.Get(r.back.Front + "/state"); return v == "6" })
			time.Sleep(5 * time.Millisecond)
			var got []*iopage.Buf
			for {
				b, err := r.pool.Get()
				if err != nil {
					break
				}
				clear(b.Page())
				got = append(got, b)
			}
			if len(got) != r.pool.Len()-64-1 {
				t.Errorf("%d pages could be had with 65 of %d at the backend", len(got), r.pool.Len())
			}
			if frame, _, _, ok := r.back.Hold(nil, nil); !ok || string(frame) != string(want) {
				t.Error("the page of a frame that was not answered has changed")
			}
			for _, b := range got {
				b.Release()
			}
			r.back.SetState(abi.StateClosed)
			r.until("pages", func() bool { n, _ := r.pool.Free(); return n == r.pool.Len() || !r.gone() })
		})
	}
}

// TestQuarantine: a page that is still mapped although the backend's directory
// is gone stays out of the pool until it is not, and comes back by itself.
func TestQuarantine(t *testing.T) {
	r := setup{}.open(t)
	b := r.chain(packet(false, protoUDP, nil, 100))
	ref := r.d.Pages.IORef(b.Index() * iopage.Size)
	if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
		t.Fatal(err)
	}
	r.d.Map(ref, true)
	r.back.Detach()
	r.until("pages", func() bool { n, _ := r.pool.Free(); return n == r.pool.Len()-1 })
	time.Sleep(4 * sweepFirst)
	if n := r.dev.Stats().Quarantine; n != 1 {
		t.Errorf("%d pages in quarantine", n)
	}
	r.back.Attach(xentest.Linux())
	r.until("back", r.here)
	r.whole(1)
	r.d.Map(ref, false)
	r.until("the page", func() bool { return r.dev.Stats().Quarantine == 0 })
	r.whole(0)
	r.works()
}

// TestRingInUse: rings that a former backend still maps are not given to the
// next one; when they are free the device comes up by itself.
func TestRingInUse(t *testing.T) {
	r := setup{}.open(t)
	r.d.Map(r.dev.wire.rxRef, true)
	r.back.Detach()
	r.until("gone", r.gone)
	r.back.Attach(xentest.Linux())
	r.until("a reason", func() bool {
		err := r.dev.Cause()
		return err != nil && strings.Contains(err.Error(), "still has the rings")
	})
	r.d.Map(r.dev.wire.rxRef, false)
	r.until("back", r.here)
	r.works()
}

// TestMappedAtRestore: what was mapped before a restore is not any more.
func TestMappedAtRestore(t *testing.T) {
	r := setup{}.open(t)
	ctx := context.Background()
	b := r.chain(packet(false, protoUDP, nil, 100))
	r.d.Map(r.d.Pages.IORef(b.Index()*iopage.Size), true)
	if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{r.dev.Suspend(ctx), r.store.Suspend(ctx)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.d.Restore(r.back)
	for _, err := range []error{r.store.Resume(ctx, true), r.dev.Resume(ctx, true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.until("back", r.here)
	r.whole(0)
	r.works()
}

// TestReplaced: a vif that was removed for good is replaced by one with another
// MAC address, in the same place and in another.
func TestReplaced(t *testing.T) {
	r := setup{}.open(t)
	ctx := context.Background()
	r.linked(true)
	r.back.Detach()
	r.linked(false)
	r.back.SetMAC("00:16:3e:00:00:aa")
	r.back.Attach(xentest.Linux())
	r.linked(true)
	if got, want := r.dev.Info().MAC, [6]byte{0, 0x16, 0x3e, 0, 0, 0xaa}; got != want {
		t.Errorf("MAC is %x, want %x", got, want)
	}
	r.works()
	if err := r.dev.Move(ctx, "device/vif/3"); !errors.Is(err, xenbus.ErrBusy) {
		t.Errorf("Move of a vif that is there: %v", err)
	}
	r.back.Detach()
	r.linked(false)
	r.back = r.d.AddVIF(3, xentest.Linux())
	r.until("moved", func() bool { return r.dev.Move(ctx, "device/vif/3") == nil })
	r.linked(true)
	if got, want := r.dev.Info().MAC, [6]byte{0, 0x16, 0x3e, 0, 0, 4}; got != want {
		t.Errorf("MAC is %x, want %x", got, want)
	}
	r.works()
}

func TestSaveRestore(t *testing.T) {
	r := setup{}.open(t)
	ctx := context.Background()
	for round, restored := range []bool{false, true, true, false} {
		r.send(packet(false, protoUDP, nil, 80), device.Meta{})
		for _, err := range []error{r.dev.Suspend(ctx), r.store.Suspend(ctx)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if !r.gone() {
			t.Fatal("in use while suspended")
		}
		if restored {
			r.d.Restore(r.back)
		}
		for _, err := range []error{r.store.Resume(ctx, restored), r.dev.Resume(ctx, restored)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r.until("back", r.here)
		if !restored {
			if _, _, ok := r.back.Take(); !ok {
				t.Errorf("round %d: a frame was lost in a save that was cancelled", round)
			}
		}
		r.works()
	}
	if n := r.dev.Stats().Connects; n != 3 {
		t.Errorf("connected %d times", n)
	}
}

func TestSeveralInterfaces(t *testing.T) {
	r := setup{pages: 512}.open(t)
	second := r.d.AddVIF(1, xentest.Linux())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	paths, err := xenbus.Enumerate(ctx, r.store, "vif")
	if err != nil || len(paths) != 2 || paths[1] != "device/vif/1" {
		t.Fatalf("Enumerate = %q, %v", paths, err)
	}
	dev, err := Open(ctx, "net1", Config{
		Bus: xenbus.Config{Store: r.store, Times: times}, Path: paths[1], Gate: r.d, Pages: r.d.Pages, Pool: r.pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { dev.Close(); <-dev.bus.Done() }()
	if dev.Info().MAC == r.dev.Info().MAC {
		t.Error("both have one MAC")
	}
	if !second.Deliver(packet(false, protoUDP, nil, 70), device.Meta{}) {
		t.Fatal("no room")
	}
	var f [2]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
		t.Errorf("the first got the second's frame: %d, %v", n, err)
	}
	if n, err := dev.Recv(f[:]); n != 1 || err != nil {
		t.Errorf("the second got %d, %v", n, err)
	}
	// What one received the other can send.
	if n, err := r.dev.Send(f[:1]); n != 1 || err != nil {
		t.Fatal(err)
	}
	if got, _, ok := r.back.Take(); !ok || len(got) != 70 {
		t.Errorf("%d bytes sent", len(got))
	}
}
