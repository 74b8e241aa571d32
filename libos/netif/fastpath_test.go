package netif

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// udpEcho is a fast path that echoes datagrams to port 7 and drops those to
// port 9.
type udpEcho struct{ frames atomic.Int64 }

func (e *udpEcho) Frame(f *device.Frame) Verdict {
	b := f.Buf.Bytes()
	if len(b) < 42 || b[12] != 8 || b[13] != 0 || b[14] != 0x45 || b[23] != protoUDP {
		return Pass
	}
	switch {
	case b[36] == 0 && b[37] == 9:
		return Drop
	case b[36] != 0 || b[37] != 7:
		return Pass
	}
	e.frames.Add(1)
	swap(b[0:6], b[6:12])
	swap(b[26:30], b[30:34])
	swap(b[34:36], b[36:38])
	f.Meta = device.Meta{}
	return Reply
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

func TestFastPath(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	c, err := a.DialContext(context.Background(), "udp", addrB4+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fast := new(udpEcho)
	b.SetFastPath(fast)
	exchange(t, c, []byte("ping"))
	if fast.frames.Load() == 0 || b.Stats().FastReplied == 0 {
		t.Error("the answer did not come from the fast path")
	}
	d, err := a.DialContext(context.Background(), "udp", addrB4+":9")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Write([]byte("lost"))
	eventually(t, "a frame is dropped", func() bool { return b.Stats().FastDropped == 1 })
	srv, err := b.ListenPacket("udp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	go echoPackets(srv)
	e, err := a.DialContext(context.Background(), "udp", addrB4+":8")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	exchange(t, e, []byte("passed"))
	b.SetFastPath(nil)
	n := fast.frames.Load()
	c.Write([]byte("ping"))
	eventually(t, "the stack refuses", func() bool { return b.gv.Stats().ICMP.V4.PacketsSent.DstUnreachable.Value() > 0 })
	if fast.frames.Load() != n {
		t.Error("the fast path was asked after it was taken away")
	}
}

// burstEcho is a fast path that notes frames which came before their burst.
type burstEcho struct {
	udpEcho
	begun  bool
	early  atomic.Int64
	bursts atomic.Int64
}

func (e *burstEcho) Burst() func() {
	return func() {
		e.begun = true
		e.bursts.Add(1)
	}
}

func (e *burstEcho) Frame(f *device.Frame) Verdict {
	if !e.begun {
		e.early.Add(1)
	}
	return e.udpEcho.Frame(f)
}

// TestBurster is told of each burst ahead of its frames, until it is taken away.
func TestBurster(t *testing.T) {
	a, b := pair(t, netiftest.Options{}, netiftest.Options{})
	c, err := a.DialContext(context.Background(), "udp", addrB4+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fast := new(burstEcho)
	b.SetFastPath(fast)
	for range 3 {
		before := fast.bursts.Load()
		exchange(t, c, []byte("ping"))
		if fast.bursts.Load() == before {
			t.Error("a burst that was not told")
		}
	}
	if fast.early.Load() != 0 {
		t.Errorf("%d frames before their burst", fast.early.Load())
	}
	b.SetFastPath(new(udpEcho))
	before := fast.bursts.Load()
	exchange(t, c, []byte("ping"))
	if fast.bursts.Load() > before+1 { // one may have been under way
		t.Error("told of bursts that are another's")
	}
}

// badReply answers every other frame with one that the device refuses.
type badReply struct{ n int }

func (r *badReply) Frame(f *device.Frame) Verdict {
	if r.n++; r.n%2 == 1 {
		f.Buf.SetWindow(f.Buf.HeadRoom(), 3)
	}
	return Reply
}

// TestBadReply loses only the frames that are malformed.
func TestBadReply(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	l := newLink(dev, false, &Limits{})
	l.fast.Store(ptr[FastPath](&badReply{}))
	frames := make([]device.Frame, 10)
	for i := range frames {
		buf, _ := dev.Alloc()
		buf.SetWindow(buf.HeadRoom(), 60)
		frames[i] = device.Frame{Buf: buf}
	}
	l.burst(received(frames))
	if got := l.count.fastReplied.Load(); got != 5 {
		t.Errorf("%d of 5 well-formed replies sent", got)
	}
	if now, _ := dev.Pool().Free(); now != dev.Pool().Len() {
		t.Errorf("%d pages lost", dev.Pool().Len()-now)
	}
}

func ptr[T any](v T) *T { return &v }

// loopNet gives the same frames again and again and takes what is sent.
type loopNet struct {
	*netiftest.Device
	sent int
}

func (n *loopNet) Send(f []device.Frame) (int, error) {
	n.sent += len(f)
	for i := range f {
		f[i].Buf.Release()
	}
	return len(f), nil
}

// burstOf fills frames with datagrams to port.
func (n *loopNet) burstOf(frames []device.Frame, datagram []byte) {
	for i := range frames {
		buf, err := n.Alloc()
		if err != nil {
			panic(err)
		}
		buf.SetWindow(buf.HeadRoom(), len(datagram))
		copy(buf.Bytes(), datagram)
		frames[i] = device.Frame{Buf: buf}
	}
}

func TestFastPathAllocs(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	n := &loopNet{Device: dev}
	l := newLink(n, false, &Limits{})
	l.fast.Store(ptr[FastPath](new(udpEcho)))
	h := &host{t: t, dev: dev}
	datagram := h.udp("10.1.2.9", 7, make([]byte, 64))
	r := new(receiver)
	if got := testing.AllocsPerRun(100, func() {
		r.n, r.done = 32, 0
		n.burstOf(r.frames[:r.n], datagram)
		l.burst(r)
	}); got != 0 {
		t.Errorf("%v allocations for a burst of the fast path", got)
	}
	if n.sent == 0 {
		t.Error("nothing was sent")
	}
}

func BenchmarkUDPFastPath(b *testing.B) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	n := &loopNet{Device: dev}
	l := newLink(n, false, &Limits{})
	l.fast.Store(ptr[FastPath](new(udpEcho)))
	h := &host{t: b, dev: dev}
	datagram := h.udp("10.1.2.9", 7, make([]byte, 64))
	r := new(receiver)
	b.ReportAllocs()
	for i := 0; i < b.N; i += r.n {
		r.n, r.done = 32, 0
		n.burstOf(r.frames[:r.n], datagram)
		l.burst(r)
	}
}

// BenchmarkUDPStack counts one datagram in and out through gVisor and our
// socket, without the goroutine switches between them.
func BenchmarkUDPStack(b *testing.B) {
	h, s := newHost(b, netiftest.Options{}, testConfig(addrB4, addrB6), testLimits())
	c, err := s.ListenPacket("udp", ":7")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n := &loopNet{Device: h.dev}
	datagram := h.udp("10.1.2.9", 7, make([]byte, 64))
	frames := make([]device.Frame, 1)
	buf := make([]byte, 2048)
	u := c.(*UDPConn)
	b.ReportAllocs()
	for b.Loop() {
		n.burstOf(frames, datagram)
		s.link.burst(received(frames))
		k, p, err := u.ReadMsg(buf)
		if err != nil || !bytes.Equal(buf[:k], datagram[42:]) {
			b.Fatal(k, err)
		}
		if err := u.WriteMsg(buf[:k], p); err != nil {
			b.Fatal(err)
		}
	}
}

// panicky panics at every datagram to port 9.
type panicky struct{ udpEcho }

func (p *panicky) Frame(f *device.Frame) Verdict {
	v := p.udpEcho.Frame(f)
	if v == Drop {
		panic("port 9")
	}
	return v
}

// TestFastPathPanics checks that a panic costs no page and not the service.
func TestFastPathPanics(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b, err := New(db, testConfig(addrB4, addrB6), Options{Limits: testLimits(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.SetFastPath(new(panicky))
	c, err := a.DialContext(context.Background(), "udp", addrB4+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d, err := a.DialContext(context.Background(), "udp", addrB4+":9")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range uint64(maxPanics / 2) {
		exchange(t, c, []byte("ping"))
		d.Write([]byte("lost"))
		eventually(t, "a panic is counted", func() bool { return b.Stats().Panics > i })
	}
	exchange(t, c, []byte("ping"))
}

// received is what a Recv has left behind.
func received(frames []device.Frame) *receiver {
	r := &receiver{n: len(frames)}
	copy(r.frames[:], frames)
	return r
}
