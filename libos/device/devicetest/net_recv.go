package devicetest

import (
	"bytes"
	"errors"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

func (t *netTest) recvContent() {
	for i, size := range t.sizes() {
		want := t.frame(i, size)
		t.deliver(want, device.Meta{})
		f := t.recv()
		if got := content(f.Buf); !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the wire, %d received, or changed", size, len(got))
		}
		if f.Meta != (device.Meta{}) {
			t.Errorf("metadata %+v from nowhere", f.Meta)
		}
		if room := f.Buf.HeadRoom(); room < t.Dev.Info().HeadRoom {
			t.Errorf("head room %d of a received frame, want %d", room, t.Dev.Info().HeadRoom)
		}
		f.Buf.Release()
	}
}

func (t *netTest) recvOrder() {
	sent, got := 0, 0
	for round := range 400 {
		for range 1 + round%7 {
			t.deliver(t.frame(sent, 60+sent%50), device.Meta{})
			sent++
		}
		frames := make([]device.Frame, 1+round%3)
		for {
			n, err := t.Dev.Recv(frames)
			if errors.Is(err, device.ErrAgain) && n == 0 {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("Recv = %d, %v", n, err)
			}
			for _, f := range frames[:n] {
				if !bytes.Equal(content(f.Buf), t.frame(got, 60+got%50)) {
					t.Fatalf("frame %d is not the one delivered in its place", got)
				}
				got++
				f.Buf.Release()
			}
		}
		if got != sent {
			t.Fatalf("round %d: %d frames delivered, %d received", round, sent, got)
		}
	}
}

func (t *netTest) recvEmpty() {
	frames := make([]device.Frame, 4)
	for range 3 {
		if n, err := t.Dev.Recv(frames); n != 0 || !errors.Is(err, device.ErrAgain) {
			t.Fatalf("Recv with nothing on the wire = %d, %v", n, err)
		}
		if t.Dev.Ready().Ready() {
			t.Fatal("ready with nothing on the wire")
		}
	}
	t.deliver(t.frame(1, 60), device.Meta{})
	t.deliver(t.frame(2, 60), device.Meta{})
	if n, err := t.Dev.Recv(frames[:1]); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	if !t.Dev.Ready().Ready() {
		t.Fatal("not ready with a frame left")
	}
	frames[0].Buf.Release()
	t.recv().Buf.Release()
	if t.Dev.Ready().Ready() {
		t.Fatal("ready with all frames taken")
	}
}

func (t *netTest) recvLarge() {
	if t.Dev.Info().Offload&device.LRO4 == 0 {
		t.Skip("SKIPPED: the device has no large receive")
	}
	for i, size := range []int{4000, 4083, 4084, 4085, 8192, 20000, 65535 + 14} {
		want := t.packet(i, tcp, false, size)
		m := large(false)
		t.deliver(want, m)
		f := t.recv()
		if got := content(f.Buf); !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the wire, %d received, or changed", size, len(got))
		}
		if f.Meta != m {
			t.Errorf("metadata %+v, want %+v", f.Meta, m)
		}
		f.Buf.Release()
	}
}

func (t *netTest) recvMeta() {
	if t.Dev.Info().Offload&device.RxChecksum == 0 {
		t.Skip("SKIPPED: the device has no receive checksum offload")
	}
	for _, c := range []struct {
		frame []byte
		m     device.Meta
		marks bool
	}{
		{t.frame(0, 120), device.Meta{State: device.ChecksumOK}, false},
		{t.packet(1, tcp, false, 120), device.Meta{State: device.ChecksumOK}, false},
		{t.packet(2, tcp, false, 120), partial(tcp, false), false},
		{t.packet(3, udp, false, 120), partial(udp, false), false},
		{t.packet(4, tcp, true, 120), partial(tcp, true), false},
		{t.packet(5, udp, true, 62), partial(udp, true), false},
		{t.frame(6, 120), device.Meta{State: device.ChecksumPartial, CsumStart: 54, CsumOffset: 64}, true},
		{t.packet(7, tcp, false, 120), device.Meta{}, false},
	} {
		if c.marks && !t.Marks {
			continue
		}
		t.deliver(c.frame, c.m)
		f := t.recv()
		if f.Meta != c.m {
			t.Errorf("metadata %+v, want %+v", f.Meta, c.m)
		}
		if got := content(f.Buf); !bytes.Equal(got, c.frame) {
			t.Errorf("%d bytes on the wire, %d received, or changed", len(c.frame), len(got))
		}
		f.Buf.Release()
	}
}

func (t *netTest) readyWakes() {
	for i := range 3 {
		t.waits(t.Dev.Ready(), func() { t.deliver(t.frame(i, 60), device.Meta{}) })
		t.recv().Buf.Release()
	}
}

// heldFrames: whoever keeps all received frames can still send.
func (t *netTest) heldFrames() {
	held, before := t.flood(4 * t.Pool.Len())
	if len(held) == 0 {
		t.Fatal("nothing received")
	}
	if before == 0 {
		t.Fatal("received frames took all pages from sending")
	}
	want := t.frame(7, 100)
	t.send(device.Frame{Buf: t.buf(want)})
	t.took(want)
	for _, b := range held {
		b.Release()
	}
	t.settle()
}

// flood delivers and keeps up to n frames, and says how many pages are left.
func (t *netTest) flood(n int) (held []*iopage.Buf, left int) {
	var f [4]device.Frame
	for i := range n {
		t.Peer.Deliver(t.frame(i, 60), device.Meta{})
		k, err := t.Dev.Recv(f[:])
		if err != nil && !errors.Is(err, device.ErrAgain) {
			t.Fatalf("Recv: %v", err)
		}
		for _, f := range f[:k] {
			held = append(held, f.Buf)
		}
	}
	return held, t.drain()
}

// settle checks that frames are received again, once pages are there: the
// first ones may still be dropped.
func (t *netTest) settle() {
	t.Helper()
	var f [1]device.Frame
	for i := range 2 * t.Pool.Len() {
		want := t.frame(i, 80)
		t.Peer.Deliver(want, device.Meta{})
		if n, _ := t.Dev.Recv(f[:]); n == 1 {
			if !bytes.Equal(content(f[0].Buf), want) {
				t.Fatal("an old frame came late, or changed")
			}
			f[0].Buf.Release()
			return
		}
	}
	t.Fatal("nothing is received any more")
}

// heldPages: when all pages are taken, frames are lost but the device lives.
func (t *netTest) heldPages() {
	var pages []*iopage.Buf
	for {
		b, err := t.Pool.Get()
		if err != nil {
			break
		}
		pages = append(pages, b)
	}
	frames, _ := t.flood(3 * t.Pool.Len())
	for _, b := range append(pages, frames...) {
		b.Release()
	}
	t.settle()
	t.settle()
}
