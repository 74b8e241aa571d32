package virtionet

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/iopage"
)

// setup says how a device under test is made; zero fields take the default.
type setup struct {
	features uint64 // of Features; the default is all of them
	pages    int    // 256
	queue    int    // 256
	mtu      uint16 // 1500
	conf     Config
}

// rig is a device, its machine and its peer.
type rig struct {
	testing.TB
	dev  *Device
	m    *virtiotest.Machine
	peer *virtiotest.Net
	pool *iopage.Pool
}

func (s setup) config() []byte {
	if s.mtu == 0 {
		s.mtu = 1500
	}
	return []byte{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, byte(s.mtu), byte(s.mtu >> 8)}
}

func (s setup) try(tb testing.TB) (*rig, error) {
	tb.Helper()
	if s.features == 0 {
		s.features = Features
	}
	if s.pages == 0 {
		s.pages = 256
	}
	if s.queue == 0 {
		s.queue = 256
	}
	m := virtiotest.NewMachine(tb, s.pages)
	boot, q := m.Add(virtio.NetworkCard, s.features, s.config(), s.queue, s.queue)
	dev, err := New("net0", virtio.NewDevice(boot, m), m.Pool, s.conf)
	return &rig{TB: tb, dev: dev, m: m, peer: &virtiotest.Net{RX: q[0], TX: q[1]}, pool: m.Pool}, err
}

func (s setup) open(tb testing.TB) *rig {
	tb.Helper()
	r, err := s.try(tb)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// peer fits a virtiotest.Net to the conformance suite.
type peer struct{ n *virtiotest.Net }

func (p peer) Deliver(frame []byte, m device.Meta) bool {
	return p.n.Deliver(virtiotest.Header(m), frame)
}

func (p peer) Take() ([]byte, device.Meta, bool) {
	h, frame, ok := p.n.Take(nil)
	return frame, h.Meta(), ok
}

func (p peer) Break() {
	p.n.RX.SetUsed(p.n.RX.UsedIndex() + 1000)
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		s    setup
	}{
		{"All", setup{}},
		{"NoEventIndex", setup{features: Features &^ virtio.FeatureEventIndex}},
		{"NoOffload", setup{features: virtio.FeatureVersion1 | FeatureMAC}},
		{"MergeableOnly", setup{features: virtio.FeatureVersion1 | FeatureMAC | FeatureMergeable | FeatureMTU}},
		{"Jumbo", setup{mtu: 9000}},
		{"SmallQueue", setup{queue: 32, conf: Config{RxBuffers: 32, RxLow: 17, TxReserve: 16}}},
		{"OneBufferLow", setup{features: Accept(Features &^ FeatureMergeable), queue: 64, pages: 160, conf: Config{RxBuffers: 8, RxLow: 8}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			devicetest.Net(t, func(t *testing.T) devicetest.NetUnderTest {
				r := c.s.open(t)
				return devicetest.NetUnderTest{Dev: r.dev, Pool: r.pool, Peer: peer{r.peer}}
			})
		})
	}
}

func TestAccept(t *testing.T) {
	tso := uint64(FeatureGuestTSO4 | FeatureGuestTSO6)
	for _, c := range []struct{ offered, want uint64 }{
		{^uint64(0), Features},
		{0, 0},
		{Features, Features},
		{Features &^ FeatureMergeable, Features &^ FeatureMergeable &^ tso},
		{Features &^ FeatureGuestChecksum, Features &^ FeatureGuestChecksum &^ tso},
		{Features &^ FeatureChecksum, Features &^ FeatureChecksum &^ FeatureHostTSO4 &^ FeatureHostTSO6},
		{1<<32 | 1<<63 | 1<<5, 1<<32 | 1<<5},
	} {
		if got := Accept(c.offered); got != c.want {
			t.Errorf("Accept(%#x) = %#x, want %#x", c.offered, got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		s    setup
		want string
	}{
		"legacy device":        {s: setup{features: FeatureMAC}, want: "not a virtio 1.x"},
		"large without merge":  {s: setup{features: Features &^ FeatureMergeable}, want: "should not have been negotiated"},
		"unknown feature":      {s: setup{features: Features | 1<<17}, want: "should not have been negotiated"},
		"no MAC":               {s: setup{features: Features &^ FeatureMAC}, want: "MAC"},
		"tiny MTU":             {s: setup{mtu: 67}, want: "MTU"},
		"more than the queue":  {s: setup{conf: Config{RxBuffers: 257}}, want: "RxBuffers"},
		"more than the pool":   {s: setup{pages: 64, conf: Config{RxBuffers: 60, TxReserve: 5}}, want: "free pages"},
		"less than a frame":    {s: setup{conf: Config{RxBuffers: 16}}, want: "RxLow"},
		"low above all":        {s: setup{conf: Config{RxBuffers: 32, RxLow: 33}}, want: "RxLow"},
		"negative":             {s: setup{conf: Config{RxBuffers: -1}}, want: "RxBuffers"},
		"queue too small":      {s: setup{queue: 16}, want: "RxBuffers"},
		"pool of hardly pages": {s: setup{pages: 17}, want: "free pages"},
	} {
		_, err := c.s.try(t)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New answers %v, want mention of %q", name, err, c.want)
		}
	}
}

func TestNewRefusesBootInfo(t *testing.T) {
	m := virtiotest.NewMachine(t, 256)
	for _, change := range []func(*virtiotest.Machine) error{
		func(m *virtiotest.Machine) error {
			boot, _ := m.Add(virtio.EntropySource, Features, setup{}.config(), 256, 256)
			_, err := New("net0", virtio.NewDevice(boot, m), m.Pool, Config{})
			return err
		},
		func(m *virtiotest.Machine) error {
			boot, _ := m.Add(virtio.NetworkCard, Features, setup{}.config(), 256)
			_, err := New("net0", virtio.NewDevice(boot, m), m.Pool, Config{})
			return err
		},
		func(m *virtiotest.Machine) error {
			boot, _ := m.Add(virtio.NetworkCard, Features, setup{}.config()[:11], 256, 256)
			_, err := New("net0", virtio.NewDevice(boot, m), m.Pool, Config{})
			return err
		},
	} {
		if err := change(m); err == nil {
			t.Error("New takes over a device that is not a whole network card")
		}
	}
}

func TestMACFromConfig(t *testing.T) {
	mac := [6]byte{2, 1, 2, 3, 4, 5}
	r := setup{features: Features &^ FeatureMAC, conf: Config{MAC: mac}}.open(t)
	if got := r.dev.Info().MAC; got != mac {
		t.Errorf("MAC %x, want %x", got, mac)
	}
	r = setup{conf: Config{MAC: mac}}.open(t)
	if got := r.dev.Info().MAC; got == mac {
		t.Error("the device's own MAC does not win")
	}
}

func frameOf(n int) []byte { return bytes.Repeat([]byte{0x5a}, n) }

// echo sends back all that is received until there is nothing.
func (r *rig) echo(frames []device.Frame) (n int) {
	for {
		k, err := r.dev.Recv(frames)
		if errors.Is(err, device.ErrAgain) {
			return n
		}
		if err != nil {
			r.Fatalf("Recv: %v", err)
		}
		if s, err := r.dev.Send(frames[:k]); s != k || err != nil {
			r.Fatalf("Send = %d, %v", s, err)
		}
		n += k
	}
}

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
