package lifecycle

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/console"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/drivers/xen/xentest"
	"ampoule/libos/device"
)

const (
	home     = "/local/domain/7/"
	shutdown = home + path
)

type rig struct {
	*testing.T
	d   *xentest.Dom0
	c   *xenstore.Client
	ctx context.Context
}

func open(t *testing.T, pages int) *rig {
	t.Helper()
	d := xentest.New(t, pages)
	c, err := xenstore.Open(xenstore.Config{Gate: d, Line: d.Store.Line})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(func() {
		cancel()
		c.Close()
	})
	return &rig{T: t, d: d, c: c, ctx: ctx}
}

// watch begins to watch; what is asked for comes out of the channel.
func (r *rig) watch() (*Watcher, chan Action) {
	r.Helper()
	did := make(chan Action, 64)
	w, err := Watch(r.ctx, Config{Store: r.c, Do: func(a Action) { did <- a }})
	if err != nil {
		r.Fatal(err)
	}
	return w, did
}

func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			r.Fatal(what, ": not within 5 s")
		}
	}
}

func (r *rig) acknowledged() bool {
	v, ok := r.d.Store.Get(shutdown)
	return ok && v == ""
}

func TestRequests(t *testing.T) {
	r := open(t, 0)
	r.d.Store.Set(shutdown, "reboot") // before anyone watches
	w, did := r.watch()
	defer w.Close()
	for _, want := range []Action{Reboot, Poweroff, Halt, Suspend, Poweroff} {
		if want != Reboot {
			r.d.Store.Set(shutdown, string(want))
		}
		select {
		case got := <-did:
			if got != want {
				t.Fatalf("asked for %s, want %s", got, want)
			}
		case <-r.ctx.Done():
			t.Fatalf("%s was not heard", want)
		}
		if !r.acknowledged() {
			t.Errorf("%s: Do was called before the request was acknowledged", want)
		}
	}
	r.d.Store.Remove(shutdown)
	r.d.Store.Set(home+"control/sysrq", "b")
	r.d.Store.Set(shutdown, "")
	time.Sleep(20 * time.Millisecond)
	if len(did) != 0 || w.Unknown() != 0 {
		t.Errorf("%d requests, %d unknown ones, from nowhere", len(did), w.Unknown())
	}
}

// TestStoreStrings: requests of any length and content are acknowledged and
// dropped.
func TestStoreStrings(t *testing.T) {
	r := open(t, 0)
	w, did := r.watch()
	defer w.Close()
	n := uint64(0)
	for _, v := range []string{"x", "Poweroff", "poweroff\x00", " poweroff", "crash", "\x00", "%s", strings.Repeat("poweroff", 500)} {
		r.d.Store.Set(shutdown, v)
		n++
		r.until("dropped", func() bool { return w.Unknown() == n })
		if !r.acknowledged() {
			t.Errorf("%.20q was not acknowledged", v)
		}
	}
	if len(did) != 0 {
		t.Errorf("understood as %s", <-did)
	}
}

// TestDeniedAck: a store that does not let us acknowledge does not make us act
// over and over, nor spin.
func TestDeniedAck(t *testing.T) {
	r := open(t, 0)
	w, did := r.watch()
	defer w.Close()
	r.d.Store.Deny(shutdown)
	r.d.Store.Set(shutdown, "poweroff")
	before := r.d.Store.Requests()
	time.Sleep(4 * retry)
	if n := r.d.Store.Requests() - before; n < 2 || n > 20 {
		t.Errorf("%d requests to the store in %v", n, 4*retry)
	}
	if len(did) != 0 {
		t.Error("acted without having acknowledged")
	}
}

func TestAnnounce(t *testing.T) {
	r := open(t, 0)
	r.d.Store.Deny(home + "attr/PVAddons/MajorVersion")
	r.d.Store.Set(home+"data/cant_suspend_reason", "from before")
	err := Announce(r.ctx, r.c, About{
		Name: "ampoule-dns", Version: "1.2", Tools: [4]int{8, 3, 0, 1}, MemoryTotal: 32 << 20, MemoryFree: 20 << 20,
		VIFs: map[int][]netip.Addr{2: {netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("10.0.0.3")}},
	})
	if !errors.Is(err, xenstore.ErrAccess) {
		t.Errorf("a key was refused: %v", err)
	}
	for k, want := range map[string]string{
		"control/feature-poweroff": "1", "control/feature-reboot": "1", "control/feature-halt": "1",
		"control/feature-shutdown": "1", "control/feature-suspend": "1", "attr/PVAddons/MinorVersion": "3",
		"attr/vif/2/ipv4/0": "10.0.0.2", "attr/vif/2/ipv4/1": "10.0.0.3", "attr/vif/2/ipv6/0": "fd00::2",
		"data/os_name": "ampoule-dns", "data/os_uname": "1.2", "data/meminfo_total": "32768", "data/meminfo_free": "20480",
		"data/updated": "1",
	} {
		if v, _ := r.d.Store.Get(home + k); v != want {
			t.Errorf("%s is %q, want %q", k, v, want)
		}
	}
	if _, ok := r.d.Store.Get(home + "data/cant_suspend_reason"); ok {
		t.Error("an old reason against saving is left")
	}
	if err := Announce(r.ctx, r.c, About{NoSuspend: "a reason"}); err == nil {
		t.Error("no error")
	}
	if v, _ := r.d.Store.Get(home + "control/feature-suspend"); v != "0" {
		t.Errorf("feature-suspend is %q", v)
	}
}

// TestAnnounceLibxl: of control/, libxl lets a VM write the keys that it has
// made. That is its design and no error; that it refuses one of those is.
func TestAnnounceLibxl(t *testing.T) {
	r := open(t, 0)
	r.d.Store.Deny(home + "control/feature-halt")
	r.d.Store.Deny(home + "control/feature-shutdown")
	if err := Announce(r.ctx, r.c, About{Name: "dns"}); err != nil {
		t.Errorf("with libxl's keys: %v", err)
	}
	if v, _ := r.d.Store.Get(home + "control/feature-reboot"); v != "1" {
		t.Errorf("feature-reboot is %q", v)
	}
	if v, _ := r.d.Store.Get(home + "data/updated"); v != "1" {
		t.Errorf("data/updated is %q", v)
	}
	r.d.Store.Deny(home + "control/feature-suspend")
	if err := Announce(r.ctx, r.c, About{Name: "dns"}); !errors.Is(err, xenstore.ErrAccess) || !strings.Contains(err.Error(), "feature-suspend") {
		t.Errorf("feature-suspend refused: %v", err)
	}
}

// part notes what is asked of it.
type part struct {
	name string
	log  *[]string
	fail bool
}

func (p part) Suspend(context.Context) error {
	*p.log = append(*p.log, "suspend "+p.name)
	if p.fail {
		return errors.New("busy")
	}
	return nil
}

func (p part) Resume(_ context.Context, restored bool) error {
	how := "resume "
	if restored {
		how = "restore "
	}
	*p.log = append(*p.log, how+p.name)
	return nil
}

func TestSuspendOrder(t *testing.T) {
	for name, c := range map[string]struct {
		fail, restored bool
		want           []string
	}{
		"restored":  {false, true, []string{"suspend a", "suspend b", "enter", "restore b", "restore a", "restored"}},
		"cancelled": {false, false, []string{"suspend a", "suspend b", "enter", "resume b", "resume a"}},
		"busy":      {true, true, []string{"suspend a", "suspend b", "resume a"}},
	} {
		var log []string
		m := Machine{
			Parts:    []Part{part{"a", &log, false}, part{"b", &log, c.fail}},
			Enter:    func() (bool, error) { log = append(log, "enter"); return c.restored, nil },
			Restored: func() { log = append(log, "restored") },
		}
		if err := m.Suspend(context.Background()); (err != nil) != c.fail {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(log, c.want) {
			t.Errorf("%s: %q, want %q", name, log, c.want)
		}
	}
}

// TestWholeMachine saves and restores a VM with all its drivers, on request.
func TestWholeMachine(t *testing.T) {
	r := open(t, 256)
	back := r.d.AddVIF(0, xentest.Linux())
	cons, err := console.Open(console.Config{Gate: r.d, Line: r.d.Console.Line})
	if err != nil {
		t.Fatal(err)
	}
	defer cons.Close()
	up := make(chan bool, 64)
	net, err := netfront.Open(r.ctx, "net0", netfront.Config{
		Bus: xenbus.Config{Store: r.c}, Path: "device/vif/0", Gate: r.d, Pages: r.d.Pages, Pool: r.d.Pool,
		Link: func(now bool) { up <- now },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	<-up
	restore := true
	m := &Machine{
		Parts: []Part{net, r.c, cons},
		Enter: func() (bool, error) {
			if restore {
				r.d.Restore(back)
			}
			return restore, nil
		},
	}
	result := make(chan error, 8)
	w, err := Watch(r.ctx, Config{Store: r.c, Do: func(Action) { result <- m.Suspend(r.ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i, how := range []bool{true, false, true} {
		restore = how
		start := time.Now()
		r.d.Store.Set(shutdown, "suspend")
		for range 2 {
			<-up
		}
		if err := <-result; err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("round %d: back after %v", i, took)
		}
		if !back.Deliver(make([]byte, 60), device.Meta{}) {
			t.Fatalf("round %d: no room for a frame", i)
		}
		var f [1]device.Frame
		if n, err := net.Recv(f[:]); n != 1 || err != nil {
			t.Fatalf("round %d: Recv = %d, %v", i, n, err)
		}
		f[0].Buf.Release()
		if n := cons.Write([]byte("x")); n != 1 {
			t.Errorf("round %d: the console takes nothing", i)
		}
	}
}
