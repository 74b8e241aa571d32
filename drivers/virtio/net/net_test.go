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
				return devicetest.NetUnderTest{Dev: r.dev, Pool: r.pool, Peer: peer{r.peer}, Marks: true}
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
