package xenbus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
)

// TestPark: a parked device is never connected, but answers its removal.
func TestPark(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	var err error
	if r.dev, err = Park(r.ctx, r.conf, "device/vif/0"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	if v, _ := r.s.Get(front + "/state"); v != "1" {
		t.Errorf("a parked device went to state %s", v)
	}
	r.s.Set(back+"/online", "0")
	r.state(abi.StateClosing)
	r.until("answered", r.is(front+"/state", "6"))
	r.state(abi.StateClosed)
	r.s.Remove(front)
	r.s.Remove(back)
	r.dev.Stop()
	<-r.dev.Done()
	if n := r.s.Watches(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}

// TestRemovedUnconnected: removal is answered also where connecting has failed.
func TestRemovedUnconnected(t *testing.T) {
	r := prepare(t)
	r.drv.refuse = errors.New("no")
	r.toolstack(abi.StateInitWait)
	r.start()
	r.until("refused", func() bool { return r.dev.Err() != nil })
	r.state(abi.StateClosing)
	r.until("answered", r.is(front+"/state", "6"))
}

// TestMove: a device that was removed for good goes on with another directory,
// and not before its backend is gone.
func TestMove(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	r.start()
	r.until("linking", r.is(front+"/state", "4"))
	r.state(abi.StateConnected)
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.dev.Move(r.ctx, "device/vif/1"); !errors.Is(err, ErrBusy) {
		t.Fatalf("Move while connected: %v", err)
	}
	r.s.Set(back+"/online", "0")
	r.state(abi.StateClosing)
	r.until("left", r.is(front+"/state", "6"))
	if err := r.dev.Move(r.ctx, "device/vif/1"); !errors.Is(err, ErrBusy) {
		t.Fatalf("Move while the backend has the rings: %v", err)
	}
	r.state(abi.StateClosed)
	r.s.Remove(front)
	r.s.Remove(back)
	r.until("moved", func() bool { return r.dev.Move(r.ctx, "device/vif/1") == nil })
	if got := r.dev.Path(); got != "device/vif/1" {
		t.Errorf("at %s", got)
	}
	other, otherBack := strings.Replace(front, "vif/0", "vif/1", 1), strings.Replace(back, "7/0", "7/1", 1)
	r.s.Set(otherBack+"/state", "2")
	r.s.Set(other+"/backend-id", "0")
	r.s.Set(other+"/state", "1")
	r.s.Set(other+"/backend", otherBack)
	r.until("linking", r.is(other+"/state", "4"))
	r.s.Set(otherBack+"/state", "4")
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	// The former directory is nobody's business any more.
	r.toolstack(abi.StateInitWait)
	time.Sleep(5 * time.Millisecond)
	if v, _ := r.s.Get(front + "/state"); v != "1" {
		t.Errorf("the former directory went to state %s", v)
	}
	r.s.Remove(front)
	r.s.Remove(back)
	r.dev.Stop()
	r.until("the end", r.is(other+"/state", "6"))
	r.s.Set(otherBack+"/state", "6")
	<-r.dev.Done()
	if err := r.dev.Move(r.ctx, "device/vif/0"); !errors.Is(err, ErrClosed) {
		t.Errorf("Move after the end: %v", err)
	}
}

// TestFormerBackendRefused: after a restore the backend is another one, and the
// former one's directory may not be read, nor must it be.
func TestFormerBackendRefused(t *testing.T) {
	r := prepare(t)
	r.toolstack(abi.StateInitWait)
	r.start()
	r.until("linking", r.is(front+"/state", "4"))
	r.state(abi.StateConnected)
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.dev.Suspend(r.ctx), r.c.Suspend(r.ctx)); err != nil {
		t.Fatal(err)
	}
	r.d.Restore()
	r.s.Remove(back)
	r.s.DenyRead(back + "/state")
	now := strings.Replace(back, "/7/", "/8/", 1)
	r.s.Set(now+"/state", "2")
	r.s.Set(front+"/state", "1")
	r.s.Set(front+"/backend", now)
	if err := errors.Join(r.c.Resume(r.ctx, true), r.dev.Resume(r.ctx, true)); err != nil {
		t.Fatal(err)
	}
	r.until("linking", r.is(front+"/state", "4"))
	r.s.Set(now+"/state", "4")
	if err := r.dev.Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.s.DenyRead(now + "/state")
	r.s.Set(now+"/other", "") // no watch of ours
	r.s.Set(front+"/other", "")
	time.Sleep(20 * time.Millisecond)
	if got := r.drv.took(); got[len(got)-1] != "up" {
		t.Errorf("a state that can't be read for once ended the device: %q", got)
	}
}
