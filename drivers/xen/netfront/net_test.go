package netfront

import (
	"context"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/iopage"
)

// setup says how a device under test is made; zero fields take the default.
type setup struct {
	without map[string]string // of what Linux offers: other values
	mtu     string
	mac     string
	pages   int // 256
	conf    Config
}

// rig is a device, and what is around it.
type rig struct {
	testing.TB
	dev   *Device
	d     *xentest.Dom0
	back  *xentest.Netback
	store *xenstore.Client
	pool  *iopage.Pool
	link  chan bool
}

// times are short, so that what must time out does so soon.
var times = xenbus.Times{Connect: 200 * time.Millisecond, Retry: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond, Close: time.Second}

func (s setup) prepare(tb testing.TB) *rig {
	tb.Helper()
	if s.pages == 0 {
		s.pages = 256
	}
	d := xentest.New(tb, s.pages)
	offers := xentest.Linux()
	for k, v := range s.without {
		offers[k] = v
	}
	r := &rig{TB: tb, d: d, back: d.AddVIF(0, offers), pool: d.Pool, link: make(chan bool, 64)}
	if s.mtu != "" {
		d.Store.Set(r.back.Front+"/mtu", s.mtu)
	}
	if s.mac != "" {
		d.Store.Set(r.back.Front+"/mac", s.mac)
	}
	var err error
	if r.store, err = xenstore.Open(xenstore.Config{Gate: d, Line: d.Store.Line}); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (s setup) try(tb testing.TB, wait time.Duration) (*rig, error) {
	tb.Helper()
	r := s.prepare(tb)
	c := s.conf
	c.Bus = xenbus.Config{Store: r.store, Times: times}
	c.Path, c.Gate, c.Pages, c.Pool = "device/vif/0", r.d, r.d.Pages, r.d.Pool
	c.Link = func(up bool) { r.link <- up }
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	dev, err := Open(ctx, "net0", c)
	r.dev = dev
	tb.Cleanup(func() {
		if dev != nil {
			dev.Close()
			<-dev.bus.Done()
		}
		time.Sleep(time.Millisecond)
		r.store.Close()
	})
	return r, err
}

func (s setup) open(tb testing.TB) *rig {
	tb.Helper()
	r, err := s.try(tb, 10*time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// peer fits a Netback to the conformance suite.
type peer struct{ n *xentest.Netback }

func (p peer) Deliver(frame []byte, m device.Meta) bool { return p.n.Deliver(frame, m) }
func (p peer) Take() ([]byte, device.Meta, bool)        { return p.n.Take() }
func (p peer) Break()                                   { p.n.RX.SetRspProd(p.n.RX.RspProd() + 1000) }

// TestConformance runs the suite of all network drivers, with all offloads and
// with none. More of the former is in TestReceiveOffload and TestSendOffload.
func TestConformance(t *testing.T) {
	none := Config{Without: allOffloads}
	few := none
	few.RxBuffers, few.RxLow, few.TxReserve = 32, 22, 16
	for _, c := range []struct {
		name string
		s    setup
	}{
		{"Linux", setup{}},
		{"NoOffload", setup{conf: none}},
		{"NoTSO6", setup{without: map[string]string{"feature-gso-tcpv6": "0"}}},
		{"SharedEventChannel", setup{conf: none, without: map[string]string{"feature-split-event-channels": "0"}}},
		{"NoScatterGather", setup{conf: none, without: map[string]string{"feature-sg": "0"}}},
		{"NothingOffered", setup{conf: none, without: map[string]string{
			"feature-sg": "", "feature-gso-tcpv4": "x", "feature-gso-tcpv6": "-1", "feature-ipv6-csum-offload": "0", "feature-split-event-channels": "",
		}}},
		{"Jumbo", setup{conf: none, mtu: "9000"}},
		{"FewPages", setup{conf: few, pages: 160}},
	} {
		t.Run(c.name, func(t *testing.T) {
			devicetest.Net(t, func(t *testing.T) devicetest.NetUnderTest {
				r := c.s.open(t)
				return devicetest.NetUnderTest{Dev: r.dev, Pool: r.pool, Peer: peer{r.back}}
			})
		})
	}
}

func TestInfo(t *testing.T) {
	tso := device.TSO4 | device.TSO6
	for name, c := range map[string]struct {
		s    setup
		mtu  int
		want device.Feature
	}{
		"all":                  {setup{}, 1500, allOffloads},
		"jumbo":                {setup{mtu: "9000"}, 9000, allOffloads},
		"more than fits":       {setup{mtu: "4294967295"}, maxMTU, allOffloads},
		"no scatter-gather":    {setup{mtu: "9000", without: map[string]string{"feature-sg": "0"}}, 4078, allOffloads &^ tso},
		"no IPv6 checksum":     {setup{without: map[string]string{"feature-ipv6-csum-offload": "0"}}, 1500, allOffloads &^ tso &^ device.TxChecksum},
		"no checksum":          {setup{without: map[string]string{"feature-no-csum-offload": "1"}}, 1500, allOffloads &^ tso &^ device.TxChecksum},
		"no TSO6":              {setup{without: map[string]string{"feature-gso-tcpv6": "no"}}, 1500, allOffloads &^ device.TSO6},
		"without RxChecksum":   {setup{conf: Config{Without: device.RxChecksum}}, 1500, tso | device.TxChecksum},
		"without TxChecksum":   {setup{conf: Config{Without: device.TxChecksum}}, 1500, device.RxChecksum | device.LRO4 | device.LRO6},
		"without receiving v6": {setup{conf: Config{Without: device.LRO6}}, 1500, allOffloads &^ device.LRO6},
	} {
		r := c.s.open(t)
		want := device.NetInfo{MAC: [6]byte{0, 0x16, 0x3e, 0, 0, 1}, MTU: c.mtu, Offload: c.want, Batch: batch, Returns: true}
		if i := r.dev.Info(); i != want {
			t.Errorf("%s: Info is %+v, want %+v", name, i, want)
		}
	}
}

// TestKeys pins what the frontend writes.
func TestKeys(t *testing.T) {
	for name, c := range map[string]struct {
		s    setup
		want map[string]string
		no   []string
	}{
		"split": {
			setup{},
			map[string]string{
				"state": "4", "request-rx-copy": "1", "feature-rx-notify": "1", "feature-sg": "1", "feature-gso-tcpv4": "1",
				"feature-gso-tcpv6": "1", "feature-ipv6-csum-offload": "1", "feature-no-csum-offload": "0", "tx-ring-ref": "8", "rx-ring-ref": "9",
			},
			[]string{"event-channel", "multi-queue-num-queues", "feature-gso-tcpv4-prefix"},
		},
		"plain": {
			setup{conf: Config{Without: allOffloads}, without: map[string]string{"feature-split-event-channels": "0"}},
			map[string]string{
				"state": "4", "request-rx-copy": "1", "feature-sg": "1", "feature-gso-tcpv4": "0", "feature-gso-tcpv6": "0",
				"feature-ipv6-csum-offload": "0", "feature-no-csum-offload": "1",
			},
			[]string{"event-channel-tx", "event-channel-rx"},
		},
	} {
		r := c.s.open(t)
		for k, want := range c.want {
			if v, _ := r.d.Store.Get(r.back.Front + "/" + k); v != want {
				t.Errorf("%s: %s is %q, want %q", name, k, v, want)
			}
		}
		for _, k := range c.no {
			if v, ok := r.d.Store.Get(r.back.Front + "/" + k); ok {
				t.Errorf("%s: %s is %q, want none", name, k, v)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		s    setup
		want string
	}{
		"no receive copy":      {setup{without: map[string]string{"feature-rx-copy": "0"}}, "feature-rx-copy"},
		"no MAC":               {setup{mac: " "}, "MAC"},
		"MAC of a group":       {setup{mac: "01:16:3e:00:00:01"}, "MAC"},
		"MAC too long":         {setup{mac: "00:16:3e:00:00:01:02"}, "MAC"},
		"MAC in short":         {setup{mac: "0:16:3e:000:00:01"}, "MAC"},
		"MAC of anything":      {setup{mac: strings.Repeat("\xff\x00%s", 800)}, "MAC"},
		"tiny MTU":             {setup{mtu: "67"}, "MTU"},
		"MTU that is none":     {setup{mtu: "-1"}, "MTU"},
		"MTU of anything":      {setup{mtu: strings.Repeat("9", 3000)}, "MTU"},
		"more than the ring":   {setup{conf: Config{RxBuffers: 257}}, "RxBuffers"},
		"more than the pool":   {setup{pages: 64, conf: Config{RxBuffers: 60, TxReserve: 5}}, "free pages"},
		"less than a frame":    {setup{conf: Config{RxBuffers: 16}}, "RxLow"},
		"low above all":        {setup{conf: Config{RxBuffers: 32, RxLow: 33}}, "RxLow"},
		"negative":             {setup{conf: Config{RxBuffers: -1}}, "RxBuffers"},
		"pool of hardly pages": {setup{pages: 17}, "free pages"},
	} {
		r, err := c.s.try(t, 200*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("%s: Open answers %v, want mention of %q", name, err, c.want)
		}
		if n := r.d.OpenPorts(); n != 0 {
			t.Errorf("%s: %d ports left open", name, n)
		}
	}
}

// TestPortsRefused: a gate without ports fails the attempt, not the device.
func TestPortsRefused(t *testing.T) {
	for n := 1; n <= 3; n++ {
		r := setup{}.prepare(t)
		r.d.RefusePorts(n)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		dev, err := Open(ctx, "net0", Config{
			Bus: xenbus.Config{Store: r.store, Times: times}, Path: "device/vif/0", Gate: r.d, Pages: r.d.Pages, Pool: r.pool,
		})
		if err != nil {
			t.Fatal(err)
		}
		if p := r.d.OpenPorts(); p != 2 {
			t.Errorf("%d ports open", p)
		}
		dev.Close()
		<-dev.bus.Done()
		if p := r.d.OpenPorts(); p != 0 {
			t.Errorf("%d ports left open", p)
		}
		r.store.Close()
	}
}
