package netfront

import (
	"testing"

	"ampoule/libos/device"
)

// TestBatching: a burst costs one notification at most, and none while the
// backend is at work.
func TestBatching(t *testing.T) {
	r := bare(t, 256)
	r.restart(t)
	tx, rx := r.dev.wire.txPort, r.dev.wire.rxPort
	kicks := func() int { return r.d.Notifies(tx) + r.d.Notifies(rx) }
	f := packet(false, protoUDP, nil, 60)
	burst := func() (frames []device.Frame) {
		for range 16 {
			frames = append(frames, device.Frame{Buf: r.chain(f)})
		}
		return frames
	}
	r.back.TX.Rearm()
	before := kicks()
	if n, err := r.dev.Send(burst()); n != 16 || err != nil || kicks() != before+1 {
		t.Errorf("a burst to an idle backend: %d, %v, %d notifications", n, err, kicks()-before)
	}
	before = kicks()
	if n, err := r.dev.Send(burst()); n != 16 || err != nil || kicks() != before {
		t.Errorf("a burst to a busy backend: %d, %v, %d notifications", n, err, kicks()-before)
	}
	for range 32 {
		if _, _, ok := r.back.Take(); !ok {
			t.Fatal("a frame was not sent")
		}
	}
	if r.back.TX.Events > 1 {
		t.Errorf("%d events for frames that were sent", r.back.TX.Events)
	}
	r.back.RX.Quiet()
	frames := make([]device.Frame, 32)
	before = kicks()
	for range 200 {
		for range 32 {
			r.back.Deliver(f, device.Meta{})
		}
		n, err := r.dev.Recv(frames)
		if n != 32 || err != nil {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		for _, f := range frames {
			f.Buf.Release()
		}
	}
	if kicks() != before {
		t.Errorf("%d notifications of a backend that has pages enough", kicks()-before)
	}
}

// echo receives a burst and sends it back, and answers how many frames there
// were.
func echo(tb testing.TB, r *rig, frames []device.Frame) int {
	n, err := r.dev.Recv(frames)
	if err != nil {
		tb.Fatal(err)
	}
	if m, err := r.dev.Send(frames[:n]); m != n || err != nil {
		tb.Fatalf("Send = %d of %d, %v", m, n, err)
	}
	return n
}

// TestNoAllocation: frames cost no memory.
func TestNoAllocation(t *testing.T) {
	r := bare(t, 256)
	r.restart(t)
	frames := make([]device.Frame, 32)
	f := packet(false, protoUDP, nil, 300)
	large := packet(false, protoTCP, nil, 40000)
	round := func() {
		for range 8 {
			r.back.Deliver(f, partial(34, 6))
		}
		r.back.Deliver(large, gso(device.GSOTCP4, 34))
		if n := echo(t, r, frames); n != 9 {
			t.Fatalf("%d frames", n)
		}
		for {
			if _, _, ok := r.back.Take(); !ok {
				break
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}

// BenchmarkEcho receives frames and sends them back, by number in a burst. The
// fake backend, which copies each frame twice, is part of the time.
func BenchmarkEcho(b *testing.B) {
	for _, c := range []struct {
		name  string
		burst int
		size  int
		m     device.Meta
	}{
		{"64/1", 1, 64, device.Meta{}},
		{"64/32", 32, 64, device.Meta{}},
		{"1514/32", 32, 1514, partial(34, 16)},
		{"TSO 40000/1", 1, 40000, gso(device.GSOTCP4, 34)},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := bare(b, 256)
			r.restart(b)
			frames := make([]device.Frame, 32)
			f := packet(false, protoTCP, nil, c.size)
			before := r.dev.Stats()
			b.ReportAllocs()
			b.SetBytes(int64(c.size))
			for n := 0; n < b.N; {
				for range c.burst {
					r.back.Deliver(f, c.m)
				}
				n += echo(b, r, frames)
				for {
					if _, _, ok := r.back.Take(); !ok {
						break
					}
				}
			}
			s := r.dev.Stats()
			b.ReportMetric(float64(s.TxKicks+s.RxKicks-before.TxKicks-before.RxKicks)/float64(s.RxFrames), "kicks/frame")
		})
	}
}

// BenchmarkDriver is the driver alone: requests are answered and pages filled by
// the least that a backend can do.
func BenchmarkDriver(b *testing.B) {
	r := bare(b, 256)
	r.restart(b)
	frames := make([]device.Frame, 32)
	b.ReportAllocs()
	for n := 0; n < b.N; n += 32 {
		for range 32 {
			r.back.RX.Skip(1)
			r.back.RX.Respond(uint64(r.back.RX.RspProd()&255) | 60<<48)
		}
		r.back.RX.Publish()
		echo(b, r, frames)
		for i := range 32 {
			// The stack of ids gives the same ones each time.
			r.back.TX.Respond(uint64(r.dev.tx.free[r.dev.tx.nFree+i]))
		}
		r.back.TX.Skip(32)
		r.back.TX.Publish()
		r.dev.tx.mu.Lock()
		if !r.dev.reap() {
			b.Fatal(r.dev.Cause())
		}
		r.dev.tx.mu.Unlock()
	}
}
