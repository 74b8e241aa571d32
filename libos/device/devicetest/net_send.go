package devicetest

import (
	"errors"

	"ampoule/libos/device"
	"ampoule/libos/iopage"
)

func (t *netTest) sendContent() {
	for i, size := range t.sizes() {
		want := t.frame(i, size)
		t.send(device.Frame{Buf: t.buf(want)})
		if m := t.took(want); m != (device.Meta{}) {
			t.Errorf("metadata %+v from nowhere", m)
		}
	}
	t.quiet()
}

// sendChain sends frames cut in pieces at odd places.
func (t *netTest) sendChain() {
	for i, cut := range [][]int{{1, 13, 46}, {14, 20, 8, 100}, {54, 1}, {60}, {14, 1000, 400}} {
		n := 0
		for _, c := range cut {
			n += c
		}
		want := t.frame(i, n)
		left := want
		var head, tail *iopage.Buf
		for j, c := range cut {
			b, err := t.Dev.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			b.SetWindow(b.HeadRoom()+j, c)
			copy(b.Bytes(), left)
			left = left[c:]
			if head == nil {
				head = b
			} else {
				tail.SetNext(b)
			}
			tail = b
		}
		t.send(device.Frame{Buf: head})
		t.took(want)
	}
	t.sendWhole()
	t.quiet()
}

// sendWhole sends frames on pages that were given at once, and looks at the windows of
// larger ones, and of more than there are.
func (t *netTest) sendWhole() {
	c, ok := t.Dev.(device.Chainer)
	if !ok {
		return
	}
	room := t.Dev.Info().HeadRoom
	for i, n := range []int{60, 1514, 1, iopage.Size - room, iopage.Size - room + 1, 3 * iopage.Size, 65000} {
		b, err := c.AllocChain(n)
		if err != nil {
			t.Fatal(err)
		}
		if b.HeadRoom() != room || b.Len() != min(n, iopage.Size-room) {
			t.Errorf("%d bytes: window of %d at %d", n, b.Len(), b.HeadRoom())
		}
		if n == 60 || n == 1514 {
			want := t.frame(i, n)
			copy(b.Bytes(), want)
			t.send(device.Frame{Buf: b})
			t.took(want)
			continue
		}
		total, pages := 0, 0
		for p := b; p != nil; p = p.Next() {
			if p != b && p.HeadRoom() != 0 {
				t.Errorf("%d bytes: page %d at %d", n, pages, p.HeadRoom())
			}
			total += p.Len()
			pages++
		}
		if total != n || pages != (room+n+iopage.Size-1)/iopage.Size {
			t.Errorf("%d bytes: %d on %d pages", n, total, pages)
		}
		b.Release()
	}
	if _, err := c.AllocChain(1 << 30); !errors.Is(err, device.ErrAgain) {
		t.Errorf("more than there is: %v", err)
	}
}

func (t *netTest) sendOrder() {
	sent, seen := 0, 0
	for round := range 300 {
		var frames []device.Frame
		for range 1 + round%9 {
			frames = append(frames, device.Frame{Buf: t.buf(t.frame(sent, 60+sent%40))})
			sent++
		}
		if n, err := t.Dev.Send(frames); n != len(frames) || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		for seen < sent {
			t.took(t.frame(seen, 60+seen%40))
			seen++
		}
	}
	if n, err := t.Dev.Send(nil); n != 0 || err != nil {
		t.Errorf("Send of nothing = %d, %v", n, err)
	}
	t.quiet()
}

func (t *netTest) sendMeta() {
	has := t.Dev.Info().Offload
	for _, c := range []struct {
		name  string
		need  device.Feature
		m     device.Meta
		frame []byte
		marks bool
	}{
		{"TCP checksum", device.TxChecksum, partial(tcp, false), t.packet(1, tcp, false, 100), false},
		{"UDP checksum", device.TxChecksum, partial(udp, false), t.packet(2, udp, false, 42), false},
		{"TCP checksum, IPv6", device.TxChecksum, partial(tcp, true), t.packet(3, tcp, true, 100), false},
		{"UDP checksum, IPv6", device.TxChecksum, partial(udp, true), t.packet(4, udp, true, 62), false},
		{"checksum at the end", device.TxChecksum, device.Meta{State: device.ChecksumPartial, CsumStart: 34, CsumOffset: 24}, t.frame(5, 60), true},
		{"TSO4", device.TSO4, large(false), t.packet(6, tcp, false, 20000), false},
		{"TSO6", device.TSO6, large(true), t.packet(7, tcp, true, 65535), false},
		{"TSO6 of the largest packet", device.TSO6, large(true), t.packet(8, tcp, true, 65535+14), true},
	} {
		if c.marks && !t.Marks {
			continue
		}
		f := device.Frame{Buf: t.buf(c.frame), Meta: c.m}
		if has&c.need == 0 {
			t.refused(c.name+" without the offload", f)
			continue
		}
		t.send(f)
		if m := t.took(c.frame); m != c.m {
			t.Errorf("%s: metadata %+v, want %+v", c.name, m, c.m)
		}
	}
	want := t.frame(2, 60)
	t.send(device.Frame{Buf: t.buf(want), Meta: device.Meta{State: device.ChecksumOK}})
	if m := t.took(want); m.State != device.ChecksumNone || m.GSO != device.GSONone {
		t.Errorf("a verified checksum became %+v", m)
	}
}

// refused checks that a frame is refused, stays the caller's, and does not stop
// those before it.
func (t *netTest) refused(what string, bad device.Frame) {
	t.Helper()
	want := t.frame(3, 70)
	good := device.Frame{Buf: t.buf(want)}
	n, err := t.Dev.Send([]device.Frame{good, bad})
	if n != 1 || err == nil || errors.Is(err, device.ErrAgain) || errors.Is(err, device.ErrGone) {
		t.Errorf("%s: Send = %d, %v", what, n, err)
	}
	t.took(want)
	t.quiet()
	if bad.Buf != nil {
		bad.Buf.Release()
	}
}

func (t *netTest) sendMalformed() {
	mtu := t.Dev.Info().MTU
	t.refused("no page", device.Frame{})
	t.refused("short frame", device.Frame{Buf: t.buf(t.frame(0, 14)[:13])})
	t.refused("beyond the MTU", device.Frame{Buf: t.buf(t.frame(0, mtu+14+5))})
	if room := t.Dev.Info().HeadRoom; room > 0 {
		f := device.Frame{Buf: t.buf(t.frame(0, 60))}
		f.Buf.SetWindow(room-1, 60)
		t.refused("no head room", f)
	}
	empty := device.Frame{Buf: t.buf(t.frame(0, 60))}
	next, err := t.Dev.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	empty.Buf.SetNext(next)
	t.refused("empty page", empty)

	circle := t.buf(t.frame(0, 60))
	circle.SetNext(circle)
	f := device.Frame{Buf: circle}
	n, err := t.Dev.Send([]device.Frame{f})
	if n != 0 || err == nil {
		t.Errorf("circle: Send = %d, %v", n, err)
	}
	circle.SetNext(nil)
	circle.Release()

	for what, m := range map[string]device.Meta{
		"checksum beyond the frame":    {State: device.ChecksumPartial, CsumStart: 50, CsumOffset: 10},
		"checksum start beyond":        {State: device.ChecksumPartial, CsumStart: 65535, CsumOffset: 65535},
		"checksum in the header":       {State: device.ChecksumPartial, CsumStart: 0, CsumOffset: 6},
		"segments without checksum":    {GSO: device.GSOTCP4, HeaderLen: 54, SegmentSize: 1000},
		"segments of no size":          {State: device.ChecksumPartial, GSO: device.GSOTCP4, CsumStart: 34, CsumOffset: 16, HeaderLen: 54},
		"headers longer than the rest": {State: device.ChecksumPartial, GSO: device.GSOTCP4, CsumStart: 34, CsumOffset: 16, HeaderLen: 61, SegmentSize: 1000},
		"unknown segmentation":         {State: device.ChecksumPartial, GSO: 99, CsumStart: 34, CsumOffset: 16, HeaderLen: 54, SegmentSize: 1000},
	} {
		t.refused(what, device.Frame{Buf: t.buf(t.frame(0, 60)), Meta: m})
	}
}

// sendBackPressure sends until the device takes no more, then checks that every
// frame arrives once and in order.
func (t *netTest) sendBackPressure() {
	tx, _ := t.Dev.(device.TxReady)
	sent, seen := 0, 0
	for range 3 {
		full := t.fill(&sent)
		if tx != nil {
			t.waits(tx.TxReady(), func() {
				t.took(t.frame(seen, 64))
				seen++
			})
		}
		if full < 2 {
			t.Fatalf("the device took %d frames", full)
		}
		for seen < sent {
			t.took(t.frame(seen, 64))
			seen++
		}
		t.quiet()
	}
}

// fill sends until ErrAgain, from Send or from Alloc, and says how many frames
// that took.
func (t *netTest) fill(sent *int) (n int) {
	t.Helper()
	for n < 4*t.Pool.Len() {
		var frames [3]device.Frame
		for i := range frames {
			b, err := t.Dev.Alloc()
			if err != nil {
				for _, f := range frames[:i] {
					f.Buf.Release()
				}
				if !errors.Is(err, device.ErrAgain) {
					t.Fatalf("Alloc: %v", err)
				}
				return n
			}
			b.SetWindow(b.HeadRoom(), 64)
			copy(b.Bytes(), t.frame(*sent+i, 64))
			frames[i].Buf = b
		}
		k, err := t.Dev.Send(frames[:])
		n += k
		*sent += k
		for _, f := range frames[k:] {
			f.Buf.Release()
		}
		if errors.Is(err, device.ErrAgain) && k < len(frames) {
			return n
		}
		if err != nil || k != len(frames) {
			t.Fatalf("Send = %d, %v", k, err)
		}
	}
	t.Fatal("the device takes frames without end")
	return n
}

// sendReceived answers in the received page, as the fast path does.
func (t *netTest) sendReceived() {
	for i := range 500 {
		want := t.frame(i, 60+i%1000)
		t.deliver(want, device.Meta{})
		f := t.recv()
		p := f.Buf.Bytes()
		p[20], want[20] = 0xaa, 0xaa
		t.send(f)
		t.took(want)
	}
	if t.Dev.Info().Offload&device.LRO4 == 0 {
		return
	}
	want, m := t.packet(9, tcp, false, 9000), large(false)
	t.deliver(want, m)
	f := t.recv()
	if t.Dev.Info().Offload&device.TSO4 == 0 {
		t.refused("large frame without the offload", f)
		return
	}
	t.send(f)
	if got := t.took(want); got != m {
		t.Errorf("metadata %+v, want %+v", got, m)
	}
}
