//go:build ampoule && xen

package platform

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	_ "ampoule/boot/pvh" // entry point, gate, address space
	"ampoule/drivers/xen"
	"ampoule/drivers/xen/lifecycle"
	"ampoule/drivers/xen/netfront"
	"ampoule/drivers/xen/xenbus"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/console"
	"ampoule/libos/iopage"
	"ampoule/libos/pvboot"
	"ampoule/libos/rt/rtabi"
)

// connectTime is how long a network interface may take to come up.
const connectTime = 30 * time.Second

// xenMachine is what the parts of this file share.
type xenMachine struct {
	gate     gate
	store    *xenstore.Client
	devices  []*netfront.Device
	about    lifecycle.About
	console  *console.Console
	requests chan pvboot.Request
}

// Open takes over the machine as boot left it: a PVH guest of Xen. It must be
// called once, and waits for the network interfaces to be connected.
func Open() (*pvboot.Machine, error) {
	info := bootInfo()
	x := &xenMachine{gate: gate{new(calls)}, console: console.New(ampConsole), requests: make(chan pvboot.Request, 1)}
	m := &pvboot.Machine{
		Name:     "xen",
		Memory:   info.RAM,
		Command:  string(info.Command[:info.CommandLen]),
		Clock:    clock{},
		Entropy:  entropy{},
		Console:  x.console,
		Pool:     iopage.NewPool(region(info.IO, info.IOSize)),
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

// open connects to the store, the network interfaces and the toolstack.
func (x *xenMachine) open(ctx context.Context, info *rtabi.BootInfo, m *pvboot.Machine) error {
	pages, err := xen.NewPages(region(info.Xen.Rings, uintptr(info.Xen.NRings)*rtabi.PageSize),
		xen.Ref(info.Xen.RingRef), xen.Ref(info.Xen.IORef), m.Pool.Len())
	if err != nil {
		return err
	}
	if x.store, err = xenstore.Open(xenstore.Config{Gate: x.gate, Line: storeLine}); err != nil {
		return err
	}
	paths, err := xenbus.Enumerate(ctx, x.store, "vif")
	if err != nil {
		return err
	}
	for i, path := range paths {
		d, err := netfront.Open(ctx, fmt.Sprint("net", i), netfront.Config{
			Bus: xenbus.Config{Store: x.store}, Path: path, Gate: x.gate, Pages: pages, Pool: m.Pool})
		if err != nil {
			fmt.Fprintf(m.Console, "warning: %s: %v\n", path, err)
			continue
		}
		x.devices = append(x.devices, d)
		m.Devices = append(m.Devices, d)
	}
	_, err = lifecycle.Watch(ctx, lifecycle.Config{Store: x.store, Do: x.do})
	return err
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
	m := lifecycle.Machine{
		Enter: func() (bool, error) { return ampSuspend() == 0, nil },
		Restored: func() {
			ctx, cancel := context.WithTimeout(context.Background(), connectTime)
			defer cancel()
			if err := lifecycle.Announce(ctx, x.store, x.about); err != nil {
				fmt.Fprintf(x.console, "warning: %v\n", err)
			}
		},
	}
	for _, d := range x.devices {
		m.Parts = append(m.Parts, d)
	}
	m.Parts = append(m.Parts, x.store)
	if err := m.Suspend(context.Background()); err != nil {
		fmt.Fprintf(x.console, "warning: %v\n", err)
	}
}

// announce tells the toolstack who we are.
func (x *xenMachine) announce(name string, addresses []netip.Prefix) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	x.about = lifecycle.About{Name: name, Version: runtime.Version(), Tools: toolsVersion, MemoryTotal: bootInfo().RAM}
	var addrs []netip.Addr
	for _, p := range addresses {
		addrs = append(addrs, p.Addr())
	}
	x.about.VIFs = [][]netip.Addr{addrs}
	return lifecycle.Announce(ctx, x.store, x.about)
}

// toolsVersion is what XAPI takes for current guest tools.
var toolsVersion = [4]int{7, 20, 0, 1}

// storeLine is the store's page and its port of the moment.
func storeLine() (xen.Line, error) {
	return xen.Line{Page: xen.PageOf(region(bootInfo().Xen.Store, rtabi.PageSize)),
		Port: xen.Port(ampGate(rtabi.GatePort, 0, 0))}, nil
}

// gate is the way to the gate's event channels.
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
		return 0, fmt.Errorf("platform: no event channel: error %d", -p)
	}
	return xen.Port(p), nil
}
