package virtionet

import (
	"errors"
	"strings"
	"testing"

	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
)

// expectGone receives once, and checks that the device is out of use for the
// reason named.
func (r *rig) expectGone(reason string) {
	r.Helper()
	var f [8]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrGone) {
		r.Fatalf("Recv = %d, %v, want ErrGone", n, err)
	}
	r.gone(reason)
}

func (r *rig) gone(reason string) {
	r.Helper()
	if err := r.dev.Cause(); err == nil || !strings.Contains(err.Error(), reason) {
		r.Errorf("Cause() = %v, want mention of %q", err, reason)
	}
	if s := r.dev.Stats(); s.BadCompletions != 1 {
		r.Errorf("%d bad completions counted", s.BadCompletions)
	}
	if _, err := r.dev.Send(nil); !errors.Is(err, device.ErrGone) {
		r.Errorf("Send to a device that is gone: %v", err)
	}
}

// complete is a used entry as the device likes it, for a receive buffer whose
// page starts with h.
func (r *rig) complete(h virtiotest.NetHeader, id, n uint32) {
	q := r.peer.RX
	if int(id) < q.Size {
		copy(q.Buffer(uint16(id)), h.Bytes())
	}
	q.PutUsed(q.UsedIndex(), id, n)
	q.SetUsed(q.UsedIndex() + 1)
}

func (r *rig) next() uint32 {
	r.Helper()
	head, ok := r.peer.RX.Next()
	if !ok {
		r.Fatal("no receive buffer")
	}
	return uint32(head)
}

var oneBuffer = virtiotest.NetHeader{N: 1}

func TestHostileBadID(t *testing.T) {
	for _, id := range []uint32{256, 257, 1 << 16, 1<<16 | 3, 1 << 31, 1<<32 - 1} {
		r := setup{}.open(t)
		r.complete(oneBuffer, id, 72)
		r.expectGone("not in flight")
	}
}

func TestHostileIDNotInFlight(t *testing.T) {
	r := setup{conf: Config{RxBuffers: 32}}.open(t)
	inRing := map[uint32]bool{}
	for range 32 {
		inRing[r.next()] = true
	}
	for id := range uint32(256) {
		if !inRing[id] {
			r.complete(oneBuffer, id, 72)
			r.expectGone("not in flight")
			return
		}
	}
	t.Fatal("all ids are in flight")
}

func TestHostileReplayedCompletion(t *testing.T) {
	r := setup{}.open(t)
	id := r.next()
	r.complete(oneBuffer, id, 72)
	r.complete(oneBuffer, id, 72)
	var f [8]device.Frame
	n, err := r.dev.Recv(f[:])
	if n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v, want the first of the two", n, err)
	}
	f[0].Buf.Release()
	r.expectGone("not in flight")
}

// The page of a replayed completion is in the hands of a caller: it must not be
// handed out a second time.
func TestHostileReplayWhileHeld(t *testing.T) {
	r := setup{}.open(t)
	id := r.next()
	r.complete(oneBuffer, id, 72)
	var f [1]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	r.complete(oneBuffer, id, 72)
	r.expectGone("not in flight")
	f[0].Buf.Release()
}

func TestHostileBadLength(t *testing.T) {
	for _, n := range []uint32{0, 1, 11, 4097, 1 << 16, 1<<16 | 64, 1 << 31, 1<<32 - 1} {
		r := setup{}.open(t)
		r.complete(oneBuffer, r.next(), n)
		r.expectGone("used length")
	}
}

func TestHostileRuntIsDropped(t *testing.T) {
	r := setup{}.open(t)
	for n := uint32(headerLen); n < headerLen+etherLen; n++ {
		r.complete(oneBuffer, r.next(), n)
	}
	r.expectDrop(etherLen)
}

// expectDrop checks that want frames are dropped as malformed and the device
// goes on.
func (r *rig) expectDrop(want uint64) {
	r.Helper()
	var f [8]device.Frame
	if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
		r.Fatalf("Recv = %d, %v, want ErrAgain", n, err)
	}
	if s := r.dev.Stats(); s.RxMalformed != want || s.RxFrames != 0 {
		r.Fatalf("%d frames dropped and %d received, want %d dropped", s.RxMalformed, s.RxFrames, want)
	}
	if !r.peer.Deliver(virtiotest.NetHeader{}, frameOf(60)) {
		r.Fatal("no room after a drop")
	}
	if n, err := r.dev.Recv(f[:]); n != 1 || err != nil {
		r.Fatalf("Recv after a drop = %d, %v", n, err)
	}
	f[0].Buf.Release()
}

func TestHostileUsedIndexJump(t *testing.T) {
	for _, jump := range []uint16{65, 256, 257, 1 << 15, 1<<16 - 1} {
		r := setup{conf: Config{RxBuffers: 64}}.open(t)
		r.peer.RX.SetUsed(jump)
		r.expectGone("jumped")
	}
}

func TestHostileUsedIndexBack(t *testing.T) {
	r := setup{}.open(t)
	for range 5 {
		r.complete(oneBuffer, r.next(), 72)
	}
	var f [8]device.Frame
	if n, _ := r.dev.Recv(f[:]); n != 5 {
		t.Fatalf("received %d of 5", n)
	}
	for _, f := range f[:5] {
		f.Buf.Release()
	}
	r.peer.RX.SetUsed(4)
	r.expectGone("jumped")
}

func TestHostileNumBuffers(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       uint16
		arrived int
	}{
		{"zero", 0, 1},
		{"zero of many", 0, 20},
		{"one more than arrived", 2, 1},
		{"more than arrived", 17, 16},
		{"more than a frame takes", 18, 40},
		{"huge", 65535, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := setup{}.open(t)
			for range c.arrived {
				r.complete(virtiotest.NetHeader{N: c.n}, r.next(), 4096)
			}
			r.expectGone("num_buffers")
		})
	}
}

func TestHostileFurtherBuffer(t *testing.T) {
	for _, n := range []uint32{0, 4097, 1<<32 - 1} {
		r := setup{}.open(t)
		r.complete(virtiotest.NetHeader{N: 2}, r.next(), 4096)
		r.complete(oneBuffer, r.next(), n)
		r.expectGone("further buffer")
	}
	r := setup{}.open(t)
	id := r.next()
	r.complete(virtiotest.NetHeader{N: 2}, id, 4096)
	r.complete(virtiotest.NetHeader{N: 2}, id, 4096)
	r.expectGone("not in flight")
}

// A frame of 17 pages holds more than 64 KiB: dropped, not handed out.
func TestHostileFrameTooLarge(t *testing.T) {
	r := setup{}.open(t)
	for range 17 {
		r.complete(virtiotest.NetHeader{N: 17}, r.next(), 4096)
	}
	r.expectDrop(1)
}

// The pages of a chain that was dropped come back as pages of their own.
func TestHostileDroppedChainIsTakenApart(t *testing.T) {
	r := setup{conf: Config{RxBuffers: 20, RxLow: 17}}.open(t)
	for range 17 {
		r.complete(virtiotest.NetHeader{N: 17}, r.next(), 4096)
	}
	r.expectDrop(1)
	var f [1]device.Frame
	for range 100 {
		if !r.peer.Deliver(virtiotest.NetHeader{}, frameOf(60)) {
			t.Fatal("no room")
		}
		if n, err := r.dev.Recv(f[:]); n != 1 || err != nil {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		if f[0].Buf.Next() != nil {
			t.Fatal("a page of the dropped chain follows a frame of one page")
		}
		f[0].Buf.Release()
	}
}

func TestHostileMetadata(t *testing.T) {
	gso := virtiotest.NetHeader{N: 1, Flags: 1, GSO: 1, CsumStart: 34, CsumOffset: 16, HeaderLen: 54, SegmentSize: 1000}
	change := func(f func(*virtiotest.NetHeader)) virtiotest.NetHeader {
		h := gso
		f(&h)
		return h
	}
	bad := map[string]virtiotest.NetHeader{
		"checksum start beyond the frame": {N: 1, Flags: 1, CsumStart: 60, CsumOffset: 0},
		"checksum field beyond the frame": {N: 1, Flags: 1, CsumStart: 34, CsumOffset: 25},
		"checksum sum overflows":          {N: 1, Flags: 1, CsumStart: 65535, CsumOffset: 65535},
		"checksum offset overflows":       {N: 1, Flags: 1, CsumStart: 34, CsumOffset: 65535},
		"checksum in the Ethernet header": {N: 1, Flags: 1, CsumStart: 0, CsumOffset: 6},
		"no segment size":                 change(func(h *virtiotest.NetHeader) { h.SegmentSize = 0 }),
		"headers beyond the frame":        change(func(h *virtiotest.NetHeader) { h.HeaderLen = 61 }),
		"UDP segments":                    change(func(h *virtiotest.NetHeader) { h.GSO = 3 }),
		"unknown segments":                change(func(h *virtiotest.NetHeader) { h.GSO = 0x7f }),
		"ECN, which was not negotiated":   change(func(h *virtiotest.NetHeader) { h.GSO = 0x81 }),
	}
	for name, h := range bad {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			r.complete(h, r.next(), headerLen+60)
			r.expectDrop(1)
		})
	}
	t.Run("offload not negotiated", func(t *testing.T) {
		for _, h := range []virtiotest.NetHeader{gso, {N: 1, Flags: 1, CsumStart: 34, CsumOffset: 16}, {N: 1, Flags: 2}} {
			r := setup{features: Features &^ FeatureGuestChecksum &^ FeatureGuestTSO4 &^ FeatureGuestTSO6}.open(t)
			r.complete(h, r.next(), headerLen+60)
			r.expectDrop(1)
		}
	})
}

// A device that is always ahead, and whose every frame is dropped and its
// buffer offered again, gets one ring of work per call and no more.
func TestHostileStorm(t *testing.T) {
	r := setup{conf: Config{RxBuffers: 64}}.open(t)
	q := r.peer.RX
	work := 0
	q.Kick = func() {
		for q.Pending() > 0 {
			r.complete(oneBuffer, r.next(), headerLen) // a runt
			work++
		}
		q.Rearm()
	}
	q.Kick()
	var f [8]device.Frame
	for call := range 50 {
		before := work
		if n, err := r.dev.Recv(f[:]); n != 0 || !errors.Is(err, device.ErrAgain) {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		if d := work - before; d > 64 {
			t.Fatalf("call %d made the device complete %d buffers", call, d)
		}
	}
	if s := r.dev.Stats(); s.RxMalformed != 50*64 {
		t.Errorf("%d frames dropped in 50 calls, want 64 each", s.RxMalformed)
	}
}

// Pages that a device had when it broke the protocol are not used again.
func TestGoneDeviceKeepsItsPages(t *testing.T) {
	r := setup{conf: Config{RxBuffers: 32}}.open(t)
	before, _ := r.pool.Free()
	r.peer.RX.SetUsed(1000)
	r.expectGone("jumped")
	if now, _ := r.pool.Free(); now != before {
		t.Errorf("%d pages free after the device went, %d before", now, before)
	}
	inRing := map[uint32]bool{}
	for r.peer.RX.Pending() > 0 {
		inRing[r.next()] = true
	}
	for {
		b, err := r.pool.Get()
		if err != nil {
			break
		}
		for id := range inRing {
			if &r.peer.RX.Buffer(uint16(id))[0] == &b.Page()[0] {
				t.Fatalf("page %d is still the device's", b.Index())
			}
		}
	}
}
