package virtionet

import (
	"bytes"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

// withConstants is a device that may read n bytes besides I/O pages.
func withConstants(t *testing.T, n int) (*rig, string) {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	r := setup{conf: Config{Constants: string(b)}}.open(t)
	r.m.Constants = b
	return r, string(b)
}

// tailed is a frame that begins with head on pages of the device.
func (r *rig) tailed(head string, off uint32, n int) device.Frame {
	r.Helper()
	b, err := r.dev.AllocChain(len(head))
	if err != nil {
		r.Fatal(err)
	}
	for p, left := b, head; p != nil; p = p.Next() {
		left = left[copy(p.Bytes(), left):]
	}
	b.SetTail(off, n)
	f := device.Frame{Buf: b}
	if len(head)+n > 1514 {
		f.Meta = device.Meta{State: device.ChecksumPartial, CsumStart: 34, CsumOffset: 16, GSO: device.GSOTCP4, HeaderLen: 54, SegmentSize: 1460}
	}
	return f
}

// TestTail: the device gets a frame's tail from the constants, in one submission; the
// pages come back, and have none when they are taken again.
func TestTail(t *testing.T) {
	r, text := withConstants(t, 1<<20)
	free, _ := r.pool.Free()
	for _, c := range []struct {
		head, off, n int
	}{{60, 0, 1}, {60, 0, 1000}, {60, 1<<20 - 1, 1}, {60, 4095, 4096}, {66, 12345, 61440}, {60, 1<<20 - 65000, 65000}, {9000, 7, 20000}, {14, 3, 8193}} {
		head := strings.Repeat("h", c.head)
		posts := r.peer.TX.Posts
		if n, err := r.dev.Send([]device.Frame{r.tailed(head, uint32(c.off), c.n)}); n != 1 || err != nil {
			t.Fatalf("%+v: Send = %d, %v", c, n, err)
		}
		if got := r.peer.TX.Posts - posts; got != 1 {
			t.Errorf("%+v: %d submissions", c, got)
		}
		_, frame, ok := r.peer.Take(nil)
		if want := head + text[c.off:][:c.n]; !ok || string(frame) != want {
			t.Errorf("%+v: a frame of %d bytes, want %d", c, len(frame), len(want))
		}
	}
	if s := r.dev.Stats(); s.TxBytes == 0 || s.TxMalformed != 0 {
		t.Errorf("%+v", s)
	}
	r.dev.reap()
	if now, _ := r.pool.Free(); now != free {
		t.Errorf("%d pages free of %d", now, free)
	}
	all := make([]*iopage.Buf, free)
	r.pool.GetBatch(all, 0)
	for _, b := range all {
		if b.Tailed() {
			t.Fatal("a page that was taken has a tail")
		}
		b.Release()
	}
}

// TestTailRefused: what is not in the constants is not named to the gate.
func TestTailRefused(t *testing.T) {
	r, _ := withConstants(t, 10000)
	none := setup{}.open(t)
	for _, c := range []struct {
		r   *rig
		off uint32
		n   int
	}{{r, 10000, 1}, {r, 9999, 2}, {r, 0, 10001}, {r, 1<<32 - 1, 1}, {r, 1<<32 - 1, 65535}, {r, 1 << 31, 1}, {none, 0, 1}} {
		f := c.r.tailed(strings.Repeat("h", 60), c.off, c.n)
		n, err := c.r.dev.Send([]device.Frame{f})
		if n != 0 || err == nil || !strings.Contains(err.Error(), "tail outside") {
			t.Errorf("%d bytes at %d: Send = %d, %v", c.n, c.off, n, err)
		}
		f.Buf.Release()
	}
	f := r.tailed(strings.Repeat("h", 1000), 0, 9000)
	f.Meta = device.Meta{}
	if n, err := r.dev.Send([]device.Frame{f}); n != 0 || err == nil || !strings.Contains(err.Error(), "MTU") {
		t.Errorf("larger than the MTU: Send = %d, %v", n, err)
	}
}

// TestTailBeside: frames with and without tails in one Send come out in their order.
func TestTailBeside(t *testing.T) {
	r, text := withConstants(t, 100000)
	frames := r.frames(5)
	for i := range frames {
		frames[i].Buf.Bytes()[0] = byte(i)
	}
	head := string(bytes.Repeat([]byte{9}, 60))
	frames[1], frames[3] = r.tailed(head, 0, 50000), r.tailed(head, 50000, 1000)
	if n, err := r.dev.Send(frames); n != 5 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for i := range frames {
		_, frame, ok := r.peer.Take(nil)
		want := 60
		switch i {
		case 1:
			want += 50000
		case 3:
			want += 1000
		}
		if !ok || len(frame) != want || want > 60 && string(frame) != head+text[(i-1)/2*50000:][:want-60] || want == 60 && frame[0] != byte(i) {
			t.Errorf("frame %d has %d bytes, want %d", i, len(frame), want)
		}
	}
}
