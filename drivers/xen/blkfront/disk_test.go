package blkfront

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
)

const diskSize = 600 * 4096

// rig is a disk, and what is around it.
type rig struct {
	*Disk
	d     *xentest.Dom0
	back  *xentest.Blkback
	store *xenstore.Client
}

var times = xenbus.Times{Connect: 200 * time.Millisecond, Retry: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond, Close: time.Second}

// try makes a disk whose backend offers what Linux does but for some values.
func try(t testing.TB, but map[string]string, wait time.Duration) (*rig, error) {
	t.Helper()
	d := xentest.New(t, 32)
	offers := xentest.LinuxDisk(diskSize)
	for k, v := range but {
		offers[k] = v
	}
	r := &rig{d: d, back: d.AddVBD(51712, make([]byte, diskSize), offers)}
	var err error
	if r.store, err = xenstore.Open(xenstore.Config{Gate: d, Line: d.Store.Line}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	r.Disk, err = Open(ctx, "disk0", Config{Bus: xenbus.Config{Store: r.store, Times: times}, Path: "device/vbd/51712",
		Gate: d, Pages: d.Pages, Pool: d.Pool, Timeout: 5 * time.Second})
	t.Cleanup(func() {
		if r.Disk != nil {
			r.Close()
			<-r.bus.Done()
		}
		time.Sleep(20 * time.Millisecond) // for a disk that Open gave up
		r.store.Close()
	})
	return r, err
}

func start(t testing.TB, but map[string]string) *rig {
	t.Helper()
	r, err := try(t, but, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	devicetest.Block(t, func(t *testing.T) devicetest.BlockUnderTest {
		r := start(t, nil)
		r.conf.Timeout = 2 * time.Second
		return devicetest.BlockUnderTest{Dev: r.Disk, Pool: r.d.Pool, Peer: r.back}
	})
}

func TestReadOnly(t *testing.T) {
	r := start(t, map[string]string{"info": "4"})
	if err := r.WriteAt(make([]byte, 512), 0); !errors.Is(err, device.ErrReadOnly) {
		t.Errorf("WriteAt: %v", err)
	}
	if err := r.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("ReadAt: %v", err)
	}
}

func TestNoCache(t *testing.T) {
	r := start(t, map[string]string{"feature-flush-cache": "0"})
	if err := r.Flush(); err != nil || r.back.Flushes() != 0 {
		t.Errorf("Flush: %v, %d at the backend", err, r.back.Flushes())
	}
}

// TestFind: the lowest number that is a disk.
func TestFind(t *testing.T) {
	r := start(t, nil)
	find := func(want string) {
		t.Helper()
		if got, err := Find(t.Context(), r.store); got != want || err != nil {
			t.Errorf("found %q, %v, want %q", got, err, want)
		}
	}
	find("device/vbd/51712")
	home := strings.TrimSuffix(r.back.Front, "51712")
	r.d.Store.Set(home+"768/device-type", "cdrom")
	find("device/vbd/51712")
	r.d.Store.Set(home+"832/device-type", "disk")
	find("device/vbd/832")
	for _, number := range []string{"832", "51712"} {
		r.d.Store.Set(home+number+"/device-type", "cdrom")
	}
	find("")
}

// TestStrings: what a backend says of a disk has any content. If nothing can come
// of it, Open says so at once.
func TestStrings(t *testing.T) {
	for _, but := range []map[string]string{
		{"sectors": ""}, {"sectors": "-1"}, {"sectors": "99999999999999999999"}, {"sectors": "1\x00"},
		{"sector-size": "4096"}, {"sector-size": "0"}, {"sector-size": ""}, {"info": "x"}, {"info": ""},
	} {
		_, err := try(t, but, time.Minute)
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: %v", but, err)
		}
	}
}

// TestHostile: each lie ends the connection with the reason named, and the
// backend is not used again.
func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(b *xentest.Blkback, id uint64, op uint8)
		reason string
	}{
		"bad id":      {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(id+77, op, 0); b.Ring.Publish() }, "not in flight"},
		"id 0":        {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(0, op, 0); b.Ring.Publish() }, "not in flight"},
		"large id":    {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(id|1<<40, op, 0); b.Ring.Publish() }, "not in flight"},
		"replay":      {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(1, op, 0); b.Ring.Publish() }, "not in flight"},
		"operation":   {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(id, op^1, 0); b.Ring.Publish() }, "operation"},
		"status 1":    {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(id, op, 1); b.Ring.Publish() }, "status 1"},
		"status -3":   {func(b *xentest.Blkback, id uint64, op uint8) { b.Respond(id, op, -3); b.Ring.Publish() }, "status -3"},
		"index jump":  {func(b *xentest.Blkback, id uint64, op uint8) { b.Ring.SetRspProd(b.Ring.RspProd() + 20) }, "jumped"},
		"index back":  {func(b *xentest.Blkback, id uint64, op uint8) { b.Ring.SetRspProd(b.Ring.RspProd() - 1) }, "jumped"},
		"far forward": {func(b *xentest.Blkback, id uint64, op uint8) { b.Ring.SetRspProd(1 << 31) }, "jumped"},
		"silence":     {func(b *xentest.Blkback, id uint64, op uint8) {}, "no answer"},
	} {
		for kind, call := range map[string]func(*rig) error{
			"read":  func(r *rig) error { return r.ReadAt(make([]byte, 3*4096), 0) },
			"write": func(r *rig) error { return r.WriteAt(make([]byte, 3*4096), 0) },
		} {
			r := start(t, nil)
			if err := r.WriteAt(make([]byte, 512), 0); err != nil { // request 1
				t.Fatal(err)
			}
			r.conf.Timeout = 50 * time.Millisecond
			r.back.Answer = func(id uint64, op uint8, _ int16) { c.do(r.back, id, op) }
			err := call(r)
			if !errors.Is(err, device.ErrGone) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s: %s: %v, want mention of %q", name, kind, err, c.reason)
			}
			r.back.Answer = nil
			if err := r.Flush(); !errors.Is(err, device.ErrGone) {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		}
	}
}

// TestNothingRead: a backend that says it has read and has not gives zeros, not
// what was in the page before.
func TestNothingRead(t *testing.T) {
	r := start(t, nil)
	if err := r.WriteAt(bytes.Repeat([]byte("secret!!"), 512), 0); err != nil {
		t.Fatal(err)
	}
	r.back.Lazy = true
	p := bytes.Repeat([]byte{1}, 4096)
	if err := r.ReadAt(p, 0); err != nil || bytes.Count(p, []byte{0}) != len(p) {
		t.Errorf("ReadAt: %v, or what was written elsewhere", err)
	}
}

// underWay starts a write of 20 pages that the backend does not answer.
func (r *rig) underWay(t *testing.T) (p []byte, done chan error) {
	t.Helper()
	p = bytes.Repeat([]byte("under way "), 20*4096/10)
	r.back.Hold(true)
	done = make(chan error, 1)
	go func() { done <- r.WriteAt(p, 16) }()
	for r.back.Held() < Depth {
		time.Sleep(time.Millisecond)
	}
	return p, done
}

// ends checks that a write that was under way is on the disk.
func (r *rig) ends(t *testing.T, p []byte, done chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("write that was under way: %v (%v)", err, r.Cause())
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("a write that was under way does not end: %v", r.Cause())
	}
	if !bytes.Equal(r.back.Content()[16*512:][:len(p)], p) {
		t.Error("a write that was under way is not on the disk")
	}
}

func (r *rig) suspend(t *testing.T) {
	t.Helper()
	if err := errors.Join(r.Suspend(t.Context()), r.store.Suspend(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) resume(t *testing.T, restored bool) {
	t.Helper()
	if err := errors.Join(r.store.Resume(t.Context(), restored), r.Resume(t.Context(), restored)); err != nil {
		t.Fatal(err)
	}
}

// TestRestore: what was under way when the VM was saved is asked of the new
// backend, and the flush that follows is good.
func TestRestore(t *testing.T) {
	r := start(t, nil)
	p, done := r.underWay(t)
	r.suspend(t)
	r.d.Restore()
	r.back.Restart()
	r.back.Hold(false)
	r.resume(t, true)
	r.ends(t, p, done)
	if err := r.Flush(); err != nil || r.back.Links() != 2 {
		t.Errorf("Flush: %v, after %d handshakes", err, r.back.Links())
	}
}

// TestSaveCancelled: the requests are still with the backend, and asked once.
func TestSaveCancelled(t *testing.T) {
	r := start(t, nil)
	p, done := r.underWay(t)
	r.suspend(t)
	held := r.back.Held()
	r.resume(t, false)
	if n := r.back.Held(); n != held {
		t.Errorf("%d requests at the backend, %d before", n, held)
	}
	r.back.Hold(false)
	r.ends(t, p, done)
	if n := r.back.Links(); n != 1 {
		t.Errorf("%d handshakes", n)
	}
}

// TestBackendLeaves: a backend that goes and comes back answers what the former
// one has not; that writes may be lost is told by the next flush, once.
func TestBackendLeaves(t *testing.T) {
	r := start(t, nil)
	p, done := r.underWay(t)
	r.back.SetState(abi.StateClosing)
	for r.back.Held() > 0 {
		time.Sleep(time.Millisecond)
	}
	r.back.Hold(false)
	r.ends(t, p, done)
	if err := r.Flush(); !errors.Is(err, device.ErrIO) {
		t.Errorf("Flush: %v", err)
	}
	if err := errors.Join(r.WriteAt(p[:512], 0), r.Flush()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOtherDisk: one that comes back with another size is not used.
func TestOtherDisk(t *testing.T) {
	r := start(t, nil)
	r.conf.Timeout = time.Minute
	r.back.Offer("sectors", "100")
	r.back.SetState(abi.StateClosing)
	for end := time.Now().Add(10 * time.Second); r.back.Links() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the backend is not taken again: %v", r.Cause())
		}
	}
	time.Sleep(50 * time.Millisecond) // until the disk may be used, were it
	begin := time.Now()
	err := r.ReadAt(make([]byte, 512), 0)
	if late := time.Since(begin); late > r.conf.Timeout/2 {
		t.Errorf("that it is refused takes %v to find out", late)
	}
	if !errors.Is(err, device.ErrGone) || !strings.Contains(fmt.Sprint(err), "another disk") {
		t.Errorf("ReadAt: %v", err)
	}
}
