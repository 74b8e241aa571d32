//go:build ampoule && xen

package platform

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "ampoule/boot/pvh" // entry point, gate, address space
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/blkfront"
	xenconsole "ampoule/drivers/xen/console"
	"ampoule/drivers/xen/lifecycle"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/vifs"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/console"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
	"ampoule/libos/pvboot"
	"ampoule/libos/rt/rtabi"
	"ampoule/libos/telemetry"
)

// connectTime is how long a network interface that is there at boot may take to
// come up before the appliance goes on to wait for it, and how long what the
// toolstack is told may take.
const connectTime = 30 * time.Second

// xenMachine is what the parts of this file share.
type xenMachine struct {
	gate     gate
	store    *xenstore.Client
	vifs     *vifs.Set
	pages    *xen.Pages
	ring     *xenconsole.Console
	console  *console.Console
	log      *telemetry.Logger
	requests chan pvboot.Request

	mu      sync.Mutex // guards the next four
	about   lifecycle.About
	addrs   []netip.Addr
	told    string    // the vif that the toolstack was told the addresses of
	resumed time.Time // when the VM came back; zero once the network is up

	saves sync.Mutex     // held by a save, and while a disk connects
	disk  lifecycle.Part // nil: none is open
}

// Open takes over the machine as boot left it: a PVH guest of Xen. It must be
// called once, and waits for a network interface that is there to be connected.
func Open() (*pvboot.Machine, error) {
	info := bootInfo()
	g := gate{new(calls)}
	ring, err := xenconsole.Open(xenconsole.Config{Gate: g, Line: consoleLine})
	if err != nil {
		return nil, err
	}
	x := &xenMachine{gate: g, ring: ring, console: console.New(ring.Write), requests: make(chan pvboot.Request, 1)}
	x.log = telemetry.New(x.console, time.Now, telemetry.Info)
	m := &pvboot.Machine{
		Platform: x,
		Name:     "xen",
		Memory:   info.RAM,
		Command:  string(info.Command[:info.CommandLen]),
		Clock:    clock{},
		Entropy:  entropy{},
		Console:  x.console,
		Pool:     iopage.NewPool(region(info.IO, info.IOSize)),
		WaitNet:  x.waitNet,
		Requests: x.requests,
		Announce: x.announce,
		Calls:    x.gate.read,
		Restart:  func() { ampGate(rtabi.GateExit, rtabi.ExitOK, 1) },
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	if err := x.open(ctx, info, m); err != nil {
		return nil, err
	}
	return m, nil
}

// open connects to the store, the network interface and the toolstack.
func (x *xenMachine) open(ctx context.Context, info *rtabi.BootInfo, m *pvboot.Machine) error {
	pages, err := xen.NewPages(region(info.Xen.Rings, uintptr(info.Xen.NRings)*rtabi.PageSize),
		xen.Ref(info.Xen.RingRef), xen.Ref(info.Xen.IORef), m.Pool.Len())
	if err != nil {
		return err
	}
	x.pages = pages
	if x.store, err = xenstore.Open(xenstore.Config{Gate: x.gate, Line: storeLine}); err != nil {
		return err
	}
	x.vifs, err = vifs.Watch(ctx, vifs.Config{
		Net:  netfront.Config{Bus: xenbus.Config{Store: x.store}, Gate: x.gate, Pages: pages, Pool: m.Pool},
		Link: x.link,
		Say:  func(event string, pairs ...any) { x.log.Info(event, pairs...) },
	})
	if err != nil {
		return err
	}
	if _, err = lifecycle.Watch(ctx, lifecycle.Config{Store: x.store, Do: x.do}); err != nil {
		return err
	}
	if x.vifs.Len() == 0 {
		return nil
	}
	d, err := x.vifs.Wait(ctx, 0)
	if err != nil {
		x.log.Warn("the network interface is not connected", "error", err)
		return nil
	}
	m.Devices = append(m.Devices, d)
	return nil
}

// Disk connects to the disk with the lowest number, a device.LastWords, and adds it
// to the devices of a machine from Open; nil: there is none. It must be called once, and waits for
// the backend no longer than the context allows, and half a minute at most. The
// driver is in those images only that call this.
func Disk(ctx context.Context, m *pvboot.Machine) (device.Block, error) {
	x := m.Platform.(*xenMachine)
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	// A save in the middle would leave the disk with a port that is no more.
	x.saves.Lock()
	defer x.saves.Unlock()
	path, err := blkfront.Find(ctx, x.store)
	if err != nil || path == "" {
		return nil, err
	}
	d, err := blkfront.Open(ctx, "disk0", blkfront.Config{
		Bus: xenbus.Config{Store: x.store}, Path: path, Gate: x.gate, Pages: x.pages, Pool: m.Pool,
	})
	if err != nil {
		return nil, err
	}
	x.disk = d
	m.Devices = append(m.Devices, d)
	return lasting{d}, nil
}

// waitNet waits for the first network interface.
func (x *xenMachine) waitNet(ctx context.Context) (device.Net, error) {
	d, err := x.vifs.Wait(ctx, 0)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// link is told when the network interface comes and goes.
func (x *xenMachine) link(_ int, up bool) {
	if !up {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.resumed.IsZero() {
		x.log.Info("network is back", "after", time.Since(x.resumed))
		x.resumed = time.Time{}
	}
	if x.about.Name != "" {
		go x.follow()
	}
}

// follow tells the toolstack of the addresses again when they are another vif's.
func (x *xenMachine) follow() {
	path := x.vifs.Path(0)
	x.mu.Lock()
	same := x.told == path
	x.mu.Unlock()
	if !same {
		x.tell()
	}
}

// do carries out what the toolstack asks for.
func (x *xenMachine) do(a lifecycle.Action) {
	switch a {
	case lifecycle.Poweroff, lifecycle.Halt:
		x.ask(pvboot.PowerOff)
	case lifecycle.Reboot:
		x.ask(pvboot.Restart)
	case lifecycle.Suspend:
		x.suspend()
	}
}

// ask hands a request on; one that is on its way already is enough.
func (x *xenMachine) ask(r pvboot.Request) {
	select {
	case x.requests <- r:
	default:
	}
}

// suspend saves the VM and has all drivers go on afterwards.
func (x *xenMachine) suspend() {
	x.saves.Lock()
	parts := []lifecycle.Part{x.disk, x.vifs, x.store, x.ring}
	if x.disk == nil {
		parts = parts[1:]
	}
	restored := false
	m := lifecycle.Machine{
		Parts: parts,
		Enter: func() (bool, error) {
			restored = ampSuspend() == 0
			x.mu.Lock()
			x.resumed = time.Now()
			x.mu.Unlock()
			return restored, nil
		},
		Restored: func() { go x.tell() },
	}
	err := m.Suspend(context.Background())
	x.saves.Unlock()
	if err != nil {
		x.log.Warn("not all went well with a save", "error", err)
	}
	x.log.Info("resumed", "restored", restored)
}

// announce tells the toolstack who we are.
func (x *xenMachine) announce(name string, addresses []netip.Prefix) error {
	x.mu.Lock()
	x.about = lifecycle.About{Name: name, Version: runtime.Version(), Tools: toolsVersion, MemoryTotal: bootInfo().RAM}
	x.addrs = x.addrs[:0]
	for _, p := range addresses {
		x.addrs = append(x.addrs, p.Addr())
	}
	x.mu.Unlock()
	return x.writeAbout()
}

// tell announces again: after a restore, and when another vif is in use.
func (x *xenMachine) tell() {
	if err := x.writeAbout(); err != nil {
		x.log.Warn("the toolstack took not all that was announced", "error", err)
	}
}

// writeAbout writes what announce was told, with the addresses at the vif that
// is in use.
func (x *xenMachine) writeAbout() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	path := x.vifs.Path(0)
	x.mu.Lock()
	a := x.about
	if i, err := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:]); err == nil {
		a.VIFs = map[int][]netip.Addr{i: x.addrs}
	}
	moved := x.told != "" && x.told != path
	x.told = path
	x.mu.Unlock()
	if a.Name == "" {
		return nil
	}
	var err error
	if moved {
		if err = x.store.Rm(ctx, "attr/vif"); errors.Is(err, xenstore.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, lifecycle.Announce(ctx, x.store, a))
}

// toolsVersion is what XAPI takes for current guest tools.
var toolsVersion = [4]int{7, 20, 0, 1}

// storeLine is the store's page and its port of the moment.
func storeLine() (xen.Line, error) {
	return xen.Line{Page: xen.PageOf(region(bootInfo().Xen.Store, rtabi.PageSize)),
		Port: xen.Port(ampGate(rtabi.GatePort, 0, 0))}, nil
}

// consoleLine is the console's.
func consoleLine() (xen.Line, error) {
	return xen.Line{Page: xen.PageOf(region(bootInfo().Xen.Console, rtabi.PageSize)),
		Port: xen.Port(ampGate(rtabi.GatePort, 1, 0))}, nil
}

// gate is the way to the gate's event channels and grants.
type gate struct{ *calls }

func (gate) Close(p xen.Port) { ampGate(rtabi.GateClose, uintptr(p), 0) }

func (g gate) Notify(p xen.Port) {
	g.notifies.Add(1)
	ampGate(rtabi.GateNotify, uintptr(p), 0)
}

func (gate) InUse(r xen.Ref) bool { return ampGate(rtabi.GateInUse, uintptr(r), 0) != 0 }

func (gate) Alloc() (xen.Port, error) {
	p := int(ampGate(rtabi.GateAlloc, 0, 0))
	if p < 0 {
		return 0, format.Errorf("platform: no event channel: error %d", -p)
	}
	return xen.Port(p), nil
}
