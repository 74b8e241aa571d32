package virtionet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
	"ampoule/libos/iopage"
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

// The transmit side takes at most one ring of completions per Send too.
func TestHostileTransmitStorm(t *testing.T) {
	r := setup{}.open(t)
	r.peer.TX.Kick = func() {
		for {
			if _, _, ok := r.peer.Take(nil); !ok {
				return
			}
		}
	}
	r.peer.TX.Rearm()
	for range 3000 {
		b, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		b.SetWindow(HeadRoom, 60)
		if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
	}
}

func TestHostileTransmitCompletions(t *testing.T) {
	for name, attack := range map[string]func(q *virtiotest.Queue, head uint16){
		"bad id":        func(q *virtiotest.Queue, _ uint16) { q.PutUsed(0, 999, 0); q.SetUsed(1) },
		"not in flight": func(q *virtiotest.Queue, h uint16) { q.PutUsed(0, uint32(h)+1, 0); q.SetUsed(1) },
		"replayed": func(q *virtiotest.Queue, h uint16) {
			q.PutUsed(0, uint32(h), 0)
			q.PutUsed(1, uint32(h), 0)
			q.SetUsed(2)
		},
		"middle of a chain": func(q *virtiotest.Queue, h uint16) { q.PutUsed(0, uint32(h)+1, 0); q.SetUsed(1) },
		"jumped":            func(q *virtiotest.Queue, _ uint16) { q.SetUsed(3) },
	} {
		t.Run(name, func(t *testing.T) {
			r := setup{}.open(t)
			for i := range 2 {
				head, _ := r.dev.Alloc()
				next, _ := r.dev.Alloc()
				head.SetWindow(HeadRoom, 60)
				next.SetWindow(0, 60)
				head.SetNext(next)
				if n, err := r.dev.Send([]device.Frame{{Buf: head}}); n != 1 || err != nil {
					t.Fatalf("Send %d = %d, %v", i, n, err)
				}
			}
			head, _ := r.peer.TX.Next()
			attack(r.peer.TX, head)
			// The next look at the ring is when pages run out.
			for {
				b, err := r.dev.Alloc()
				if err != nil {
					if !errors.Is(err, device.ErrGone) {
						t.Fatalf("Alloc: %v, want ErrGone", err)
					}
					break
				}
				_ = b
			}
			r.gone("virtio: queue")
		})
	}
}

// A transmit completion may state any length: nothing uses it.
func TestHostileTransmitLength(t *testing.T) {
	r := setup{}.open(t)
	for range 1000 {
		b, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		b.SetWindow(HeadRoom, 60)
		if n, err := r.dev.Send([]device.Frame{{Buf: b}}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		head, _ := r.peer.TX.Next()
		r.peer.TX.Complete(head, -1)
	}
}

// TestHostileDoubleFetchUsedEntry changes an entry of the used ring all the
// time while the driver looks at it: what was checked must be what is used.
func TestHostileDoubleFetchUsedEntry(t *testing.T) {
	var whole, refused int
	for range 300 {
		r := setup{pages: 64, queue: 32, conf: Config{RxBuffers: 17, RxLow: 17, TxReserve: 8}}.open(t)
		q := r.peer.RX
		id := r.next()
		copy(q.Buffer(uint16(id)), oneBuffer.Bytes())
		q.PutUsed(0, id, 72)
		q.SetUsed(1)
		var stop atomic.Bool
		started, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; !stop.Load(); i++ {
				if i == 1 {
					close(started)
				}
				q.PutUsed(0, 0xffff0000|id, 0xfffffff0)
				q.PutUsed(0, id, 72)
			}
		}()
		<-started
		var f [4]device.Frame
		n, err := r.dev.Recv(f[:])
		stop.Store(true)
		<-done
		switch {
		case n == 1 && err == nil:
			whole++
			if got := f[0].Buf.Len(); got != 60 {
				t.Fatalf("a frame of %d bytes: the length was not the one checked", got)
			}
			f[0].Buf.Release()
		case n == 0 && errors.Is(err, device.ErrGone):
			refused++
		default:
			t.Fatalf("Recv = %d, %v", n, err)
		}
	}
	t.Logf("%d frames, %d refused", whole, refused)
}

// TestHostileDoubleFetchHeader does the same with num_buffers and the checksum
// fields in the page.
func TestHostileDoubleFetchHeader(t *testing.T) {
	for range 300 {
		r := setup{pages: 64, queue: 32, conf: Config{RxBuffers: 17, RxLow: 17, TxReserve: 8}}.open(t)
		q := r.peer.RX
		good := virtiotest.NetHeader{N: 1, Flags: 1, CsumStart: 34, CsumOffset: 6}
		bad := virtiotest.NetHeader{N: 65535, Flags: 1, CsumStart: 60000, CsumOffset: 60000}
		id := r.next()
		page := q.Buffer(uint16(id))
		good.Store(page)
		q.PutUsed(0, id, 72)
		q.SetUsed(1)
		var stop atomic.Bool
		started, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; !stop.Load(); i++ {
				if i == 1 {
					close(started)
				}
				bad.Store(page)
				good.Store(page)
			}
		}()
		<-started
		var f [4]device.Frame
		n, err := r.dev.Recv(f[:])
		stop.Store(true)
		<-done
		switch {
		case n == 1 && err == nil:
			if m := f[0].Meta; m.CsumStart != 34 || m.CsumOffset != 6 || f[0].Buf.Next() != nil {
				t.Fatalf("metadata %+v was not what was checked", m)
			}
		case n == 0 && (errors.Is(err, device.ErrGone) || errors.Is(err, device.ErrAgain)):
		default:
			t.Fatalf("Recv = %d, %v", n, err)
		}
	}
}

// TestTransmitShowsOnlyWhatWasWritten fills all pages with a pattern as old
// content: no byte of it may be within a transmit descriptor.
func TestTransmitShowsOnlyWhatWasWritten(t *testing.T) {
	r := setup{}.open(t)
	for i := range r.m.IO {
		r.m.IO[i] = 0xdd
	}
	for size := 14; size < 1514; size += 7 {
		head, err := r.dev.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		head.SetWindow(HeadRoom+size%5, size)
		for i := range head.Bytes() {
			head.Bytes()[i] = 1
		}
		next, _ := r.dev.Alloc()
		next.SetWindow(size, 9)
		copy(next.Bytes(), "\x01\x01\x01\x01\x01\x01\x01\x01\x01")
		if size%2 == 0 && size+9 <= 1514 {
			head.SetNext(next)
		} else {
			next.Release()
		}
		f := device.Frame{Buf: head}
		if size >= 60 && size%3 == 0 {
			f.Meta = device.Meta{State: device.ChecksumPartial, CsumStart: 34, CsumOffset: 6}
		}
		if n, err := r.dev.Send([]device.Frame{f}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		at, ok := r.peer.TX.Next()
		if !ok {
			t.Fatal("nothing sent")
		}
		r.peer.TX.Buffers(at, func(p []byte, _ bool) bool {
			if bytes.IndexByte(p, 0xdd) >= 0 {
				t.Fatalf("size %d: old content of a page goes out", size)
			}
			return true
		})
		r.peer.TX.Complete(at, 0)
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

// FuzzDevice plays the device by what the input says: completions that are right
// or wrong in any way, metadata, stalls. Whatever happens, the driver neither
// panics nor violates the gate, and hands out only windows within pages.
func FuzzDevice(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		p := make([]byte, 400)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		f.Add(uint16(rng.Uint32()), p)
	}
	f.Add(uint16(0), []byte{0, 0, 60, 0, 1, 2, 1, 0, 2, 0, 3, 0})
	f.Add(uint16(1), bytes.Repeat([]byte{0, 1, 72, 0}, 40))
	f.Fuzz(func(t *testing.T, kind uint16, script []byte) {
		s := setup{pages: 96, queue: 64, conf: Config{RxBuffers: 24, RxLow: 17, TxReserve: 16}}
		if kind&1 != 0 {
			s.features = Accept(Features &^ FeatureMergeable)
		}
		if kind&2 != 0 {
			s.features = Accept(Features &^ virtio.FeatureEventIndex)
		}
		z := &fuzzer{rig: s.open(t), script: script}
		for len(z.script) > 0 {
			z.step()
		}
		for _, b := range z.held {
			b.Release()
		}
	})
}

type fuzzer struct {
	*rig
	script []byte
	held   []*iopage.Buf
}

func (z *fuzzer) byte() (b byte) {
	if len(z.script) > 0 {
		b, z.script = z.script[0], z.script[1:]
	}
	return b
}

func (z *fuzzer) u16() uint16 { return uint16(z.byte()) | uint16(z.byte())<<8 }

func (z *fuzzer) step() {
	rx, tx := z.peer.RX, z.peer.TX
	switch op := z.byte(); op % 12 {
	case 0, 1, 2: // a frame as it should be, with metadata as it likes
		h := virtiotest.NetHeader{Flags: op >> 6, GSO: op >> 4 & 3}
		if op&8 != 0 {
			h.HeaderLen, h.SegmentSize, h.CsumStart, h.CsumOffset = z.u16(), z.u16(), z.u16(), z.u16()
		}
		z.peer.Deliver(h, make([]byte, z.u16()%9000))
	case 3: // any header, id and length
		if id, ok := rx.Next(); ok {
			p := rx.Buffer(id)
			for i := range headerLen {
				p[i] = z.byte()
			}
			n := uint32(z.u16()) % 4200
			if op > 200 {
				id, n = id^uint16(z.byte()), n<<16
			}
			z.complete(virtiotest.ParseHeader(p), uint32(id), n)
		}
	case 4:
		rx.SetUsed(rx.UsedIndex() + z.u16()%3)
	case 5:
		rx.SetAvailEvent(z.u16())
		tx.SetAvailEvent(z.u16())
	case 6: // transmit completions in any order, with any length
		if id, ok := tx.Next(); ok {
			tx.Complete(id^uint16(op>>7), int(z.byte()))
		}
	case 7:
		z.peer.Take(nil)
	default:
		z.drive(op)
	}
}

// drive is the operating system's part.
func (z *fuzzer) drive(op byte) {
	var f [5]device.Frame
	n, _ := z.dev.Recv(f[:1+op%5])
	for _, f := range f[:n] {
		total := 0
		for b := f.Buf; b != nil; b = b.Next() {
			total += len(b.Bytes())
		}
		if total < etherLen || total > maxFrame || f.Buf.HeadRoom() < HeadRoom {
			z.Fatalf("a frame of %d bytes, head room %d", total, f.Buf.HeadRoom())
		}
		if f.State == device.ChecksumPartial && int(f.CsumStart)+int(f.CsumOffset)+2 > total {
			z.Fatalf("checksum field outside the frame: %+v of %d", f.Meta, total)
		}
		switch op >> 6 {
		case 0:
			z.held = append(z.held, f.Buf)
		case 1:
			f.Buf.Release()
		default:
			if k, _ := z.dev.Send([]device.Frame{f}); k == 0 {
				f.Buf.Release()
			}
		}
	}
	if b, err := z.dev.Alloc(); err == nil {
		b.SetWindow(HeadRoom, int(binary.LittleEndian.Uint16([]byte{op, 1})))
		if k, _ := z.dev.Send([]device.Frame{{Buf: b}}); k == 0 {
			b.Release()
		}
	}
	if op > 240 {
		for _, b := range z.held {
			b.Release()
		}
		z.held = z.held[:0]
	}
}
