package virtionet

import (
	"errors"
	"testing"

	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// TestBurstIsOnePostAndOneKick is why Queue batches.
func TestBurstIsOnePostAndOneKick(t *testing.T) {
	r := setup{}.open(t)
	r.peer.TX.Rearm()
	if n, err := r.dev.Send(r.frames(32)); n != 32 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	if q := r.peer.TX; q.Posts != 1 || q.Kicks != 1 || q.Descs != 32 {
		t.Errorf("a burst of 32 took %d posts, %d kicks, %d descriptors", q.Posts, q.Kicks, q.Descs)
	}
	// The device has not asked again: it is still busy with the first burst.
	r.dev.Send(r.frames(1))
	if q := r.peer.TX; q.Kicks != 1 {
		t.Errorf("%d kicks of a device that did not ask for them", q.Kicks)
	}
}

// TestReturnedPagesNeedNoPost: in the steady state the receive ring costs no
// gate call, whether frames are released or sent back.
func TestReturnedPagesNeedNoPost(t *testing.T) {
	r := setup{pages: 1024}.open(t)
	frames := make([]device.Frame, 32)
	run := func(rounds int) {
		for range rounds {
			for range 32 {
				if !r.peer.Deliver(virtiotest.NetHeader{}, frameOf(60)) {
					t.Fatal("no room")
				}
			}
			if n := r.echo(frames); n != 32 {
				t.Fatalf("echoed %d of 32", n)
			}
			for {
				if _, _, ok := r.peer.Take(nil); !ok {
					break
				}
			}
		}
	}
	run(100)
	before := r.peer.RX.Descs
	run(1000)
	if d := r.peer.RX.Descs - before; d != 0 {
		t.Errorf("%d descriptors written in the steady state of 32000 frames", d)
	}
}

// TestNoInterruptsWhilePolling: without arming, completions raise no interrupt
// but the one of each wrap-around of the index.
func TestNoInterruptsWhilePolling(t *testing.T) {
	r := setup{}.open(t)
	frames := make([]device.Frame, 32)
	for range 5000 {
		for range 20 {
			r.peer.Deliver(virtiotest.NetHeader{}, frameOf(60))
		}
		r.echo(frames)
		for {
			if _, _, ok := r.peer.Take(nil); !ok {
				break
			}
		}
	}
	if got := r.peer.RX.Interrupts + r.peer.TX.Interrupts; got > 4 {
		t.Errorf("%d interrupts in 100000 frames each way", got)
	}
	if s := r.dev.Stats(); s.RxFrames != 100000 || s.TxFrames != 100000 || s.RxBytes != 6000000 || s.TxBytes != 6000000 {
		t.Errorf("counters %+v", s)
	}
}

func TestNothingAllocates(t *testing.T) {
	r := setup{}.open(t)
	frames := make([]device.Frame, 32)
	frame := frameOf(60)
	r.prime(frame, 32)
	if n := testing.AllocsPerRun(200, func() {
		r.peer.Reflect()
		r.echo(frames)
	}); n != 0 {
		t.Errorf("%v allocations per burst", n)
	}
}

// frames makes n frames of 60 bytes.
func (r *rig) frames(n int) []device.Frame {
	r.Helper()
	frames := make([]device.Frame, n)
	for i := range frames {
		b, err := r.dev.Alloc()
		if err != nil {
			r.Fatal(err)
		}
		b.SetWindow(HeadRoom, 60)
		frames[i].Buf = b
	}
	return frames
}

// TestSendMoreThanTheRing: with a device that keeps up, one Send may be longer
// than the ring.
func TestSendMoreThanTheRing(t *testing.T) {
	r := setup{pages: 512, queue: 64}.open(t)
	sent := 0
	r.peer.TX.Kick = func() {
		for {
			if _, _, ok := r.peer.Take(nil); !ok {
				return
			}
			sent++
		}
	}
	r.peer.TX.Rearm()
	if n, err := r.dev.Send(r.frames(300)); n != 300 || err != nil || sent != 300 {
		t.Errorf("Send of 300 = %d, %v, and %d were taken", n, err, sent)
	}
}

func TestLongestChain(t *testing.T) {
	r := setup{}.open(t)
	for _, c := range []struct {
		pages int
		ok    bool
	}{{maxTxPages, true}, {maxTxPages + 1, false}} {
		frames := r.frames(c.pages)
		for i := range frames[1:] {
			frames[i].Buf.SetWindow(HeadRoom, 14)
			frames[i].Buf.SetNext(frames[i+1].Buf)
		}
		if n, err := r.dev.Send(frames[:1]); (n == 1 && err == nil) != c.ok {
			t.Errorf("chain of %d pages: Send = %d, %v", c.pages, n, err)
		}
	}
}

// TestRefillTakesSentPages: when all pages are in sent frames that are complete,
// the receive ring gets them without a further Send.
func TestRefillTakesSentPages(t *testing.T) {
	r := setup{pages: 128, conf: Config{RxBuffers: 32, RxLow: 17, TxReserve: 8}}.open(t)
	n, _ := r.pool.Free()
	for _, f := range r.frames(n) {
		if k, err := r.dev.Send([]device.Frame{f}); k != 1 || err != nil {
			t.Fatalf("Send = %d, %v", k, err)
		}
	}
	for {
		if _, _, ok := r.peer.Take(nil); !ok {
			break
		}
	}
	var f [32]device.Frame
	for range 32 {
		r.peer.Deliver(virtiotest.NetHeader{}, frameOf(60))
	}
	if n, err := r.dev.Recv(f[:]); n != 32 || err != nil {
		t.Errorf("Recv = %d, %v, want all 32", n, err)
	}
}

// TestRefillWithinABurst: a large frame is dropped for want of pages after a
// refill has taken some of its places in the ring.
func TestRefillWithinABurst(t *testing.T) {
	r := setup{pages: 64, queue: 32, conf: Config{RxBuffers: 32, RxLow: 32, TxReserve: 8}}.open(t)
	hold := make([]*iopage.Buf, 64)
	r.pool.GetBatch(hold, 18) // ten to refill with
	if !r.peer.Deliver(virtiotest.NetHeader{}, frameOf(65000)) {
		t.Fatal("no room")
	}
	var f [1]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	if s := r.dev.Stats(); s.RxNoPage != 1 {
		t.Errorf("%d frames dropped for want of pages", s.RxNoPage)
	}
	if n := r.peer.RX.Pending(); n != 32 {
		t.Errorf("%d pages in a ring of 32", n)
	}
	if now, _ := r.pool.Free(); now != 18 {
		t.Errorf("%d pages free, want 18 again", now)
	}
}

// TestAllocWithNothingInFlight: no completion will ever come, so whoever waits
// for one must not sleep.
func TestAllocWithNothingInFlight(t *testing.T) {
	r := setup{}.open(t)
	n, _ := r.pool.Free()
	held := r.frames(n)
	if _, err := r.dev.Alloc(); !errors.Is(err, device.ErrAgain) {
		t.Fatalf("Alloc: %v", err)
	}
	if !r.dev.TxReady().Ready() {
		t.Error("a wait for room would last for ever")
	}
	for _, f := range held {
		f.Buf.Release()
	}
}

// prime puts n frames on their way, to be echoed by both sides for ever.
func (r *rig) prime(frame []byte, n int) {
	for range n {
		if !r.peer.Deliver(virtiotest.NetHeader{}, frame) {
			r.Fatal("no room")
		}
	}
	frames := make([]device.Frame, n)
	if got := r.echo(frames); got != n {
		r.Fatalf("echoed %d of %d", got, n)
	}
	r.peer.Reflect()
	r.echo(frames)
}

// BenchmarkEcho is one frame through Recv and Send, in bursts; what the fake
// peer takes is part of it, and BenchmarkPeer's share is about the same.
func BenchmarkEcho(b *testing.B) {
	for _, burst := range []int{1, 8, 32} {
		b.Run(map[int]string{1: "lone", 8: "burst8", 32: "burst32"}[burst], func(b *testing.B) {
			r := setup{}.open(b)
			frames := make([]device.Frame, 32)
			r.prime(frameOf(80), burst)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%burst == 0 {
					r.peer.Reflect()
					if got := r.echo(frames); got != burst {
						b.Fatalf("echoed %d of %d", got, burst)
					}
				}
			}
		})
	}
}
